#include "graft/text/tokenizer/regex.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

TEST_CASE("tokenizer/regex: regular expressions mean what Oniguruma means")
{
    using graft::detail::tokens::Regex;
    Regex::MatchData data;
    const auto matches = [&](const char* pattern, std::string_view text) {
        std::vector<std::string> out;
        Regex(pattern, "test").each(text, data, [&](std::size_t begin, std::size_t end) {
            out.emplace_back(text.substr(begin, end - begin));
        });
        return out;
    };
    using Texts = std::vector<std::string>;
    CHECK(matches("\\s+", "a \u00a0\u3000b\u180ec\u0085") == Texts{" \u00a0\u3000", "\u0085"});  // U+180E is no space
    CHECK(matches("[^\\s]+", "a\u180eb c") == Texts{"a\u180eb", "c"});
    CHECK(matches("[\\S]+", "a\u180eb c") == Texts{"a\u180eb", "c"});
    CHECK(matches("(?i:'s)", "'s'S'\u017f") == Texts{"'s", "'S", "'\u017f"});
    CHECK(matches("\\w+", "ab_c\u0301-d") == Texts{"ab_c\u0301", "d"});
    CHECK(matches("\\p{Han}+", "漢字かな\u3001") == Texts{"漢字"});  // the script, not its extensions
    CHECK(matches("^a", "a\na") == Texts{"a", "a"});
    CHECK(matches("x*", "axxb") == Texts{"", "xx", ""});  // not at 3, where a match ended
    CHECK(matches("(?=b)|$", "ab\nb") == Texts{"", "", "", ""});
    CHECK(matches("x*", "") == Texts{});
    CHECK(matches("|b", "éb") == Texts{"", "", ""});
    CHECK(matches("\\d{1,3}(?=(\\d{3})*\\b)", "1000000 kites 12x 9999") == Texts{"1", "000", "000", "9", "999"});
    CHECK(matches("\\b", "ab ½-é").size() == 6);
    CHECK(matches("\\B", "ab ½-é").size() == 1);
    CHECK(matches("\\w+", "x½²") == Texts{"x½²"});  // Oniguruma's table of Latin-1, which a set does not use
    CHECK(matches("[\\w]+", "x½²") == Texts{"x"});
    CHECK(matches("\\h+|[\\b]", "beg\b") == Texts{"be", "\b"});
    CHECK(matches("\\Aa|b\\z", "abab") == Texts{"a", "b"});
    CHECK(matches("\\u0061|\\x{62}", "abc") == Texts{"a", "b"});
    CHECK_THROWS_AS(matches("[]a]", "a"), graft::Error);
}
