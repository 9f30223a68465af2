#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/text/dataset/bad_row.hpp"
#include "graft/text/dataset/forms.hpp"
#include "graft/text/dataset/options.hpp"
#include "graft/text/dataset/read.hpp"
#include "graft/text/dataset/read/bytes.hpp"
#include "graft/text/dataset/report.hpp"

// Every row of the files: told apart, held to the form of its file, read, and counted.
//
// A file's form is that of its first row that has one. It ends the run before anything is learnt: no known form in the
// first rows, two readings, a form that the task does not train, another form than the files before. Any other row that
// cannot be used (another form than its file's, a wrong type, a malformed turn) is dropped, counted and named, and an
// error where options.strict says so. A file of which no row is left is an error with every reason.
//
// The first rows (64, of 16 MiB at most) are held back, since one of them may say how all are read: texts that would be
// joined become turns where a system text, tools or a history stands beside them.
namespace graft::detail::dataset {

// Bytes of a row, roughly, counted no further than to `most`.
std::size_t weight_of(const Json& json, std::size_t most);

// A set, or a file of it, without an example is refused, with every reason. `before`: what was dropped before it.
void refuse_nothing_left(const DataReport& report, const std::vector<DataReport::Dropped>& before,
                         const std::string& file, std::int64_t rows, const char* what, const char* lacks);

// `tell` gives the Reading of a row, `begin` is told the first one, `read` makes the row of it, `take` uses that, and
// `left` counts examples. what: a row in messages; lacks: what none of a file's rows has.
template <class Tell, class Begin, class Read, class Take, class Left> class RowLoop {
public:
    RowLoop(DataReport& report, const DataOptions& options, const Tell& tell, const Begin& begin, const Read& read,
            const Take& take, const Left& left, const char* what, const char* lacks)
        : report_(report), options_(options), tell_(tell), begin_(begin), read_(read), take_(take), left_(left),
          what_(what), lacks_(lacks)
    {}

    void run(std::span<const std::filesystem::path> files)
    {
        for (const auto& file : files) {
            const auto before = left_();
            const auto rows = report_.rows_read;
            const auto dropped = report_.dropped;
            settled_ = false, unknown_.clear(), weight_ = 0, file_ = file.string();
            read_rows(
                file, [&](Json&& json, const RowPlace& place) { row(std::move(json), place); }, reading());
            settle();
            if (left_() == before) {
                refuse_nothing_left(report_, dropped, file_, report_.rows_read - rows, what_, lacks_);
            }
        }
    }

private:
    struct Held {
        Json json;
        RowPlace place;
    };
    static constexpr std::size_t most_held = 64, most_bytes = std::size_t{16} << 20;

    // A record that is no row, such as a line of a table with too few cells, is dropped like a row.
    ReadOptions reading()
    {
        return {.split_on = options_.split_on, .drop = [this](const std::string& reason, const RowPlace& place) {
                    ++report_.rows_read;
                    drop(reason, place, {});
                }};
    }

    [[noreturn]] static void refuse(const BadForm& bad, const RowPlace& place)
    {
        throw Error(at(place) + ": " + (bad.of_row ? "row " + std::to_string(place.row) + " " : "") + bad.reason);
    }

    void row(Json&& json, const RowPlace& place)
    {
        if (settled_) { return one(json, place); }
        try {
            if (!file_form_) { file_form_ = tell_(json), form_place_ = place; }
            upgrade_ = upgrade_ || needs_turns(json, tell_(json));
        } catch (const BadForm& bad) {
            if (!file_form_ && (!bad.unknown || options_.strict)) { refuse(bad, place); }
            if (!file_form_ && unknown_.empty()) { unknown_ = bad.reason, unknown_place_ = place; }
        }
        weight_ += weight_of(json, most_bytes);
        held_.push_back({std::move(json), place});
        if (held_.size() >= most_held || weight_ >= most_bytes) { settle(); }
    }

    // The rows that were held back, now that the file's form is known.
    void settle()
    {
        if (settled_ || (!file_form_ && unknown_.empty())) {
            return;
        }  // else no row at all, only records that are none
        if (!file_form_) {
            BadForm bad(unknown_);
            refuse(bad, unknown_place_);
        }
        if (form_ && form_->kind == turns_of(*file_form_).kind) { upgrade_ = true; }
        if (upgrade_ && file_form_->form == Form::prompt_completion) { as_turns(*file_form_); }
        if (!form_) {
            form_ = file_form_, first_place_ = form_place_;
            begin_(*form_, form_place_);
        }
        require(file_form_->kind == form_->kind, [&] {
            return at(form_place_) + ": this row is " + file_form_->name + ", but the row at " + at(first_place_)
                   + " is " + form_->name + "; one data set holds rows of one kind";
        });
        settled_ = true;
        for (auto& held : held_) { one(held.json, held.place); }
        held_.clear(), file_form_.reset(), upgrade_ = false;
    }

    static Reading turns_of(Reading reading)
    {
        if (reading.form == Form::prompt_completion) { as_turns(reading); }
        return reading;
    }

    void one(const Json& json, const RowPlace& place)
    {
        ++report_.rows_read;
        report_progress(options_, place.file, report_.rows_read, report_.rows_used);
        try {
            Reading reading = tell_(json);
            if (reading.kind != form_->kind) { reading = turns_of(std::move(reading)); }
            if (reading.kind != form_->kind) {
                throw BadRow("this row is " + reading.name + ", but the file's first one is " + form_->name, "");
            }
            if (needs_turns(json, reading)) {
                throw BadRow("a system text, tools or a history beside texts that are joined, which the first rows of "
                             "the file do not have; move such a row to the front to have all of them read as turns",
                             "");
            }
            auto row = read_(json, place, reading);
            for (const auto& item : json.items()) {
                const std::string& key = item.key();
                if (std::find(row.used.begin(), row.used.end(), key) == row.used.end()) { report_.unknown_key(key); }
            }
            take_(std::move(row));
        } catch (const BadForm& bad) {
            drop(bad.reason, place, {});
        } catch (const BadRow& bad) {
            drop(bad.reason, place, bad.where);
        }
    }

    void drop(const std::string& reason, const RowPlace& place, const std::string& where)
    {
        require(!options_.strict, [&] {
            return at(place) + ": row " + std::to_string(place.row) + (where.empty() ? "" : ", " + where) + ": "
                   + reason;
        });
        report_.drop(reason, place, where);
    }

    DataReport& report_;
    const DataOptions& options_;
    const Tell& tell_;
    const Begin& begin_;
    const Read& read_;
    const Take& take_;
    const Left& left_;
    const char *what_, *lacks_;

    std::optional<Reading> form_, file_form_;  // of the set, of the file that is begun
    RowPlace first_place_, form_place_, unknown_place_;
    std::string unknown_, file_;  // why the first rows have no form
    std::vector<Held> held_;
    std::size_t weight_ = 0;
    bool settled_ = false, upgrade_ = false;
};

}  // namespace graft::detail::dataset

#if GRAFT_HEADER_ONLY
#include "graft/text/dataset/each_row.ipp"
#endif
