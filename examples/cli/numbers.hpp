#pragma once
#include <CLI/CLI.hpp>

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <vector>

#include "graft/io/text.hpp"

// Every number that a program takes, on its command line and in the file of --config.
//
//   add_number(app, "--lr", o.lr, {.least = 0}, "…")       a decimal number within bounds
//   add_size(app, "--memory-limit", o.memory_limit, "…")    bytes above 0: 900M, 8G (powers of 1024)
//
// Decimal digits, for a double also a point and an exponent; nothing before or behind them but a sign. Refused,
// naming the option and what is allowed: nan, inf and infinity in any spelling, hexadecimal and octal, what the type
// cannot hold (1e999 for a double, 2^63 for an integer), what lies out of bounds, an empty text.
// --help shows the bounds.
namespace cli {

struct Bounds {
    double least = -std::numeric_limits<double>::infinity(), most = std::numeric_limits<double>::infinity();
    bool above = false, below = false;  // least, or most, is itself outside
};

// "at least 0", "above 0 and below 1", "from 1 to 65536"; empty without bounds
inline std::string bounds_text(const Bounds& b)
{
    const auto number = [](double value) {
        char text[40];
        std::snprintf(text, sizeof text, "%.15g", value);
        return std::string(text);
    };
    const bool low = std::isfinite(b.least), high = std::isfinite(b.most);
    if (low && high && !b.above && !b.below) { return "from " + number(b.least) + " to " + number(b.most); }
    std::string out = low ? (b.above ? "above " : "at least ") + number(b.least) : "";
    if (high) { out += (low ? " and " : "") + std::string(b.below ? "below " : "at most ") + number(b.most); }
    return out;
}

template <class Value> std::optional<Value> number_of(std::string_view text)
{
    if (text.size() > 1 && text[0] == '+' && text[1] != '-') { text.remove_prefix(1); }
    Value value{};
    const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
    if (read.ec != std::errc() || read.ptr != text.data() + text.size()) { return std::nullopt; }
    if constexpr (std::is_floating_point_v<Value>) {
        if (!std::isfinite(value)) { return std::nullopt; }
    }
    return value;
}

namespace detail {

template <class Value> struct element {
    using type = Value;
};
template <class Value> struct element<std::vector<Value>> {
    using type = Value;
};

inline std::string shown(const std::string& text)
{
    return text.empty() ? "an empty text" : graft::printable(text, 60);
}

template <class Value> CLI::Validator within(const Bounds& bounds)
{
    const auto check = [bounds](std::string& text) -> std::string {
        const auto value = number_of<Value>(text);
        const double v = value ? double(*value) : 0;
        if (value && (bounds.above ? v > bounds.least : v >= bounds.least)
            && (bounds.below ? v < bounds.most : v <= bounds.most)) {
            // CLI11 would read a leading zero as octal.
            if constexpr (std::is_integral_v<Value>) { text = std::to_string(*value); }
            return {};
        }
        const std::string limits = bounds_text(bounds);
        return shown(text) + " is not a " + (std::is_integral_v<Value> ? "whole number" : "number")
               + (limits.empty()              ? ""
                  : limits.starts_with("at ") ? " of " + limits
                                              : " " + limits);
    };
    return {check, bounds_text(bounds)};
}

// 8G as bytes; nothing for what is no size above 0, or too large.
inline std::optional<std::int64_t> bytes_of(std::string_view text)
{
    std::string_view unit;
    const auto digits = text.find_first_not_of("0123456789");
    if (digits != std::string_view::npos) {
        unit = text.substr(digits), text = text.substr(0, digits);
        if (unit.front() == ' ') { unit.remove_prefix(1); }
    }
    std::string lower;
    for (const char c : unit) { lower += char(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c); }
    const auto number = number_of<std::int64_t>(text);
    if (!number || *number <= 0) { return std::nullopt; }
    if (lower.empty() || lower == "b") { return number; }
    const auto power = std::string_view("kmgtpe").find(lower.front());
    const std::string rest = lower.substr(1);
    if (power == std::string_view::npos || !(rest.empty() || rest == "b" || rest == "ib")) { return std::nullopt; }
    const int shift = 10 * (int(power) + 1);
    if (*number > (std::numeric_limits<std::int64_t>::max() >> shift)) { return std::nullopt; }
    return *number << shift;
}

}  // namespace detail

// value: a number, or a vector of them.
template <class Value>
CLI::Option* add_number(CLI::App& app, const std::string& name, Value& value, const Bounds& bounds,
                        const std::string& about = "")
{
    using Number = typename detail::element<Value>::type;
    return app.add_option(name, value, about)->transform(detail::within<Number>(bounds));
}

inline CLI::Option* add_size(CLI::App& app, const std::string& name, std::int64_t& value, const std::string& about)
{
    const auto check = [](std::string& text) -> std::string {
        const auto bytes = detail::bytes_of(text);
        if (!bytes) { return detail::shown(text) + " is not a size above 0, such as 900M or 8G"; }
        text = std::to_string(*bytes);
        return {};
    };
    return app.add_option(name, value, about)->transform(CLI::Validator(check, "SIZE"));
}

// Numbers that programs share.
inline CLI::Option* add_threads(CLI::App& app, int& threads)
{
    return add_number(app, "--threads", threads, {.least = 1, .most = 1024});
}

}  // namespace cli
