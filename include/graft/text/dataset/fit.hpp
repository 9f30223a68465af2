#pragma once
#include <string>
#include <string_view>
#include <utility>

#include "graft/core/error.hpp"
#include "graft/text/dataset/calls.hpp"
#include "graft/text/dataset/forms.hpp"
#include "graft/text/dataset/report.hpp"

// Turns, fitted to what a template does with them, which is found out by rendering a row once more, not from its text:
//
//   arguments of calls   an object or JSON text (OpenAI's wire format). A template that writes text escaped, in quotes
//                        (| tojson), or cannot write it wants an object: text is parsed, an empty one is an empty
//                        object, and a row whose text holds no object is dropped. A template that cannot write an
//                        object, or writes it in Python's way, wants text. One that writes both is given what the row
//                        has, as transformers does
//   developer            a turn of the role developer where the template shows it; else a system turn (OpenAI's new
//                        name for it), which is said in the report. transformers hands the role on, and some templates
//                        then leave the text out in silence
//
// Each question is asked once, of the first rows that can answer it (sixteen at most).
namespace graft::detail::dataset {

template <class Template> class TurnFitter {
public:
    // Why the row cannot be used, or nothing.
    std::string fit(const Template& tmpl, DataRow& row, DataReport& report)
    {
        Json& messages = row.turns.messages;
        bool any_text = false, any_object = false, any_developer = false;
        each_call(messages, [&](Json& function) {
            const auto arguments = function.find("arguments");
            any_text = any_text || (arguments != function.end() && arguments->is_string());
            any_object = any_object || (arguments != function.end() && arguments->is_object());
        });
        for (const auto& message : messages) { any_developer = any_developer || message["role"] == "developer"; }
        if (any_developer) { fit_developer(tmpl, row, report); }
        if (any_text || any_object) {
            if (arguments_ == Arguments::unknown && tries_++ < most_tries) { arguments_ = ask_arguments(tmpl, row); }
            if (any_text && arguments_ == Arguments::object) { return to_objects(messages); }
            if (any_object && arguments_ == Arguments::text) { to_text(messages); }
        }
        return {};
    }

private:
    enum class Arguments { unknown, object, text, either };
    enum class Shown { unknown, yes, no };
    static constexpr int most_tries = 16;

    // The row rendered, or nothing where the template refuses it.
    static std::string rendered(const Template& tmpl, const Json& messages, const Json& extra)
    {
        try {
            return tmpl.render(messages, false, extra);
        } catch (const Error&) {
            return {};
        }
    }

    static Arguments ask_arguments(const Template& tmpl, const DataRow& row)
    {
        const Json object{{"askedkey", "askedvalue"}};
        const std::string text = spaced(object);
        const auto with = [&](const Json& arguments) {
            Json messages = row.turns.messages;
            each_call(messages, [&](Json& function) { function["arguments"] = arguments; });
            return rendered(tmpl, messages, row.extra);
        };
        const auto has = [](const std::string& all, std::string_view part) { return all.find(part) != all.npos; };
        const auto of_object = with(object), of_text = with(text);
        const bool takes_text = has(of_text, text);
        const bool takes_object = has(of_object, "askedkey") && !has(of_object, "'askedkey'");
        if (takes_text && takes_object) { return Arguments::either; }
        if (takes_text) { return Arguments::text; }
        return takes_object ? Arguments::object : Arguments::unknown;
    }

    static std::string to_objects(Json& messages)
    {
        std::string drop;
        each_call(messages, [&](Json& function) {
            const auto arguments = function.find("arguments");
            if (arguments == function.end() || !arguments->is_string()) { return; }
            const auto text = arguments->template get<std::string>();
            Json object = text.find_first_not_of(" \t\r\n") == text.npos ? Json::object() : parsed(text);
            if (!object.is_object()) {
                drop = "the arguments of a call are text that is no JSON object, and the template wants an object";
            }
            *arguments = std::move(object);
        });
        return drop;
    }

    static void to_text(Json& messages)
    {
        each_call(messages, [](Json& function) {
            const auto arguments = function.find("arguments");
            if (arguments != function.end() && arguments->is_object()) { *arguments = spaced(*arguments); }
        });
    }

    void fit_developer(const Template& tmpl, DataRow& row, DataReport& report)
    {
        if (developer_ == Shown::unknown && developer_tries_++ < most_tries) {
            const auto with = [&](const char* role) {
                Json messages = row.turns.messages;
                for (auto& message : messages) {
                    if (message["role"] == "developer") { message["role"] = role, message["content"] = "askedword"; }
                }
                return rendered(tmpl, messages, row.extra).find("askedword") != std::string::npos;
            };
            developer_ = with("developer") ? Shown::yes : with("system") ? Shown::no : Shown::unknown;
        }
        if (developer_ != Shown::no) { return; }
        for (auto& message : row.turns.messages) {
            if (message["role"] == "developer") { message["role"] = "system"; }
        }
        report.remark("a developer turn is written as a system turn: the template shows no developer turns", row.place);
    }

    Arguments arguments_ = Arguments::unknown;
    Shown developer_ = Shown::unknown;
    int tries_ = 0, developer_tries_ = 0;
};

}  // namespace graft::detail::dataset
