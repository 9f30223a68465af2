#pragma once
#include "graft/io/regex.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "graft/core/error.hpp"
#include "graft/io/text.hpp"

namespace graft {

GRAFT_INLINE Regex::Regex(std::string pattern, std::string where)
    : pattern_(std::move(pattern)), where_(std::move(where))
{
    require(pattern_.size() <= 100'000 && !pattern_.starts_with("(*"), [&] { return bad("not a pattern"); });
    int code = 0;
    PCRE2_SIZE at = 0;
    const std::uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY;
    compiled_ = std::shared_ptr<const pcre2_code>(
        pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern_.data()), pattern_.size(), options, &code, &at, nullptr),
        [](const pcre2_code* p) { pcre2_code_free(const_cast<pcre2_code*>(p)); });
    require(compiled_ != nullptr, [&] { return bad(reason(code) + " at position " + std::to_string(at)); });
    limits_ = std::shared_ptr<pcre2_match_context>(pcre2_match_context_create(nullptr), pcre2_match_context_free);
    require(limits_ != nullptr, "out of memory");
    pcre2_set_match_limit(limits_.get(), 1'000'000);
    pcre2_set_heap_limit(limits_.get(), 16 * 1024);  // KiB
}

GRAFT_INLINE bool Regex::full_match(std::string_view text) const
{
    return match(text, PCRE2_ANCHORED | PCRE2_ENDANCHORED, 0).has_value();
}

GRAFT_INLINE std::optional<std::string> Regex::capture(std::string_view text, std::uint32_t group) const
{
    return match(text, PCRE2_ANCHORED, group);
}

GRAFT_INLINE std::optional<std::string> Regex::match(std::string_view text, std::uint32_t options,
                                                     std::uint32_t group) const
{
    const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> found(
        pcre2_match_data_create_from_pattern(compiled_.get(), nullptr), &pcre2_match_data_free);
    require(found != nullptr, "out of memory");
    const int code = pcre2_match(compiled_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, options,
                                 found.get(), limits_.get());
    if (code == PCRE2_ERROR_NOMATCH) { return std::nullopt; }
    require(code > 0, [&] { return bad(reason(code) + " on " + printable(text)); });
    if (group >= pcre2_get_ovector_count(found.get())) { return std::nullopt; }
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(found.get()) + 2 * group;
    if (range[0] == PCRE2_UNSET) { return std::nullopt; }
    return std::string(text.substr(range[0], range[1] - range[0]));
}

GRAFT_INLINE std::string Regex::reason(int code)
{
    PCRE2_UCHAR text[256];
    const int length = pcre2_get_error_message(code, text, sizeof text);
    return length < 0 ? "error " + std::to_string(code) : std::string(reinterpret_cast<const char*>(text));
}

GRAFT_INLINE std::string Regex::bad(const std::string& why) const
{
    return where_ + ": the regular expression " + printable(pattern_) + " cannot be used: " + why;
}

}  // namespace graft
