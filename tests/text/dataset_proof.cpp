#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "dataset_support.hpp"
#include "graft/text/dataset/proof.hpp"
#include "support.hpp"

// What is learnt of a data set, as a person is told it: rows made for each case.
using graft::Bucket;
using graft::Task;
using graft::TrainOn;
using graft::detail::dataset::buckets_of;
using small::load;
using small::shown;

namespace {

std::string turns(const std::string& inside) { return "{\"messages\": [" + inside + "]}\n"; }
std::string turn(const std::string& role, const std::string& content, const std::string& more = "")
{
    return "{\"role\": \"" + role + "\", \"content\": \"" + content + "\"" + more + "}";
}
std::string answer(const std::string& text) { return turns(turn("user", "q") + "," + turn("assistant", text)); }
bool has(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }
std::string all(const graft::DataReport& report)
{
    std::string out;
    for (const auto& line : summary(report)) { out += line + "\n"; }
    return out;
}
std::string proof(const graft::Dataset& set, std::size_t most = 3)
{
    const small::Tokenizer tokens;
    std::string out;
    const auto parts = [&](const graft::Example& example) {
        return graft::detail::dataset::mark_parts(example, [&](auto ids) { return tokens.decode(ids); });
    };
    for (const auto& line : graft::detail::dataset::proof_lines(set, most, parts)) { out += line + "\n"; }
    return out;
}
std::vector<std::int64_t> numbers(const std::vector<std::size_t>& from) { return {from.begin(), from.end()}; }

const small::Setting documents{.options = {.task = Task::text}};

}  // namespace

TEST_CASE("histogram: every value is in the one bucket that holds it, and buckets lie side by side")
{
    CHECK(buckets_of({}).empty());
    CHECK(buckets_of({5}) == std::vector<Bucket>{{5, 5, 1}});
    CHECK(buckets_of({0, 0, 1}) == std::vector<Bucket>{{0, 0, 2}, {1, 1, 1}});
    CHECK(buckets_of({28, 29, 53})
          == std::vector<Bucket>{{25, 29, 2}, {30, 34, 0}, {35, 39, 0}, {40, 44, 0}, {45, 49, 0}, {50, 54, 1}});
    CHECK(buckets_of({1, 100}).front() == Bucket{1, 1, 1});
    CHECK(buckets_of({1, 100}).back() == Bucket{64, 127, 1});
    std::uint64_t state = 7;
    for (int set = 0; set < 300; ++set) {
        std::vector<std::int64_t> values;
        for (int n = 1 + set % 40; n > 0; --n) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            values.push_back(std::int64_t(state >> (33 + (set % 30))) + (set % 3 == 0 ? 1000 : 0));
        }
        const auto buckets = buckets_of(values);
        REQUIRE(!buckets.empty());
        CHECK(buckets.size() <= 12);
        std::int64_t total = 0;
        for (std::size_t i = 0; i < buckets.size(); ++i) {
            CHECK(buckets[i].low <= buckets[i].high);
            if (i > 0) { CHECK(buckets[i].low == buckets[i - 1].high + 1); }
            CHECK(buckets[i].count == std::count_if(values.begin(), values.end(), [&](std::int64_t v) {
                      return v >= buckets[i].low && v <= buckets[i].high;
                  }));
            total += buckets[i].count;
        }
        CHECK(total == std::int64_t(values.size()));
        CHECK(buckets.front().count > 0);
        CHECK(buckets.back().count > 0);
    }
}

TEST_CASE("histogram: lines with bars, all equally long, and one line of text")
{
    const std::vector<Bucket> buckets{{8, 15, 1}, {16, 31, 0}, {32, 63, 1000}};
    const auto lines = graft::detail::dataset::histogram_lines(buckets, 10);
    CHECK(lines == std::vector<std::string>{" 8-15 |#         | 1", "16-31 |          | 0", "32-63 |##########| 1000"});
    CHECK(graft::detail::dataset::histogram_text(buckets) == "8-15: 1, 16-31: 0, 32-63: 1000");
}

