#include "graft/io/regex.hpp"

#include "graft/core/error.hpp"
#include "support.hpp"

TEST_CASE("patterns match as Python's re does")
{
    CHECK(graft::Regex(".*\\.(q|k)_proj", "FILE").full_match("model.layers.0.self_attn.q_proj"));
    CHECK(!graft::Regex("q_proj", "FILE").full_match("a.q_proj"));
    CHECK(!graft::Regex("a|ab", "FILE").full_match("abc"));
    CHECK(graft::Regex("a|ab", "FILE").full_match("ab"));  // takes the other branch, as re.fullmatch
    CHECK(graft::Regex(".*\\.[^.]*\\.(\\d+)\\.", "FILE").capture("model.layers.12.mlp.up_proj", 1) == "12");
    CHECK(!graft::Regex("(a)|b", "FILE").capture("b", 1));
    CHECK(!graft::Regex("b", "FILE").capture("ab", 0));
    CHECK(graft::Regex("(?P<n>é).", "FILE").full_match("éé"));
}

TEST_CASE("patterns that cannot be used are refused")
{
    CHECK_THROWS_AS(graft::Regex("(", "FILE"), graft::Error);
    CHECK_THROWS_AS(graft::Regex("(*UTF)a", "FILE"), graft::Error);
    CHECK_THROWS_AS(graft::Regex("\xff", "FILE"), graft::Error);
    CHECK_THROWS_AS(graft::Regex("((((a{1000}){1000}){1000}){1000})", "FILE"), graft::Error);
    const graft::Regex slow("(a+)+[bc]", "FILE");
    CHECK_THROWS_WITH_AS(slow.full_match(std::string(40, 'a')),
                         doctest::Contains("FILE: the regular expression (a+)+[bc]"), graft::Error);
}
