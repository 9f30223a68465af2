#include <doctest/doctest.h>

#include <string>

#include "dataset_support.hpp"

// Tables (.csv, .tsv) and text files (.txt, .md).
namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

// "LINE/ROW:{…}" for each row, and "LINE!reason" for each that is dropped, with blanks between.
std::string rows(std::string_view text, const std::string& extension, const std::string& split_on = "")
{
    const small::File file(text, extension);
    std::string out;
    graft::read_rows(file.path(),
                     [&](nlohmann::ordered_json&& row, const graft::RowPlace& place) {
                         out += std::to_string(place.line) + "/" + std::to_string(place.row) + ":" + row.dump() + " ";
                     },
                     {.split_on = split_on, .drop = [&](const std::string& reason, const graft::RowPlace& place) {
                          out += std::to_string(place.line) + "!" + reason.substr(0, 19) + " ";
                      }});
    return out;
}
std::string refused(std::string_view text, const std::string& extension)
{
    try {
        rows(text, extension);
    } catch (const graft::Error& error) {
        CHECK(std::string_view(error.what()).find('\n') == std::string_view::npos);
        return error.what();
    }
    return "";
}

}  // namespace

TEST_CASE("table: quotes, line ends inside them, CRLF, a byte order mark, blank lines and empty cells")
{
    CHECK(rows("a,b\n1,2\n3,4", ".csv") == R"(2/1:{"a":"1","b":"2"} 3/2:{"a":"3","b":"4"} )");
    CHECK(rows("\xef\xbb\xbf"
               "a, b \r\n\"x \"\"y\"\"\",\"1\r\n2\"\r\n\r\n,\r\n",
               ".CSV")
          == R"(2/1:{"a":"x \"y\"","b":"1\r\n2"} 5/2:{"a":"","b":""} )");
    CHECK(rows("a\tb\n1, 2\t\"3\t4\"\n", ".tsv") == R"(2/1:{"a":"1, 2","b":"3\t4"} )");
    CHECK(rows("a,b\rx,y\r", ".csv") == R"(1/1:{"a":"x","b":"y"} )");
    CHECK(rows("text\nsay \"hi\"\n", ".csv") == R"(2/1:{"text":"say \"hi\""} )");
    CHECK(rows(",text\n0,x\n", ".csv") == R"(2/1:{"column 1":"0","text":"x"} )");  // the index that pandas writes
    CHECK(rows("{\"a\",b\n1,2\n", ".csv") == R"(2/1:{"{\"a\"":"1","b":"2"} )");
}

TEST_CASE("table: a record with another number of fields is dropped, counted and named; all others are read")
{
    CHECK(rows("a,b\n1\n1,2\n1,2,3\n4,5\n", ".csv")
          == R"(2!a record with fewer 3/2:{"a":"1","b":"2"} 4!a record with more  5/4:{"a":"4","b":"5"} )");
    const std::string file = "prompt,completion\np,c\none\na,b,c\nq,d\n";
    const auto set = small::load(file, {}, ".csv");
    CHECK(set.report.rows_read == 4);
    CHECK(set.examples.size() == 2);
    CHECK(set.report.rows_dropped() == 2);
    REQUIRE(set.report.dropped.size() == 2);
    CHECK(has(set.report.dropped[0].reason, "fewer fields than the 2 of the header"));
    CHECK(has(set.report.dropped[0].first.at(0), ".csv:3"));
    CHECK(
        has(small::error_of(file, {.options = {.strict = true}}, ".csv"), "FILE:3: row 2: a record with fewer fields"));
    CHECK(has(small::error_of("prompt,completion\none\n", {}, ".csv"), "nothing to learn"));
}

TEST_CASE("table: its fields go through the forms of JSON rows")
{
    const auto csv = small::load("instruction,input,output\n\"Add, please\",1 2,3\n", {}, ".csv");
    const auto json = small::load(R"({"instruction": "Add, please", "input": "1 2", "output": "3"})");
    REQUIRE(csv.examples.size() == 1);
    CHECK(csv.examples[0].ids == json.examples[0].ids);
    CHECK(csv.examples[0].labels == json.examples[0].labels);
    CHECK(has(small::error_of("foo,bar\n1,2\n", {}, ".csv"), "FILE:2: "));
}

