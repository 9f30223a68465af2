#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "dataset_support.hpp"

using small::error_of;

namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

// "LINE/ROW:value of a" for each row, separated by blanks.
std::string places(std::string_view text, const std::string& extension = ".jsonl")
{
    const small::File file(text, extension);
    std::string out;
    graft::read_rows(file.path(), [&](nlohmann::ordered_json&& row, const graft::RowPlace& place) {
        out += std::to_string(place.line) + "/" + std::to_string(place.row) + ":"
               + row.value("a", nlohmann::ordered_json()).dump() + " ";
    });
    return out;
}

}  // namespace

TEST_CASE("rows: arrays, lines and a lone object, with line numbers")
{
    CHECK(places("{\"a\": 1}\n{\"a\": 2}\n") == "1/1:1 2/2:2 ");
    CHECK(places("{\"a\": 1}\n{\"a\": 2}") == "1/1:1 2/2:2 ");
    CHECK(places("\xef\xbb\xbf{\"a\": 1}\r\n\r\n  {\"a\": 2}\r\n") == "1/1:1 3/2:2 ");
    CHECK(places("[{\"a\": 1}, {\"a\": 2}]") == "1/1:1 1/2:2 ");
    CHECK(places("\xef\xbb\xbf[\r\n  {\r\n \"a\": 1},\r\n{\"a\": 2}\r\n]\r\n\r\n", ".json") == "2/1:1 4/2:2 ");
    CHECK(places("{\n  \"a\": [\n1, {\"}\": \"]\"}]\n}\n") == "1/1:[1,{\"}\":\"]\"}] ");
    CHECK(places("[{\"a\": \"]}\\\"[{\"}]") == "1/1:\"]}\\\"[{\" ");
    // Longer than a block of the reader.
    const std::string big(200000, 'x');
    CHECK(places("{\"a\": \"" + big + "\"}\n{\"a\": 2}") == "1/1:\"" + big + "\" 2/2:2 ");
    CHECK(places("[{\"a\": \"" + big + "\"},\n{\"a\": 2}]") == "1/1:\"" + big + "\" 2/2:2 ");
}

TEST_CASE("rows: what is not JSON is named by line")
{
    CHECK(has(
        error_of("{\"text\": \"a\"}\n{\"text\": \"b\"\n{\"text\": \"c\"}\n", {.options = {.task = graft::Task::text}}),
        "FILE:2: not JSON, column"));
    CHECK(has(error_of("[\n{\n\"a\": 1,\n\"b\": x}]"), "FILE:4: not JSON, column 6: syntax error"));
    CHECK(has(error_of("hello\n"), "FILE:1: expected JSON (an array of objects, or an object a line), found 'hello"));
    CHECK(has(error_of("\"a\""), "expected JSON"));
    CHECK(has(error_of("{\"text\": \"a"), "ends inside this row"));
    CHECK(has(error_of("[{\"text\": \"a\""), "FILE:1: the file ends inside this row"));
    CHECK(has(error_of("[{\"messages\": []}"), "expected ',' or ']' after row 1"));
    CHECK(has(error_of("[{\"messages\": []},"), "ends inside the array"));
    CHECK(has(error_of("[{\"messages\": []},]"), "row 2 of the array is not an object"));
    CHECK(has(error_of("[{\"messages\": []}] x"), "text after the end of the array"));
    CHECK(has(error_of("[1, 2]"), "FILE:1: row 1 of the array is not an object"));
    CHECK(has(error_of("{\"messages\": []}\n[1]\n"), "FILE:2: expected an object with named fields, found array"));
    CHECK(
        has(error_of("{\n\"messages\": []}\n{\"messages\": []}"), "not JSON lines: an object must stand on one line"));
    CHECK(has(error_of("{\"messages\": []} {\"messages\": []}"), "not JSON"));
    CHECK(has(error_of("{\"text\": \"\xff\"}"), "not JSON"));
    CHECK(has(error_of("{\"text\": \"\\ud800\"}"), "not JSON"));
    CHECK(has(error_of("{\"text\": NaN}"), "not JSON"));
    CHECK(has(error_of(std::string("{\"text\": \"a\0\"}", 14)), "not JSON"));
}

TEST_CASE("rows: hostile rows are refused before they cost anything")
{
    CHECK(has(error_of("{\"a\": " + std::string(100000, '[')), "nested deeper than 64"));
    CHECK(has(error_of("[{\"a\": " + std::string(100000, '[')), "nested deeper than 64"));
    std::string wide = "{\"k\": 1";
    for (int i = 0; i < 5000; ++i) { wide += ",\"k" + std::to_string(i) + "\": 1"; }
    CHECK(has(error_of(wide + "}"), "more than 4096 keys"));
    // A message is one line of clean text, whatever the row holds.
    for (const auto& message : {error_of("{\"\\n\\u0007\\u009b\": 1}"), error_of("\x1b[2J\nx"),
                                error_of("{\"messages\": [{\"role\": \"a\\nb\", \"content\": 1}]}")}) {
        CHECK(!message.empty());
        CHECK(message.find_first_of("\n\x1b\x07") == message.npos);
        CHECK(!has(message, "\xc2\x9b"));
    }
    CHECK(error_of("{\"text\": \"" + std::string(100000, 'x') + "\" y}").size() < 600);
}

TEST_CASE("rows: other kinds of files are refused by name")
{
    const auto refused = [](const std::string& extension, const std::string& text = "PAR1") {
        return error_of(text, {}, extension);
    };
    CHECK(has(refused(".parquet"), "is a parquet file, which is not read: convert it to JSON lines: python3"));
    CHECK(has(refused(".jsonl"), "is a parquet file"));
    CHECK(has(refused(".jsonl", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "Git LFS pointer"));
    CHECK(has(refused(".jsonl", "\x1f\x8b\x08"), "compressed with gzip"));
    CHECK(has(refused(".jsonl", "\x28\xb5\x2f\xfd"), "compressed with zstd"));
    CHECK(has(refused(".jsonl", "\xff\xfe{"), "UTF-16"));
    CHECK_THROWS_WITH_AS(small::load_files({"no/such/file.jsonl"}), "no/such/file.jsonl: no such data file",
                         graft::Error);
    CHECK_THROWS_AS(small::load_files({std::filesystem::temp_directory_path()}), graft::Error);
}

TEST_CASE("rows: several files are one set, and places name the file")
{
    const std::string row = R"({"input_ids": [1, 2], "labels": [1, 2]})";
    const small::File a(row + "\n" + row), b(row), c(R"({"prompt": "p", "completion": "c"})");
    const auto set = small::load_files({a.path(), b.path()});
    REQUIRE(set.examples.size() == 3);
    CHECK(set.examples[1].source == a.path().string());
    CHECK(set.examples[2].source == b.path().string());
    CHECK(set.examples[2].row == 1);
    try {
        small::load_files({a.path(), c.path()});
        FAIL("mixed files were taken");
    } catch (const graft::Error& error) {
        CHECK(has(error.what(), c.path().string() + ":1: this row is prompt/completion"));
        CHECK(has(error.what(), "but the row at " + a.path().string() + ":1 is input_ids"));
    }
}
