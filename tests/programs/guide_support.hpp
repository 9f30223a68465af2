#pragma once
#include <cctype>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "programs_support.hpp"

// Pages with commands, what these print, and code; and what holds for every fenced block of a page:
//
//   ```sh      is run as it stands
//   ```        behind it (an empty line between): what it prints, all of it, line by line. A line "…" stands for any
//              lines, "…" in a line for anything. Words and whole numbers must be the same; numbers with a point or an
//              exponent to 2 %, below 1e-4 (what rounding leaves) to a factor of 10, since processors and compilers
//              differ in the last bits; times and rates of a step are not compared. Where the last line is a program's
//              refusal ("finetune: …") the command ends with exit 2, else with 0
//   ```cpp     stands, line by line, in a compiled file that the page names (examples/NAME.cpp, tests/guides/NAME.cpp)
//   ```toml, ```json, ```yaml    behind "<!-- file: PATH -->" the reader's file of that name, else shown only
//   ```text    shown only
namespace graft_test {

inline const std::string dots = "…";

// Whether a line stands for any lines.
inline bool elided(const std::string& line)
{
    const auto begin = line.find_first_not_of(' ');
    return begin != line.npos && line.substr(begin) == dots;
}

inline std::vector<std::string> lines_of(const std::string& text)
{
    std::vector<std::string> out;
    std::istringstream file(text);
    for (std::string line; std::getline(file, line);) { out.push_back(line); }
    while (!out.empty() && out.back().empty()) { out.pop_back(); }
    return out;
}

inline std::string joined_lines(const std::vector<std::string>& lines)
{
    std::string out;
    for (const auto& line : lines) { out += line + "\n"; }
    return out;
}

struct GuideBlock {
    std::string language, text;
    std::size_t begin = 0;  // where the text lies in the page
    bool output = false;    // nothing but an empty line lies between it and the block before
    std::string file{};     // of a marker above it
};

inline std::vector<GuideBlock> blocks_of(const std::string& page)
{
    std::vector<GuideBlock> out;
    const std::string fence = "```", marker = "<!-- file: ";
    std::size_t last = page.npos;  // the end of the block before
    for (std::size_t at = 0; (at = page.find(fence, at)) != page.npos;) {
        if (at > 0 && page[at - 1] != '\n') {
            at += fence.size();
            continue;
        }
        const auto line = page.find('\n', at), end = page.find("\n```\n", line - 1);
        REQUIRE(end != page.npos);
        GuideBlock block{.language = page.substr(at + fence.size(), line - at - fence.size()),
                         .text = page.substr(line + 1, end - line),
                         .begin = line + 1};
        block.output = last != page.npos && page.substr(last, at - last) == "\n";
        const auto above = page.rfind(marker, at);
        if (above != page.npos) {
            const auto close = page.find(" -->", above);
            if (page.substr(close + 4, at - close - 4) == "\n") {
                block.file = page.substr(above + marker.size(), close - above - marker.size());
            }
        }
        out.push_back(block);
        at = last = end + 5;
    }
    return out;
}

// Without what differs from run to run: "812 tok/s" and "0:03 left" become "N tok/s" and "T left".
inline std::string untimed(std::string line)
{
    const auto blank = [&](const std::string& unit, const std::string& chars, const std::string& with) {
        const auto end = line.find(unit);
        if (end == line.npos || end == 0) { return; }
        const auto before = line.find_last_not_of(chars, end - 1);
        const auto begin = before == line.npos ? 0 : before + 1;
        if (begin < end) { line.replace(begin, end - begin, with); }
    };
    blank(" tok/s", "0123456789", "N");
    blank(" left", "0123456789:", "T");
    return line;
}

// The number that begins at `at`: its end. Signs are no part of it.
inline std::size_t number_end(const std::string& text, std::size_t at)
{
    const auto digit = [&](std::size_t i) { return i < text.size() && text[i] >= '0' && text[i] <= '9'; };
    if (!digit(at)) { return at; }
    while (digit(at)) { ++at; }
    if (at < text.size() && text[at] == '.' && digit(at + 1)) {
        for (++at; digit(at);) { ++at; }
    }
    if (at < text.size() && text[at] == 'e') {
        const auto sign = at + 1 < text.size() && (text[at + 1] == '-' || text[at + 1] == '+') ? at + 2 : at + 1;
        if (digit(sign)) {
            for (at = sign; digit(at);) { ++at; }
        }
    }
    return at;
}

inline bool same_number(const std::string& a, const std::string& b)
{
    const auto whole = [](const std::string& x) { return x.find_first_of(".e") == x.npos; };
    if (a == b) { return true; }
    if (whole(a) && whole(b)) { return false; }
    const double x = std::strtod(a.c_str(), nullptr), y = std::strtod(b.c_str(), nullptr);
    if (x < 1e-4 && y < 1e-4) { return x > 0 && y > 0 && x < 10 * y && y < 10 * x; }
    return std::abs(x - y) <= 0.02 * std::max(x, y);
}

// Where `text` goes on behind `piece`, which begins at `at` in it; npos where it does not.
inline std::size_t matched(const std::string& piece, const std::string& text, std::size_t at)
{
    for (std::size_t i = 0; i < piece.size();) {
        const auto end = number_end(piece, i), other = number_end(text, at);
        const bool inside = i > 0 && std::isalnum(static_cast<unsigned char>(piece[i - 1]));  // of a word, of a hash
        if (end > i && other > at && !inside) {
            if (!same_number(piece.substr(i, end - i), text.substr(at, other - at))) { return text.npos; }
            i = end, at = other;
            continue;
        }
        if (at >= text.size() || piece[i] != text[at]) { return text.npos; }
        ++i, ++at;
    }
    return at;
}

// Whether a line is the one that is shown.
inline bool same_line(const std::string& shown_line, const std::string& printed_line)
{
    const std::string shown = untimed(shown_line), printed = untimed(printed_line);
    std::size_t from = 0, at = 0;
    for (bool first = true;; first = false) {
        const auto cut = shown.find(dots, from);
        const auto piece = shown.substr(from, cut == shown.npos ? cut : cut - from);
        std::size_t end = shown.npos;
        for (auto start = at; start <= printed.size(); ++start) {
            const auto found = matched(piece, printed, start);
            if (found != printed.npos && (cut != shown.npos || found == printed.size())) {
                end = found;
                break;
            }
            if (first) { break; }  // a line begins as it is shown
        }
        if (end == shown.npos) { return false; }
        if (cut == shown.npos) { return true; }
        at = end, from = cut + dots.size();
    }
}

// The first shown line that is not there; nothing where the output is as it is shown.
inline std::optional<std::string> missing_line(const std::string& shown_text, const std::string& printed_text)
{
    const auto shown = lines_of(shown_text), printed = lines_of(printed_text);
    std::size_t at = 0, done = 0;  // in the output, in what is shown
    while (done < shown.size()) {
        if (elided(shown[done])) {
            if (++done == shown.size()) { return std::nullopt; }
            auto end = done;
            while (end < shown.size() && !elided(shown[end])) { ++end; }
            if (end == done) { continue; }
            // The lines up to the next "…" stand together; the last ones at the end.
            bool found = false;
            std::size_t most = 0;
            for (auto start = at; !found && start + (end - done) <= printed.size(); ++start) {
                if (end == shown.size()) { start = printed.size() - (end - done); }
                std::size_t same = 0;
                while (same < end - done && same_line(shown[done + same], printed[start + same])) { ++same; }
                most = std::max(most, same);
                found = same == end - done;
                if (found) { at = start + same; }
            }
            if (!found) { return shown[std::min(done + most, end - 1)]; }
            done = end;
        } else {
            if (at >= printed.size() || !same_line(shown[done], printed[at])) { return shown[done]; }
            ++at, ++done;
        }
    }
    if (at < printed.size()) { return "the end, where this follows: " + printed[at]; }
    return std::nullopt;
}

// The lines without the indentation that all of them have.
inline std::vector<std::string> dedented(std::vector<std::string> lines)
{
    std::size_t common = std::string::npos;
    for (const auto& line : lines) {
        if (!line.empty()) { common = std::min(common, line.find_first_not_of(' ')); }
    }
    for (auto& line : lines) {
        if (!line.empty()) { line.erase(0, common); }
    }
    return lines;
}

inline bool stands_in(const std::string& block, const std::string& file)
{
    const auto want = dedented(lines_of(block)), all = lines_of(file);
    for (std::size_t at = 0; !want.empty() && at + want.size() <= all.size(); ++at) {
        const auto begin = all.begin() + std::ptrdiff_t(at);
        if (dedented({begin, begin + std::ptrdiff_t(want.size())}) == want) { return true; }
    }
    return false;
}

// The words of a page that begin with `start` and end before the first of `ends`, each once.
inline std::vector<std::string> words_of(const std::string& page, const std::string& start, const std::string& ends)
{
    std::vector<std::string> out;
    for (auto at = page.find(start); at != page.npos; at = page.find(start, at + 1)) {
        const auto word = page.substr(at, page.find_first_of(ends, at) - at);
        if (std::find(out.begin(), out.end(), word) == out.end()) { out.push_back(word); }
    }
    return out;
}

}  // namespace graft_test
