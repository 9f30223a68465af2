#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "graft/core/inline.hpp"

// What a data set is read for.
namespace graft {

class ChatTemplate;

enum class Task { sft, text, dpo };
enum class TrainOn { responses, all };

// How far the reading is: told before each row is encoded.
struct DataProgress {
    const std::string& file;
    std::int64_t rows_read = 0, rows_used = 0;
};

struct DataOptions {
    Task task = Task::sft;
    bool task_given = false;  // the user chose the task: it decides between two forms in one row
    TrainOn train_on = TrainOn::responses;
    const ChatTemplate* tmpl = nullptr;  // null: the tokeniser has none and none was named
    std::int64_t max_length = 2048;      // tokens of an example
    std::int64_t max_prompt_length = 0;  // dpo: tokens of a prompt; 0: as many as fit
    std::string split_on{};              // cuts documents of text files (dataset/read/documents.hpp)
    bool truncate = false;               // dpo: what is longer is cut and counted, not an error
    std::int32_t vocab = 0;              // ready-made ids must lie below it; 0: not checked
    bool control_in_contents = false;    // contents of conversations may hold real control tokens
    bool strict = false;                 // a row that would be dropped is an error
    std::function<void(const DataProgress&)> progress{};
};

namespace detail::dataset {

void report_progress(const DataOptions& options, const std::string& file, std::int64_t read, std::int64_t used);

}  // namespace detail::dataset

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/text/dataset/options.ipp"
#endif
