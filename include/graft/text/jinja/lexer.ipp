#pragma once
#include "graft/text/jinja/lexer.hpp"

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "graft/text/jinja/machine.hpp"
#include "graft/text/jinja/unicode.hpp"

namespace graft::detail::jinja {

GRAFT_INLINE Lexer::Lexer(std::string_view source, const std::string& name) : name_(name)
{
    for (std::size_t i = 0; i < source.size(); ++i) {
        if (source[i] != '\r') {
            source_ += source[i];
        } else if (i + 1 == source.size() || source[i + 1] != '\n') {
            source_ += '\n';
        }
    }
    if (source_.ends_with('\n')) { source_.pop_back(); }
    if (const auto bad = find_invalid_utf8(source_); bad != std::string_view::npos) {
        fail(bad, "the template is not UTF-8");
    }
}

GRAFT_INLINE std::vector<Token> Lexer::run()
{
    while (pos_ < source_.size()) {
        const std::size_t open = next_delimiter();
        if (open == std::string_view::npos) {
            add_data(pos_, source_.substr(pos_));
            break;
        }
        lex_tag(open);
    }
    tokens_.push_back({Tok::end, {}, position(source_.size())});
    return std::move(tokens_);
}

GRAFT_INLINE std::size_t Lexer::next_delimiter() const
{
    for (std::size_t at = source_.find('{', pos_); at != std::string::npos; at = source_.find('{', at + 1)) {
        const char second = at + 1 < source_.size() ? source_[at + 1] : '\0';
        if (second == '{' || second == '%' || second == '#') { return at; }
    }
    return std::string::npos;
}

GRAFT_INLINE void Lexer::lex_tag(std::size_t open)
{
    const char kind = source_[open + 1];
    std::size_t inside = open + 2;
    char sign = inside < source_.size() ? source_[inside] : '\0';
    if (sign == '-' || sign == '+') {
        ++inside;
    } else {
        sign = '\0';
    }
    add_data(pos_, strip_before(std::string_view(source_).substr(pos_, open - pos_), sign, kind != '{'));
    pos_ = inside;
    if (kind == '#') { return lex_comment(open); }
    if (kind == '%' && lex_raw(open)) { return; }
    tokens_.push_back({kind == '{' ? Tok::print_begin : Tok::block_begin, {}, position(open)});
    lex_inside(open, kind == '{' ? '}' : '%');
}

GRAFT_INLINE std::string_view Lexer::strip_before(std::string_view text, char sign, bool block) const
{
    if (sign == '-') { return trim_right(text); }
    if (sign == '+' || !block) { return text; }
    const std::size_t line = text.rfind('\n') + 1;  // npos + 1 is 0
    if ((line > 0 || line_starts_) && trim_right(text.substr(line)).empty()) { return text.substr(0, line); }
    return text;
}

GRAFT_INLINE void Lexer::close(std::size_t sign_at, bool block)
{
    const char sign = source_[sign_at];
    pos_ = sign_at + (sign == '-' || sign == '+' ? 3 : 2);
    if (sign == '-') {
        pos_ = source_.size() - trim_left(std::string_view(source_).substr(pos_)).size();
    } else if (block && sign != '+' && pos_ < source_.size() && source_[pos_] == '\n') {
        ++pos_;
    }
    line_starts_ = source_[pos_ - 1] == '\n';
}

GRAFT_INLINE void Lexer::lex_comment(std::size_t open)
{
    const std::size_t end = source_.find("#}", pos_);
    if (end == std::string::npos) { fail(open, "this comment never ends; expected #}"); }
    const bool sign = end > pos_ && (source_[end - 1] == '-' || source_[end - 1] == '+');
    close(sign ? end - 1 : end, true);
}

GRAFT_INLINE std::size_t Lexer::skip_spaces(std::size_t at) const
{
    while (at < source_.size() && is_space(char_at(source_, at))) { at += char_bytes(source_, at); }
    return at;
}

GRAFT_INLINE bool Lexer::lex_raw(std::size_t open)
{
    std::size_t at = skip_spaces(pos_);
    if (source_.compare(at, 3, "raw") != 0) { return false; }
    at = skip_spaces(at + 3);
    const bool strip = source_.compare(at, 3, "-%}") == 0;
    if (!strip && source_.compare(at, 2, "%}") != 0) { return false; }
    close(at, false);
    for (std::size_t end = source_.find("{%", pos_); end != std::string::npos; end = source_.find("{%", end + 2)) {
        std::size_t word = end + 2;
        const char sign = word < source_.size() ? source_[word] : '\0';
        if (sign == '-' || sign == '+') { ++word; }
        word = skip_spaces(word);
        if (source_.compare(word, 6, "endraw") != 0) { continue; }
        word = skip_spaces(word + 6);
        const std::size_t mark = word < source_.size() && (source_[word] == '-' || source_[word] == '+') ? 1 : 0;
        if (source_.compare(word + mark, 2, "%}") != 0) { continue; }
        add_data(pos_, strip_before(std::string_view(source_).substr(pos_, end - pos_), sign, true));
        close(word, true);
        return true;
    }
    fail(open, "this raw block never ends; expected {% endraw %}");
}

GRAFT_INLINE void Lexer::lex_inside(std::size_t open, char closing)
{
    std::string brackets;  // a `}}` inside a dict literal does not end the tag
    while (true) {
        pos_ = skip_spaces(pos_);
        if (pos_ >= source_.size()) {
            fail(open, closing == '%' ? "this tag never ends; expected %}" : "this tag never ends; expected }}");
        }
        const char c = source_[pos_];
        const std::size_t mark = c == '-' || (c == '+' && closing == '%') ? 1 : 0;
        if (brackets.empty() && pos_ + mark + 1 < source_.size() && source_[pos_ + mark] == closing
            && source_[pos_ + mark + 1] == '}') {
            tokens_.push_back({closing == '%' ? Tok::block_end : Tok::print_end, {}, position(pos_)});
            return close(pos_, closing == '%');
        }
        if (c == '\'' || c == '"') {
            lex_string(c);
        } else if (c >= '0' && c <= '9') {
            lex_number();
        } else if (is_word(pos_)) {
            const std::size_t begin = pos_;
            while (pos_ < source_.size() && is_word(pos_)) { pos_ += char_bytes(source_, pos_); }
            tokens_.push_back({Tok::name, source_.substr(begin, pos_ - begin), position(begin)});
        } else {
            lex_operator(brackets);
        }
    }
}

GRAFT_INLINE bool Lexer::is_word(std::size_t at) const
{
    const auto c = static_cast<unsigned char>(source_[at]);
    if (c >= 0x80) { return !is_space(char_at(source_, at)) && is_printable(char_at(source_, at)); }
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

GRAFT_INLINE void Lexer::lex_operator(std::string& brackets)
{
    static constexpr std::string_view two[] = {"//", "**", "==", "!=", ">=", "<="};
    static constexpr std::string_view one = "+-*/%~()[]{}<>=.:|,";
    const std::string_view rest = std::string_view(source_).substr(pos_);
    std::string op;
    for (const auto candidate : two) {
        if (rest.starts_with(candidate)) { op = candidate; }
    }
    if (op.empty()) {
        if (one.find(rest[0]) == std::string_view::npos) {
            fail(pos_, "unexpected character '" + std::string(rest.substr(0, char_bytes(rest, 0))) + "'");
        }
        op = rest[0];
    }
    if (op == "(" || op == "[" || op == "{") {
        brackets += op == "(" ? ')' : op == "[" ? ']' : '}';
    } else if (op == ")" || op == "]" || op == "}") {
        if (brackets.empty()) { fail(pos_, "unexpected '" + op + "'"); }
        if (brackets.back() != op[0]) { fail(pos_, "unexpected '" + op + "', expected '" + brackets.back() + "'"); }
        brackets.pop_back();
    }
    tokens_.push_back({Tok::op, op, position(pos_)});
    pos_ += op.size();
}

GRAFT_INLINE void Lexer::lex_number()
{
    const std::size_t begin = pos_;
    const auto digit = [&](std::size_t at) { return at < source_.size() && source_[at] >= '0' && source_[at] <= '9'; };
    const auto digits = [&] {
        while (digit(pos_) || (pos_ < source_.size() && source_[pos_] == '_' && digit(pos_ + 1))) { ++pos_; }
    };
    digits();
    bool real = false;
    if (pos_ < source_.size() && source_[pos_] == '.' && digit(pos_ + 1)) { ++pos_, digits(), real = true; }
    if (pos_ < source_.size() && (source_[pos_] == 'e' || source_[pos_] == 'E')) {
        const bool sign = pos_ + 1 < source_.size() && (source_[pos_ + 1] == '+' || source_[pos_ + 1] == '-');
        if (digit(pos_ + 1 + (sign ? 1 : 0))) { pos_ += sign ? 2 : 1, digits(), real = true; }
    }
    if (pos_ < source_.size() && is_word(pos_)) { fail(begin, "a number is followed by letters"); }
    std::string text = source_.substr(begin, pos_ - begin);
    std::erase(text, '_');
    Token token{real ? Tok::real : Tok::integer, text, position(begin)};
    const char* end = text.data() + text.size();
    const auto result =
        real ? std::from_chars(text.data(), end, token.real) : std::from_chars(text.data(), end, token.integer);
    if (result.ec != std::errc{}) { fail(begin, "the number " + text + " is out of range"); }
    tokens_.push_back(std::move(token));
}

GRAFT_INLINE void Lexer::lex_string(char quote)
{
    const std::size_t begin = pos_++;
    std::string out;
    while (true) {
        if (pos_ >= source_.size()) { fail(begin, "this string never ends"); }
        const char c = source_[pos_++];
        if (c == quote) { break; }
        if (c == '\\') {
            lex_escape(begin, out);
        } else {
            out += c;
        }
    }
    tokens_.push_back({Tok::string, std::move(out), position(begin)});
}

GRAFT_INLINE void Lexer::lex_escape(std::size_t begin, std::string& out)
{
    if (pos_ >= source_.size()) { fail(begin, "this string never ends"); }
    const char c = source_[pos_++];
    static constexpr std::string_view from = "\\'\"abfnrtv", to = "\\'\"\a\b\f\n\r\t\v";
    if (const auto i = from.find(c); i != std::string_view::npos) {
        out += to[i];
    } else if (c == '\n') {
        return;
    } else if (c == 'x' || c == 'u' || c == 'U') {
        append_code(out, code_from(c == 'x' ? 2 : c == 'u' ? 4 : 8, 16, true));
    } else if (c >= '0' && c <= '7') {
        --pos_;
        append_code(out, code_from(3, 8, false));
    } else if (c == 'N') {
        fail(pos_ - 2, "character names (\\N{…}) are not supported; write \\uXXXX");
    } else {
        out += '\\', out += c;
    }
}

GRAFT_INLINE char32_t Lexer::code_from(int digits, int base, bool all)
{
    const std::size_t begin = pos_;
    std::uint32_t code = 0;
    for (int i = 0; i < digits; ++i, ++pos_) {
        const char c = pos_ < source_.size() ? source_[pos_] : '\0';
        const int value = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                 : 99;
        if (value >= base) {
            if (all) { fail(begin, "this escape needs " + std::to_string(digits) + " hexadecimal digits"); }
            break;
        }
        code = code * static_cast<std::uint32_t>(base) + static_cast<std::uint32_t>(value);
    }
    return code;
}

GRAFT_INLINE void Lexer::append_code(std::string& out, char32_t code)
{
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) { fail(pos_, "this escape is not a character"); }
    append_char(out, code);
}

GRAFT_INLINE void Lexer::add_data(std::size_t at, std::string_view text)
{
    if (!text.empty()) { tokens_.push_back({Tok::data, std::string(text), position(at)}); }
}

GRAFT_INLINE Position Lexer::position(std::size_t offset)
{
    if (offset < counted_) { counted_ = 0, here_ = {1, 1}; }
    for (; counted_ < offset; ++counted_) {
        const auto c = static_cast<unsigned char>(source_[counted_]);
        if (c == '\n') {
            here_ = {here_.line + 1, 1};
        } else if ((c & 0xC0) != 0x80) {
            ++here_.column;
        }
    }
    return here_;
}

}  // namespace graft::detail::jinja
