#pragma once
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/io/json_file.hpp"

// Edits of a JSON text that leave every other byte as it is: order, indentation, and numbers that no library keeps,
// such as the model_max_length 1000000000000000019884624838656 of many a tokenizer_config.json.
//
//   json_value_span(text, "vocab_size")          where the value of that key of the outermost object lies
//   json_replaced(text, span, "514")             the text with other bytes there
//   json_appended(text, span, {{"", entry}})     … with more elements at the end of the list there
//   json_appended(text, span, {{"512", entry}})  … with more members at the end of the object there
//
// What is appended is laid out as the first element there is: each on lines of its own with its indentation, or all on
// one line. Of a key that is there twice the last counts, as in parse_json. The text must be one that parse_json has
// read: this looks only for where things begin and end, whatever the size and without recursion.
//
// Throws: Error where the text ends inside a value, which parse_json would not have read.
namespace graft {

struct JsonSpan {
    std::size_t begin = 0, end = 0;
};

using JsonMember = std::pair<std::string, OrderedJson>;  // of a list: no key

namespace detail {

class JsonScan {
public:
    explicit JsonScan(std::string_view text, std::size_t at = 0);

    std::size_t at() const { return at_; }
    char look() const;
    bool take(char c);
    void spaces();
    JsonSpan text_value();
    JsonSpan value();

private:
    std::string_view text_;
    std::size_t at_;
};

}  // namespace detail

std::optional<JsonSpan> json_value_span(std::string_view text, const std::string& key);

std::string json_replaced(std::string_view text, JsonSpan span, std::string_view value);

std::string json_appended(std::string_view text, JsonSpan span, const std::vector<JsonMember>& more);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/io/json_edit.ipp"
#endif
