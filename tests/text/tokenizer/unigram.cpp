#include "graft/text/tokenizer.hpp"

#include "../../support.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <ctime>

using graft::Error, graft::TextSpan, graft::Tokenizer;
using Json = nlohmann::json;
using Ids = std::vector<std::int32_t>;

namespace {

template <class Call> std::string error_of(Call&& call)
{
    try {
        call();
    } catch (const Error& error) {
        CHECK(std::string_view(error.what()).find('\n') == std::string_view::npos);
        return error.what();
    }
    return "no error";
}
bool has(const std::string& text, std::string_view part)
{
    if (text.find(part) != std::string::npos) { return true; }
    MESSAGE(text);
    return false;
}

Json pieces(const std::vector<std::pair<std::string, double>>& list)  // of braces alone Json makes an object
{
    Json out = Json::array();
    for (const auto& [text, score] : list) { out.push_back(Json::array({text, score})); }
    return out;
}

Json unigram(const Json& vocab, const Json& more = Json::object())
{
    Json model{{"type", "Unigram"}, {"unk_id", 0}, {"byte_fallback", false}, {"vocab", vocab}};
    model.update(more);
    return {{"added_tokens", Json::array()}, {"model", model}};
}

Tokenizer read(const Json& file) { return Tokenizer::parse(file.dump()); }
Ids plain(const Tokenizer& tokenizer, const std::string& text)
{
    return tokenizer.encode(text, {.add_special = false});
}

const Json& small()
{
    static const Json vocab = pieces({{"<unk>", 0.0},
                                      {"<s>", 0.0},
                                      {"</s>", 0.0},
                                      {"▁the", -2.0},
                                      {"▁kite", -3.0},
                                      {"▁", -4.0},
                                      {"k", -5.0},
                                      {"i", -5.0},
                                      {"t", -5.0},
                                      {"e", -5.0}});
    return vocab;
}

}  // namespace

// The values are those of tokenizers 0.23.3.
TEST_CASE("tokenizer/unigram: the best sum of scores, and what no piece covers")
{
    Json file = unigram(small());
    const Json metaspace = {{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "first"}, {"split", false}};
    file["pre_tokenizer"] = metaspace, file["decoder"] = metaspace;
    const auto tokenizer = read(file);
    CHECK(plain(tokenizer, "the kite") == Ids{3, 4});
    CHECK(tokenizer.decode(Ids{3, 4}) == "the kite");
    CHECK(plain(tokenizer, "the kit") == Ids{3, 5, 6, 7, 8});
    CHECK(plain(tokenizer, "xyz kite!") == Ids{5, 0, 4, 0});  // neighbouring unks are one
    CHECK(plain(tokenizer, "").empty());
    CHECK(tokenizer.unk() == 0);
    CHECK(tokenizer.token(4) == "▁kite");
    CHECK(tokenizer.id("▁the") == 3);
    CHECK(tokenizer.size() == 10);
    CHECK(tokenizer.encode_with_spans("the xy kite").spans == std::vector<TextSpan>{{0, 3}, {3, 4}, {4, 6}, {6, 11}});

    // <unk> is the piece itself where the text spells it, and control tokens are text where that is asked for
    CHECK(plain(read(unigram(small())), "</s>k") == Ids{2, 6});
    Json added = unigram(small());
    added["added_tokens"] = {{{"id", 2}, {"content", "</s>"}, {"special", true}, {"normalized", false}}};
    CHECK(plain(read(added), "</s>k") == Ids{2, 6});
    CHECK(read(added).encode("</s>k", {.add_special = false, .control_tokens = false}) == Ids{0, 6});

    // of two cuts with one sum, the one that ends in the longer piece; ab then c, for abc
    const Json equal = pieces({{"<unk>", 0.0}, {"a", -2.0}, {"b", -2.0}, {"c", -2.0}, {"ab", -4.0}, {"bc", -4.0}});
    CHECK(plain(read(unigram(equal)), "abc") == Ids{1, 5});
    CHECK(plain(read(unigram(equal)), "ab") == Ids{4});
}

TEST_CASE("tokenizer/unigram: bytes, and no unk at all")
{
    Json vocab = pieces({{"<unk>", 0.0}, {"a", -1.0}});
    for (int b = 0; b < 256; ++b) { vocab.push_back(Json::array({graft::detail::tokens::byte_name(char(b)), -9.0})); }
    const auto bytes = read(unigram(vocab, {{"byte_fallback", true}}));
    CHECK(plain(bytes, "aéa") == Ids{1, 2 + 0xC3, 2 + 0xA9, 1});
    CHECK(plain(bytes, "éß") == Ids{2 + 0xC3, 2 + 0xA9, 2 + 0xC3, 2 + 0x9F});
    const auto spans = bytes.encode_with_spans("aéa").spans;
    CHECK(spans == std::vector<TextSpan>{{0, 1}, {1, 3}, {1, 3}, {3, 4}});
    CHECK(plain(read(unigram(vocab)), "aéa") == Ids{1, 0, 1});
    vocab.erase(2 + 0xA9);  // not all bytes: unk
    CHECK(plain(read(unigram(vocab, {{"byte_fallback", true}})), "aéa") == Ids{1, 0, 1});

    const auto none = read(unigram(pieces({{"ab", 0.0}, {"b", 0.0}}), {{"unk_id", nullptr}}));
    CHECK_FALSE(none.unk());
    CHECK(plain(none, "bb") == Ids{1, 1});
    CHECK(has(error_of([&] { plain(none, "bxb"); }), "no piece for a character of the text (at byte 1"));
}