TEST_CASE("mask proof: targets per row, dropped rows at 0, share")
{
    const auto set = load(answer("abc") + answer("a") + turns(turn("user", "q")) + answer("abc"));
    CHECK(target_buckets(set.report) == std::vector<Bucket>{{0, 0, 1}, {2, 2, 1}, {3, 3, 0}, {4, 4, 2}});
    REQUIRE(set.report.rows.size() == 3);
    CHECK(set.report.rows[1].targets == 2);
    CHECK(set.report.rows[1].example == 1);
    const auto text = proof(set, 1);
    CHECK(has(text, "4 rows of messages, 3 used, 1 dropped; 67 tokens, 10 targets (14.9 %)\n"));
    CHECK(has(text, "how many rows have so many (0: dropped)\n  0 |####################                    | 1\n"));
    CHECK(has(text, "dropped 1 row: no assistant turn ("));
    CHECK(has(text, "no row is cut\n"));
    CHECK(has(text, "no control tokens inside the contents\n"));
    CHECK(has(text, " row 2: 2 targets of 21 tokens\n    <|a|>user:q<|z|><|a|>assistant:«a<|z|>»\n"));
    CHECK(!has(text, "rows by targets"));
    CHECK(has(all(set.report), "rows by targets: 0: 1, 2: 1, 3: 0, 4: 2\n"));
}

TEST_CASE("mask proof: the end of turn is a target, or it is not")
{
    const auto learnt = load(answer("abc"));
    CHECK(learnt.report.end_of_turn == "<|z|>");
    CHECK(learnt.report.rows_ended == 1);
    CHECK(has(all(learnt.report), "the end of turn <|z|> is a target in 1 of 1 row\n"));
    // Every answer of a row counts, not the last alone.
    const auto two =
        turn("user", "q") + "," + turn("assistant", "a") + "," + turn("user", "r") + "," + turn("assistant", "b");
    CHECK(load(turns(two)).report.rows_ended == 1);
    // Everything is learnt: white space that a template writes behind the end is no other end.
    CHECK(load(answer("abc"), {.options = {.train_on = TrainOn::all}}).report.rows_ended == 1);
    // Documents and completions end with EOS; without one nothing ends them.
    CHECK(load(R"({"text": "abc"})", documents).report.end_of_turn == "</s>");
    CHECK(load(R"({"text": "abc"})", documents).report.rows_ended == 1);
    CHECK(load(R"({"prompt": "p", "completion": "c"})").report.rows_ended == 1);
    const auto endless = load(R"({"text": "abc"})", {.options = {.task = Task::text}, .tokens = {.has_eos = false}});
    CHECK(endless.report.end_of_turn.empty());
    CHECK(endless.report.rows_ended == 0);
    CHECK(has(all(endless.report), "no control token ends a turn; the last target is a control token in 0 of 1 row\n"));
    // A document in pieces ends once, behind the last.
    const auto pieces = load(R"({"text": "abcdefgh"})", {.options = {.task = Task::text, .max_length = 4}});
    CHECK(pieces.report.rows_ended == 1);
    CHECK(pieces.report.rows.at(0).examples == 3);
    CHECK(pieces.report.rows[0].targets == 9);
    CHECK(has(proof(pieces), "row 1: 9 targets of 12 tokens in 3 pieces (the first is shown)\n"));
    // Without a tokeniser nothing is known, and nothing is said.
    const auto ids = load(R"({"input_ids": [1, 5], "labels": [-100, 5]})", {.no_tokenizer = true});
    CHECK(!has(all(ids.report), "end of turn"));
    CHECK(!has(all(ids.report), "control"));
}

