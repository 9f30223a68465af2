#include "graft/io/json_edit.hpp"

#include "support.hpp"

namespace {

using graft::OrderedJson;

std::string at(const std::string& text, const std::string& key)
{
    const auto span = graft::json_value_span(text, key);
    return span ? text.substr(span->begin, span->end - span->begin) : "nothing";
}
std::string appended(const std::string& text, const std::string& key, const std::vector<graft::JsonMember>& more)
{
    graft::parse_json(text, "FILE");
    const auto out = graft::json_appended(text, *graft::json_value_span(text, key), more);
    graft::parse_json(out, "FILE");
    return out;
}

}  // namespace

TEST_CASE("json_value_span: the value of a key of the outermost object, of any form")
{
    const std::string text = "\xEF\xBB\xBF {\"a\" : 12,\"b\":[1,{\"a\":2}, \"]\"] , \"c\\u0064\":\"}\\\"\\\\\","
                             "\"e\":{},\"f\":-1e3}\n";
    graft::parse_json(text, "FILE");
    CHECK(at(text, "a") == "12");
    CHECK(at(text, "b") == "[1,{\"a\":2}, \"]\"]");
    CHECK(at(text, "cd") == "\"}\\\"\\\\\"");
    CHECK(at(text, "e") == "{}");
    CHECK(at(text, "f") == "-1e3");
    CHECK(at(text, "g") == "nothing");
    CHECK(at("{}", "a") == "nothing");
    CHECK(at("[1]", "a") == "nothing");
    CHECK(at("{\"a\":1,\"a\":2}", "a") == "2");
    CHECK(graft::parse_json("{\"a\":1,\"a\":2}", "FILE")["a"] == 2);
}

TEST_CASE("json_replaced: one value changes, no other byte")
{
    const std::string text = "{\n  \"x\": 1.0e9,\n\t\"vocab_size\": 512 ,\n \"y\": [ ]\n}";
    CHECK(graft::json_replaced(text, *graft::json_value_span(text, "vocab_size"), "514")
          == "{\n  \"x\": 1.0e9,\n\t\"vocab_size\": 514 ,\n \"y\": [ ]\n}");
}

TEST_CASE("json_appended: laid out as the elements before")
{
    OrderedJson entry;
    entry["z"] = 1, entry["a"] = "ü\n";
    CHECK(appended("{\n  \"t\": [\n    {\n      \"z\": 0\n    }\n  ],\n  \"u\": 1.0\n}\n", "t",
                   {{"", entry}, {"", entry}})
          == "{\n  \"t\": [\n    {\n      \"z\": 0\n    },\n    {\n      \"z\": 1,\n      \"a\": \"ü\\n\"\n    },\n"
             "    {\n      \"z\": 1,\n      \"a\": \"ü\\n\"\n    }\n  ],\n  \"u\": 1.0\n}\n");
    CHECK(appended("{\n\t\"t\": {\n\t\t\"5\": {}\n\t}\n}", "t", {{"6", entry}})
          == "{\n\t\"t\": {\n\t\t\"5\": {},\n\t\t\"6\": {\n\t\t\t\"z\": 1,\n\t\t\t\"a\": \"ü\\n\"\n\t\t}\n\t}\n}");
    CHECK(appended("{\"t\":[{\"z\":0},1],\"u\":2}", "t", {{"", entry}, {"", 3}})
          == "{\"t\":[{\"z\":0},1,{\"z\":1,\"a\":\"ü\\n\"},3],\"u\":2}");
    CHECK(appended("{\"t\": {\"a\": 1}}", "t", {{"b\"", 2}}) == "{\"t\": {\"a\": 1,\"b\\\"\":2}}");
    CHECK(appended("{\"t\": [ ]}", "t", {{"", 1}, {"", 2}}) == "{\"t\": [1,2 ]}");
    CHECK(appended("{\"t\": {}}", "t", {{"a", 1}, {"b", 2}}) == "{\"t\": {\"a\":1,\"b\":2}}");
    CHECK(appended("{\"t\": [1]}", "t", {}) == "{\"t\": [1]}");
}

TEST_CASE("json_edit: a text that ends inside a value is refused, not read past its end")
{
    for (const char* text :
         {"{\"t\": [1", "{\"t\"", "{\"t\": \"a", "{\"t\": \"a\\", "{\"t\": {\"a\":", "{", "{\"t\": 1", ""}) {
        CAPTURE(text);
        CHECK_THROWS_AS(graft::json_value_span(text, "t"), graft::Error);
    }
}