TEST_CASE("table: what makes the records uncertain is refused with its line")
{
    CHECK(has(refused("a,b\n1,2\n\"3,4\n5,6\n", ".csv"),
              ":3: the file ends inside the field whose quote opens in line 3"));
    CHECK(has(refused("a,b\n\"1\" x,2\n", ".csv"), ":2: text behind the closing quote in line 2"));
    CHECK(has(refused("a,b\n", ".csv"), "a header and no record behind it"));
    CHECK(has(refused("", ".csv"), "no rows: the file is empty"));
    CHECK(has(refused("a,b,a\n1,2,3\n", ".csv"), ":1: two columns are named a"));
    CHECK(has(refused("a;b\n1;2\n", ".csv"), ":1: the header is one field, 'a;b'"));
    CHECK(has(refused("a,b\n1,2\n", ".tsv"), ":1: the header is one field, 'a,b'"));
    CHECK(has(refused("a,b\n1,\xff\n", ".csv"), ":2: not UTF-8 at byte 1"));
    CHECK(has(refused(std::string("a,b\n1,\0\n", 8), ".csv"), ":2: a NUL byte"));
}

TEST_CASE("table: an endless header, a quote that is not closed and millions of columns cost no more than one record")
{
    CHECK(has(refused(std::string(3 << 20, 'x'), ".csv"), "a record of more than 1 MiB"));
    CHECK(has(refused("\"" + std::string(3 << 20, 'x'), ".csv"), "is the quote of line 1 closed?"));
    CHECK(has(refused(std::string(10000, ',') + "\n1\n", ".csv"), "a header of more than 4096 columns"));
    CHECK(rows("a,b\n" + std::string(1 << 20, ',') + "\n1,2\n", ".csv")
          == R"(2!a record with more  3/2:{"a":"1","b":"2"} )");
    std::string many = "a,b\n";
    for (int i = 0; i < 200000; ++i) { many += "\"x\",\"\"\"\"\n"; }
    std::int64_t count = 0;
    const small::File file(many, ".csv");
    graft::read_rows(file.path(), [&](auto&& row, const graft::RowPlace&) { count += row.size() == 2; });
    CHECK(count == 200000);
}

TEST_CASE("documents: a file is one, or cut where it is asked; CRLF becomes LF, nothing else changes")
{
    CHECK(rows("The kite.\n\nAnn held it.\n", ".txt") == R"(1/1:{"text":"The kite.\n\nAnn held it.\n"} )");
    CHECK(rows("\xef\xbb\xbf"
               "a\r\n\r\nb \r\n\r\n\r\n\r\n \r\n\r\nc\r",
               ".md", "\n\n")
          == R"(1/1:{"text":"a"} 3/2:{"text":"b "} 9/3:{"text":"c\n"} )");
    CHECK(rows("a---b---c", ".TXT", "---") == R"(1/1:{"text":"a"} 1/2:{"text":"b"} 1/3:{"text":"c"} )");
    CHECK(rows("aaab", ".txt", "aab") == R"(1/1:{"text":"a"} )");
    CHECK(has(refused("", ".txt"), "no rows: the file is empty"));
    CHECK(has(refused(" \n\n", ".txt"), "no rows"));
    CHECK(has(refused("a\xff", ".txt"), ":1: not UTF-8 at byte 2"));
    CHECK(has(refused(std::string("a\0b", 3), ".txt"), "a NUL byte"));
}

TEST_CASE("documents: JSON rows under the name of a text are rows, and what only begins like them is a text")
{
    CHECK(rows("{\"a\": 1}\n{\"a\": 2}\n", ".txt") == R"(1/1:{"a":1} 2/2:{"a":2} )");
    CHECK(rows("[\n {\"a\": 1}]", ".txt") == R"(2/1:{"a":1} )");
    CHECK(rows("[Chapter 1]\n{x}", ".txt") == R"(1/1:{"text":"[Chapter 1]\n{x}"} )");
    CHECK(rows("{{ jinja }}", ".md") == R"(1/1:{"text":"{{ jinja }}"} )");
    CHECK(graft::is_document("a/b.MD"));
    CHECK(!graft::is_document("a/b.jsonl"));
}

TEST_CASE("documents: text of task text, and what the other tasks say of it")
{
    const small::Setting text{.options = {.task = graft::Task::text, .split_on = "\n\n"}};
    const auto set = small::load("One.\n\nTwo.", text, ".txt");
    CHECK(set.examples.size() == 2);
    CHECK(has(small::error_of("One.\n", {}, ".txt"), "--task text"));
    CHECK(has(small::error_of("hello\n", text, ".dat"), "a text is read from a file named .txt or .md"));
    std::string big;
    for (int i = 0; i < 300000; ++i) { big += "line " + std::to_string(i) + "\n\n"; }
    CHECK(rows(big, ".txt", "\n\n").size() > 300000);
}