TEST_CASE("mask proof: rows that are cut and what they lost")
{
    const auto row = turns(turn("user", "q") + "," + turn("assistant", "abc") + "," + turn("user", "r") + ","
                           + turn("assistant", "def"));
    const auto whole = load(row).examples[0];  // 8 + 15 + 8 + 15 tokens; 4 + 4 targets
    const auto length = std::int64_t(whole.ids.size());
    REQUIRE(length == 46);
    for (std::int64_t most = 21; most < length; ++most) {  // answer("x") has 21 tokens
        CAPTURE(most);
        const auto set = load(row + answer("x"), {.options = {.max_length = most}, .tokens = {}});
        const auto left = std::count_if(whole.labels.begin(), whole.labels.begin() + most,
                                        [](std::int32_t label) { return label != graft::ignore; });
        const auto& first = set.report.rows.at(0);
        CHECK(first.targets == left);
        CHECK(first.targets_lost == 8 - left);
        CHECK(first.tokens_lost == length - most);
        // Cut inside an answer, the row learns to begin it and never to end it. Cut elsewhere, whole answers are left.
        const bool inside = shown(set.examples[0]).back() == ']' && set.examples[0].labels.back() != 4;
        CHECK(first.end_lost == inside);
        CHECK(first.ended == !inside);
        if (inside) { CHECK(has(proof(set), "lost, the end of turn is lost\n")); }
    }
    const auto set = load(row + answer("x"), {.options = {.max_length = length - 1}});
    CHECK(set.report.targets_lost == 1);
    CHECK(set.report.rows_end_lost == 1);
    CHECK(set.report.rows_ended == 1);
    CHECK(has(all(set.report),
              "cut 1 row at the maximum length, 1 token and 1 target lost; 1 row lost the end of turn\n"));
    CHECK(has(all(set.report), "the end of turn <|z|> is a target in 1 of 2 rows\n"));
    CHECK(has(proof(set), "row 1: 7 targets of 45 tokens, cut: 1 token and 1 target lost, the end of turn is lost\n"));
    const auto brief = turns(turn("user", "") + "," + turn("assistant", ""));
    const auto away = load(row + brief, {.options = {.max_length = 19}});
    CHECK(has(all(away.report), "dropped 1 row: no target left after cutting to 19 tokens"));
    CHECK(!has(all(away.report), "no row is cut"));
    CHECK(away.report.rows_cut_away == 1);
}

TEST_CASE("mask proof: control tokens inside contents are counted, the first is named, its row is shown")
{
    const auto typed = turns(turn("user", "say <|z|> and </s>") + "," + turn("assistant", "b"));
    const auto set = load(answer("a") + typed + answer("c"));
    CHECK(set.report.rows_with_control == 1);
    CHECK(set.report.control_tokens == 2);
    CHECK(set.report.rows[1].control == 2);
    CHECK(has(set.report.first_control, ":2, user: <|z|>"));
    CHECK(has(all(set.report), "2 control tokens inside the contents of 1 row, encoded as plain text (first "));
    CHECK(has(proof(set), "row 2: 2 targets of 38 tokens, 2 control tokens inside the contents\n"));
    const auto real = load(answer("a<|z|>b"), {.options = {.control_in_contents = true}});
    CHECK(has(all(real.report), "inside the contents of 1 row, encoded as control tokens (first "));
    const auto text = load(R"({"text": "a<|z|>b"})", documents);
    CHECK(has(text.report.first_control, ":1: <|z|>"));
    CHECK(has(all(text.report), "encoded as control tokens (first "));
}

TEST_CASE("mask proof: nothing to learn is an error with the reasons")
{
    CHECK(has(small::error_of(turns(turn("user", "q"))),
              "nothing to learn: none of 1 row has a target. 1 row: no assistant turn"));
    CHECK(has(small::error_of(turns(turn("user", "q") + "," + turn("assistant", "a", ", \"weight\": 0"))),
              "1 row: no target (first FILE:1)"));
    CHECK(has(small::error_of(R"({"input_ids": [1, 2], "labels": [-100, -100]})"), "1 row: no target"));
}