TEST_CASE("tokenizer/unigram: without a type, as old files are")
{
    Json file = unigram(small());
    file["model"].erase("type");
    CHECK(plain(read(file), "kite") == Ids{6, 7, 8, 9});
}

TEST_CASE("tokenizer/unigram: files that are refused")
{
    const auto refused = [](const Json& file, std::string_view message) {
        CAPTURE(message);
        CHECK(has(error_of([&] { read(file); }), message));
    };
    const auto with = [](const Json& entry) {
        Json vocab = small();
        vocab.push_back(entry);
        return unigram(vocab);
    };
    refused(with(Json::array({"a"})), "piece 10 of model.vocab is not a list of a text and a score");
    refused(with(Json::array({"a", "b"})), "piece 10 of model.vocab is not");
    refused(with(Json::array({-1.0, "a"})), "piece 10 of model.vocab is not");
    refused(with(Json::array({"a", nullptr})), "piece 10 of model.vocab is not");
    refused(with(Json::array({"a", -1, -2})), "piece 10 of model.vocab is not");
    refused(with(Json::array({"a", Json::array({-1})})), "piece 10 of model.vocab is not");
    refused(with("a"), "piece 10 of model.vocab is not");
    refused(with(Json::array({"k", -1})), "the piece \"k\" twice, as 6 and 10");
    refused(with(Json::array({std::string(5000, 'a'), -1})), "piece 10 of model.vocab has 5000 bytes; at most 4096");
    refused(unigram(small(), {{"unk_id", 10}}), "unk_id must be a place in model.vocab, which has 10 pieces, found 10");
    refused(unigram(small(), {{"unk_id", -1}}), "unk_id");
    refused(unigram(small(), {{"byte_fallback", 1}}), "byte_fallback must be true or false");
    refused(unigram(Json::object()), "model.vocab of a Unigram must be a list");
    refused({{"model", {{"type", "BPE"}, {"merges", Json::array()}, {"vocab", small()}}}}, "vocab (an object)");
    CHECK(has(error_of([] {
                  Tokenizer::parse(R"({"model": {"type": "Unigram", "unk_id": null, "vocab": [["a", 1e999]]}})");
              }),
              "tokenizer.json: "));
    CHECK(has(
        error_of([] { Tokenizer::parse(R"({"model": {"type": "Unigram", "unk_id": null, "vocab": [["a", NaN]]}})"); }),
        "tokenizer.json: "));
    // an empty piece is there and never found, as in the reference
    CHECK(plain(read(with(Json::array({"", 5.0}))), "kite") == Ids{6, 7, 8, 9});
    CHECK(plain(read(unigram(Json::array(), {{"unk_id", nullptr}})), "").empty());
}

TEST_CASE("tokenizer/unigram: a million equal scores, long texts, long pieces")
{
    const std::clock_t start = std::clock();  // of this process alone
    std::string json = R"({"model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", -1])";
    for (int i = 0; i < 1000000; ++i) { json += ",[\"" + std::to_string(i) + "\",-1]"; }
    const auto many = Tokenizer::parse(json + "]}}");
    std::string digits;
    for (int i = 0; i < 100000; ++i) { digits += char('0' + int(std::int64_t(i) * i / 7 % 10)); }
    const auto ids = plain(many, digits);
    CHECK(ids.size() >= digits.size() / 6);
    CHECK(many.decode(ids).size() >= digits.size());

    Json vocab = pieces({{"<unk>", 0.0}, {"a", -1.0}});
    for (int n = 2; n <= 4096; n *= 2) { vocab.push_back(Json::array({std::string(std::size_t(n), 'a'), -1.0})); }
    CHECK(plain(read(unigram(vocab)), std::string(40960, 'a')) == Ids(10, 13));
    CHECK(plain(read(unigram(vocab)), std::string(100000, 'b')) == Ids{0});
    const double seconds = double(std::clock() - start) / CLOCKS_PER_SEC;
    MESSAGE("took " << seconds << " s");
    CHECK(seconds < 300);  // quadratic time would be hours; a sanitised build without optimisation takes a minute
}
