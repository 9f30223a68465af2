#include "graft/io/json_file.hpp"

#include "support.hpp"

namespace {

template <class Json = nlohmann::json> std::string refusal(const std::string& text)
{
    try {
        graft::parse_json<Json>(text, "FILE");
    } catch (const graft::Error& error) {
        CHECK(std::string(error.what()).find('\n') == std::string::npos);
        return error.what();
    }
    return "";
}

template <class Run> std::string says(Run run)
{
    try {
        run();
    } catch (const graft::Error& error) {
        return error.what();
    }
    return "";
}

}  // namespace

TEST_CASE("broken JSON is refused with its line and column")
{
    CHECK(refusal("{\"a\": 1,\n  \"b\": }").starts_with("FILE: not JSON at line 2, column 8: "));
    CHECK(refusal("").starts_with("FILE: not JSON at line 1, column 1: the file is empty"));
    CHECK(refusal("{} x").starts_with("FILE: not JSON at line 1, column 4"));
    CHECK(refusal("{\"a\": NaN}").starts_with("FILE: not JSON at line 1, column "));
    CHECK(refusal("{\"a\n\": 1}") != "");
    CHECK(refusal("\"\xff\"") != "");
    CHECK(refusal(std::string("{}\0", 3)).find("NUL") != std::string::npos);
    CHECK(refusal("1e999") != "");
    CHECK(refusal(std::string(100'000, '[')).find("128 levels") != std::string::npos);
    CHECK(refusal(std::string(128, '[') + std::string(128, ']')) == "");
    std::string names = "{";
    for (int i = 0; i < 20'001; ++i) { names += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":0"; }
    CHECK(refusal(names + "}") == "");
    CHECK(refusal<graft::OrderedJson>(names + "}").find("too many names") != std::string::npos);
    CHECK(graft::parse_json("\xEF\xBB\xBF[1]", "FILE")[0] == 1);
    CHECK_THROWS_AS(graft::read_json("no/such/file.json"), graft::Error);
}

TEST_CASE("fields are read with their type, or refused with their name")
{
    const auto json = graft::parse_json(
        R"({"n": 3, "x": 1.5, "s": "t", "b": true, "z": null, "l": [1, 2], "big": 18446744073709551615,
                                            "names": ["a", "b"]})",
        "FILE");
    CHECK(graft::json_int(json, "n", "FILE") == 3);
    CHECK(graft::json_number(json, "n", "FILE") == 3);
    CHECK(graft::json_number(json, "x", "FILE") == 1.5);
    CHECK(graft::json_string(json, "s", "FILE") == "t");
    CHECK(graft::json_bool(json, "b", "FILE"));
    CHECK(graft::json_int_or(json, "z", 7, "FILE") == 7);
    CHECK(graft::json_string_or(json, "none", "d", "FILE") == "d");
    CHECK(graft::json_ints(json, "n", "FILE") == std::vector<std::int64_t>{3});
    CHECK(graft::json_ints(json, "l", "FILE") == std::vector<std::int64_t>{1, 2});
    CHECK(graft::json_ints(json, "z", "FILE").empty());
    CHECK(graft::json_strings(json, "names", "FILE").size() == 2);

    CHECK(says([&] { graft::json_int(json, "x", "FILE"); }) == "FILE: x must be a whole number, found 1.5");
    CHECK(says([&] { graft::json_int(json, "big", "FILE"); }) != "");
    CHECK(says([&] { graft::json_int(json, "none", "FILE"); }) == "FILE: the field none is missing");
    CHECK(says([&] { graft::json_int(json, "z", "FILE"); }) == "FILE: the field z is missing");
    CHECK(says([&] { graft::json_bool_or(json, "n", true, "FILE"); }) == "FILE: n must be true or false, found 3");
    CHECK(says([&] { graft::json_string(json, "l", "FILE"); }) == "FILE: l must be a text, found a list");
    CHECK(says([&] { graft::json_strings(json, "s", "FILE"); }) == "FILE: s must be a list of texts, found \"t\"");
    CHECK(says([&] { graft::json_int(nlohmann::json(1), "n", "FILE"); }) == "FILE: must be an object, found 1");
}