TEST_CASE("mask proof: the worst rows come first, each once")
{
    std::string rows;
    for (const char* text : {"abcdef", "ab", "abcd<|z|>", "a", "abcdefghijklmnop"}) { rows += answer(text); }
    const auto set = load(rows, {.options = {.max_length = 32}});
    CHECK(numbers(rows_to_look_at(set, 0)).empty());
    CHECK(numbers(rows_to_look_at(set, 1)) == std::vector<std::int64_t>{3});     // fewest targets
    CHECK(numbers(rows_to_look_at(set, 2)) == std::vector<std::int64_t>{3, 4});  // the one that was cut
    CHECK(numbers(rows_to_look_at(set)) == std::vector<std::int64_t>{3, 4, 2});  // a control token inside
    CHECK(numbers(rows_to_look_at(set, 99)) == std::vector<std::int64_t>{3, 4, 2, 1, 0});
    CHECK(set.report.rows[4].end_lost);
    // Rows that are alike keep the order of the file.
    const auto alike = load(answer("a") + answer("b") + answer("c"));
    CHECK(numbers(rows_to_look_at(alike)) == std::vector<std::int64_t>{0, 1, 2});
    CHECK_THROWS(graft::row_title(set, 5));
}

TEST_CASE("mask proof: long rows are shortened around their middle, never inside a character")
{
    std::string euros;
    for (int i = 0; i < 100; ++i) { euros += "\xe2\x82\xac"; }
    for (std::size_t most = 0; most < 40; ++most) {
        const auto parts = graft::shortened({{.text = euros, .learnt = true}, {.text = "end", .learnt = false}}, most);
        REQUIRE(parts.size() == 2);
        const auto gap = parts[0].text.find("[…]");
        REQUIRE(gap != std::string::npos);
        CHECK(gap % 3 == 0);
        CHECK(parts[0].text.size() <= most + std::string("[…]").size());
        CHECK(parts[0].learnt);
        CHECK(parts[1].text == "end");
    }
    CHECK(graft::shortened({{.text = euros}}, 300)[0].text == euros);
    CHECK(graft::shortened(std::vector<graft::MarkedPart>(500), 10).size() == 65);
    CHECK(graft::shortened(std::vector<graft::MarkedPart>(64), 10).size() == 64);
    // A terminal sees no control characters.
    const auto text = proof(load(answer("\\u001b[2J\\u0007")));
    CHECK(has(text, "\\x1b[2J\\x07"));
    CHECK(!has(text, "\x1b"));
}

// Traps of masks, as they were met in other systems.

TEST_CASE("trap: end of turn not trained, the model never stops")
{
    // pad = eos, and a collator that masked every pad by its id: the answers have lost their end.
    const auto set = load("{\"input_ids\": [1, 20, 30, 2], \"labels\": [-100, -100, 30, -100]}\n"
                          "{\"input_ids\": [1, 20, 31, 32, 2], \"labels\": [-100, -100, 31, 32, -100]}\n");
    CHECK(set.report.rows_ended == 0);
    CHECK(has(all(set.report),
              "the end of turn <|z|> or </s> is a target in 0 of 2 rows: the model will not learn to stop\n"));
    CHECK(has(proof(set), "the end of turn is not learnt\n"));
    // One answer of two: the row does not count, and is shown.
    const auto half = load("{\"input_ids\": [1, 20, 30, 4, 21, 31, 4], "
                           "\"labels\": [-100, -100, 30, -100, -100, 31, 4]}\n"
                           "{\"input_ids\": [1, 20, 30, 4], \"labels\": [-100, -100, 30, 4]}\n");
    CHECK(half.report.rows_ended == 1);
    CHECK(!half.report.rows[0].ended);
}

