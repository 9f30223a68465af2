#include "graft/io/text.hpp"

#include "support.hpp"

#include <vector>

TEST_CASE("untrusted text is shown on one line")
{
    CHECK(graft::printable("a\nb\x7f") == "a\\x0ab\\x7f");
    CHECK(graft::printable("é\xff") == "é\\xff");
    CHECK(graft::printable(std::string(500, 'a')).size() == 160 + 3);
    CHECK(graft::valid_utf8("aé漢😀"));
    for (const char* bad :
         {"\xff", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc3", "\x80", "\xf5\x80\x80\x80"}) {
        CHECK(!graft::valid_utf8(bad));
    }
}

TEST_CASE("lists name eight and count the rest")
{
    std::vector<std::string> names;
    CHECK(graft::name_list(names) == "");
    names = {"a"};
    CHECK(graft::name_list(names) == "a");
    names = {"a", "b", "c"};
    CHECK(graft::name_list(names) == "a, b and c");
    names.resize(11, "x");
    CHECK(graft::name_list(names) == "a, b, c, x, x, x, x, x and 3 more");
    CHECK(graft::with_commas(0) == "0");
    CHECK(graft::with_commas(999) == "999");
    CHECK(graft::with_commas(-1234567) == "-1,234,567");
}
