#pragma once
#include "guide_support.hpp"

// Writes a page's outputs anew: what is shown of an output stays shown, as it is printed now.
namespace graft_test {

inline std::vector<std::string> words_in(const std::string& line)
{
    std::vector<std::string> out;
    std::istringstream text(line);
    for (std::string word; text >> word;) { out.push_back(word); }
    return out;
}

// How much of two lines is the same: the longest common sequence of words against all words. A line that is shown to a
// "…" is held against the beginning of the other.
inline double likeness(const std::string& shown, const std::string& printed)
{
    const auto cut = shown.find(dots);
    const auto x = words_in(shown.substr(0, cut));
    auto y = words_in(printed);
    if (cut != shown.npos) { y.resize(std::min(x.size(), y.size())); }
    if (x.empty() || y.empty()) { return x.empty() && y.empty() ? 0.6 : 0; }
    std::vector<std::vector<std::size_t>> most(x.size() + 1, std::vector<std::size_t>(y.size() + 1, 0));
    for (std::size_t i = 0; i < x.size(); ++i) {
        for (std::size_t j = 0; j < y.size(); ++j) {
            most[i + 1][j + 1] = x[i] == y[j] ? most[i][j] + 1 : std::max(most[i][j + 1], most[i + 1][j]);
        }
    }
    const bool head = x.front() == y.front();
    return (double(most[x.size()][y.size()]) + (head ? 0.5 : 0)) / (double(std::max(x.size(), y.size())) + 0.5);
}

// A line with the speed and the time left of another: those of a page were measured on a quiet machine.
inline std::string timed_as(std::string line, const std::string& other)
{
    for (const std::string unit : {" tok/s", " left"}) {
        const auto word = [&](const std::string& text) {
            const auto end = text.find(unit);
            const auto before = end == text.npos ? end : text.rfind(' ', end - 1);
            return before == text.npos ? std::pair{end, end} : std::pair{before + 1, end};
        };
        const auto [begin, end] = word(line);
        const auto [from, to] = word(other);
        if (end != line.npos && to != other.npos) { line.replace(begin, end - begin, other.substr(from, to - from)); }
    }
    return line;
}

// A line that is shown, with what is printed now. A "…" in it stays behind as many words as before.
inline std::string fresh_line(const std::string& shown, const std::string& printed)
{
    if (untimed(shown) == untimed(printed)) { return shown; }
    const auto cut = shown.find(dots);
    if (cut == shown.npos) { return timed_as(printed, shown); }
    if (same_line(shown, printed)) { return shown; }
    const auto before = words_in(shown.substr(0, cut)).size();
    std::size_t at = 0;
    for (std::size_t i = 0; i < before && at != printed.npos; ++i) {
        at = printed.find_first_not_of(' ', at);
        at = at == printed.npos ? at : printed.find_first_of(' ', at);
    }
    if (at == printed.npos) { return printed; }
    const auto space = cut > 0 && shown[cut - 1] == ' ' ? printed.find_first_not_of(' ', at) : at;
    return printed.substr(0, space) + dots;
}

// For each line that is shown, the line of the output that it is; npos for "…" and for lines that are no more.
inline std::vector<std::size_t> aligned(const std::vector<std::string>& shown, const std::vector<std::string>& printed)
{
    constexpr double least = 0.4;
    const auto n = shown.size(), m = printed.size();
    std::vector<std::vector<double>> best(n + 1, std::vector<double>(m + 1, 0)), pair = best;
    for (auto i = n; i-- > 0;) {
        for (auto j = m; j-- > 0;) {
            const double like = elided(shown[i])                  ? 0
                                : same_line(shown[i], printed[j]) ? 2
                                                                  : likeness(shown[i], printed[j]);
            pair[i][j] = like < least ? 0 : like + best[i + 1][j + 1];
            best[i][j] = std::max({best[i + 1][j], best[i][j + 1], pair[i][j]});
        }
    }
    std::vector<std::size_t> out(n, std::string::npos);
    for (std::size_t i = 0, j = 0; i < n && j < m;) {
        if (pair[i][j] > 0 && pair[i][j] == best[i][j]) {
            out[i++] = j++;
        } else if (best[i][j] == best[i + 1][j]) {
            ++i;
        } else {
            ++j;
        }
    }
    return out;
}

// What a block shows, as it is printed now: lines between two that are shown are shown too, unless a "…" stands there.
inline std::string recorded(const std::string& shown_text, const std::string& printed_text)
{
    const auto shown = lines_of(shown_text), printed = lines_of(printed_text);
    const auto at = aligned(shown, printed);
    std::vector<std::string> out;
    std::size_t next = 0;    // of the output
    std::string left_out{};  // the "…" that stands before
    const auto up_to = [&](std::size_t line) {
        if (!left_out.empty() && next < line) {
            out.push_back(left_out);
        } else {
            out.insert(out.end(), printed.begin() + std::ptrdiff_t(next), printed.begin() + std::ptrdiff_t(line));
        }
        next = line, left_out.clear();
    };
    for (std::size_t i = 0; i < shown.size(); ++i) {
        if (elided(shown[i])) { left_out = shown[i]; }
        if (at[i] == std::string::npos) { continue; }
        up_to(at[i]);
        out.push_back(fresh_line(shown[i], printed[at[i]])), ++next;
    }
    up_to(printed.size());
    return joined_lines(out);
}

}  // namespace graft_test