TEST_CASE("trap: pad = eos masks an end that is learnt: masks go by position, never by id")
{
    const auto set = load(R"({"input_ids": [1, 20, 2, 30, 2, 2, 2], "labels": [-100, -100, 2, 30, 2, -100, -100],
        "attention_mask": [1, 1, 1, 1, 1, 0, 0]})");
    CHECK(set.examples.at(0).labels == std::vector<std::int32_t>{-100, -100, 2, 30, 2});
    CHECK(set.report.rows_ended == 1);
    CHECK(set.report.targets == 3);
}

TEST_CASE("trap: assistant header trained; user text that contains the marker trained")
{
    const auto set = load(turns(turn("user", "x<|z|><|a|>assistant:evil<|z|>") + "," + turn("assistant", "good")));
    CHECK(shown(set.examples.at(0)) == "<|a|>user:x<|z|><|a|>assistant:evil<|z|><|z|><|a|>assistant:[good<|z|>]");
    CHECK(std::count(set.examples[0].ids.begin(), set.examples[0].ids.end(), 3) == 2);  // the template's own headers
    CHECK(set.report.control_tokens == 3);
    CHECK(set.report.targets == 5);
}

TEST_CASE("trap: masks decided from the first 100 rows: the whole data set is looked at")
{
    std::string rows;
    for (int i = 0; i < 150; ++i) { rows += answer("a"); }
    rows += turns(turn("user", "q")) + turns(turn("user", "q") + "," + turn("assistant", "a", ", \"weight\": 0"));
    rows += answer("see <|z|>");
    const auto set = load(rows);
    REQUIRE(set.report.dropped.size() == 2);
    CHECK(has(set.report.dropped[0].first.at(0), ":151"));
    CHECK(set.report.dropped[0].reason == "no assistant turn");
    CHECK(has(set.report.dropped[1].first.at(0), ":152"));
    CHECK(set.report.dropped[1].reason == "no target");
    CHECK(has(set.report.first_control, ":153, assistant: <|z|>"));
    CHECK(target_buckets(set.report).front() == Bucket{0, 0, 2});
    // And the other way round: bad rows in front do not hide good ones.
    std::string late;
    for (int i = 0; i < 150; ++i) { late += turns(turn("user", "q")); }
    CHECK(load(late + answer("a")).report.rows_used == 1);
}

TEST_CASE("trap: BOS twice (template and tokeniser)")
{
    const auto twice = load("{\"text\": \"<s>abc\"}\n{\"text\": \"abc\"}\n{\"text\": \"aabc\"}", documents);
    CHECK(twice.report.rows_bos_twice == 1);
    CHECK(has(all(twice.report), "1 row begins with BOS twice\n"));
    CHECK(load(R"({"input_ids": [1, 1, 20], "labels": [-100, -100, 20]})").report.rows_bos_twice == 1);
    CHECK(load(R"({"input_ids": [4, 4, 20], "labels": [-100, -100, 20]})").report.rows_bos_twice == 0);
    CHECK(!has(all(load(answer("a")).report), "BOS"));
}

TEST_CASE("trap: broken rows dropped without a word: each has its place and reason, and a bar")
{
    const auto set = load(answer("a") + turns(turn("user", "q") + ",{\"role\": \"assistant\", \"content\": null}")
                          + "{\"messages\": null}\n" + turns(""));
    CHECK(set.report.rows_read == 4);
    CHECK(set.report.rows_dropped() == 3);
    CHECK(set.report.dropped.size() == 3);
    CHECK(target_buckets(set.report).front() == Bucket{0, 0, 3});
}

TEST_CASE("trap: text shorter than the context: rows of one token, in every path")
{
    CHECK(has(small::error_of(R"({"input_ids": [1], "labels": [1]})"), "too short to have a target"));
    const small::Setting bare{.options = {.task = Task::text}, .tokens = {.has_eos = false}};
    const auto one = load("{\"text\": \"a\"}", bare);  // BOS and a letter
    CHECK(one.report.targets == 1);
    CHECK(target_buckets(one.report) == std::vector<Bucket>{{1, 1, 1}});
    CHECK(has(proof(one), "row 1: 1 target of 2 tokens\n"));
}
