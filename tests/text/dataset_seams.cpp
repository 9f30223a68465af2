#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "dataset_support.hpp"
#include "graft/text/dataset.hpp"
#include "support.hpp"

// What is asked must be what was learnt: where the prompt ends inside a token, the rows are counted.
namespace {

const char* const two_turns = R"({"messages": [{"role": "user", "content": "Who is it?"},)"
                              R"( {"role": "assistant", "content": "there was a cat."}]})";

graft::Dataset read(const std::string& rows, const std::string& chat)
{
    const auto tokenizer = graft::Tokenizer::load(graft_test::repo() / "data/tokenizer_stories260K");
    const small::File file(rows);
    const std::vector<std::filesystem::path> files{file.path()};
    if (chat.empty()) { return graft::load_dataset(files, &tokenizer, {}); }
    const auto tmpl = graft::ChatTemplate::from_text(chat, "test", tokenizer.special_tokens());
    return graft::load_dataset(files, &tokenizer, {.tmpl = &tmpl});
}

std::string template_with(const std::string& before, const std::string& prompt, const std::string& answer)
{
    return "{{- bos_token -}}{%- for m in messages -%}{%- if m.role == 'user' -%}{{- '" + before + "' + m.content + '"
           + prompt + "' -}}{%- else -%}{{- '" + answer + "' + m.content + eos_token -}}{%- endif -%}{%- endfor -%}";
}

bool said(const graft::Dataset& set)
{
    const auto lines = graft::summary(set.report);
    return std::any_of(lines.begin(), lines.end(), [](const std::string& line) {
        return line.find("the first token of an answer begins inside the prompt") != line.npos;
    });
}

}  // namespace

TEST_CASE("trap: a template's prompt that ends in a space: the answer's first token swallows it, asked or not")
{
    const auto bad = read(std::string(two_turns) + "\n" + two_turns, template_with("Q: ", "\\nAnswer: ", ""));
    CHECK(bad.report.rows_with_seam == 2);
    CHECK(said(bad));
    const auto good = read(two_turns, template_with("Q: ", "\\nAnswer:\\n", ""));
    CHECK(good.report.rows_with_seam == 0);
    CHECK_FALSE(said(good));
}

TEST_CASE("seams: a space that the template writes with the answer is the answer's: no harm, as in Mistral's format")
{
    const auto set = read(two_turns, template_with("[INST] ", " [/INST]", " "));
    CHECK(set.report.rows_used == 1);
    CHECK(set.report.rows_with_seam == 0);
}

TEST_CASE("seams: only answers that are learnt count; a prompt and its completion")
{
    const std::string later = R"({"messages": [{"role": "user", "content": "Who is it?"},)"
                              R"( {"role": "assistant", "content": "there was a cat.", "weight": 0},)"
                              R"( {"role": "user", "content": "And that?"},)"
                              R"( {"role": "assistant", "content": "\nA dog."}]})";
    CHECK(read(later, template_with("Q: ", "\\nAnswer: ", "")).report.rows_with_seam == 0);

    CHECK(read(R"({"prompt": "Once upon a ti", "completion": "me there was"})", "").report.rows_with_seam == 1);
    CHECK(read(R"({"prompt": "Once upon a time", "completion": " there was"})", "").report.rows_with_seam == 0);
}
