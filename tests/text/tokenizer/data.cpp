#include "graft/text/tokenizer.hpp"

#include "../../support.hpp"

#include <doctest/doctest.h>

using graft::Error, graft::Tokenizer;

namespace {

// The message of the Error that the call throws.
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

}  // namespace

TEST_CASE("tokenizer: files that are refused")
{
    const std::string good =
        R"({"added_tokens": [], "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}})";
    CHECK(Tokenizer::parse(good).encode("ab") == std::vector<std::int32_t>{2});
    const auto refused = [&](const std::string& from, const std::string& to, std::string_view message) {
        std::string json = good;
        REQUIRE(json.find(from) != std::string::npos);
        json.replace(json.find(from), from.size(), to);
        CAPTURE(json);
        CHECK(has(error_of([&] { Tokenizer::parse(json); }), message));
    };
    refused("{\"added", "[\"added", "tokenizer.json: ");
    refused("\"ab\": 2", "\"ab\": ", "line 1");
    refused("\"BPE\"", "\"WordPiece\"", "\"WordPiece\"; only BPE and Unigram are supported");
    refused("\"BPE\"", "\"Unigram\"", "must be a list of pieces");
    refused("\"ab\": 2", "\"ab\": 1", "repeats");
    refused("\"ab\": 2", "\"a\": 2", "repeats");
    refused("\"ab\": 2", "\"ab\": -2", "an id was expected");
    refused("\"ab\": 2", "\"ab\": 2000000000", "2000000000");
    refused("\"ab\": 2", "\"ab\": 18446744073709551616", "number");
    refused("\"ab\": 2", "\"ab\": {}", "an object");
    refused("\"ab\": 2", "\"ab\": [2]", "an array");
    refused("\"ab\": 2", "\"ab\": \"2\"", "string");
    refused("\"ab\": 2", "\"c\": 2", "merge 0");
    refused("a b", "ab", "merge 0");
    refused("a b", "a b ", "merge 0");
    refused("[\"a b\"]", "[[\"a\"]]", "merge 0");
    refused("[\"a b\"]", "[[\"a\", \"b\", \"a\"]]", "merge 0");
    refused("[\"a b\"]", "[[\"a\", [\"b\"]]]", "an array");
    refused("[\"a b\"]", "[3]", "merges");
    refused("[\"a b\"]", "\"a b\"", "vocab (an object) and merges (a list)");
    refused("\"type\": \"BPE\"", "\"dropout\": 0.1, \"type\": \"BPE\"", "dropout");
    refused("\"type\": \"BPE\"", "\"unk_token\": \"?\", \"type\": \"BPE\"", "unk_token");
    refused("\"type\": \"BPE\"", "\"unk_token\": 3, \"type\": \"BPE\"", "unk_token");
    refused("\"type\": \"BPE\"", "\"fuse_unk\": 3, \"type\": \"BPE\"", "fuse_unk");
    refused("\"type\": \"BPE\"", "\"end_of_word_suffix\": \"</w>\", \"type\": \"BPE\"", "end_of_word_suffix");
    refused("\"type\": \"BPE\"", "\"type\": \"BPE\", \"type\": \"BPE\"", "twice");
    refused("\"added_tokens\": []", "\"model\": {\"vocab\": {}, \"merges\": []}", "twice");
    refused("[],", "{},", "added_tokens must be a list");
    refused("[],", "[{\"id\": 1, \"content\": \"x\"}],", "has the id of \"b\"");
    refused("[],", "[{\"id\": 7, \"content\": \"b\"}],", "has the id 1");
    refused("[],", "[{\"id\": 7, \"content\": \"x\"}, {\"id\": 7, \"content\": \"y\"}],", "repeats");
    refused("[],", "[{\"id\": 7.5, \"content\": \"x\"}],", "whole number");
    refused("[],", "[{\"id\": 7}],", "content must be a string");
    refused("[],", "[{\"id\": 7, \"content\": \"x\", \"lstrip\": 1}],", "lstrip must be true or false");
    for (const auto& [key, name] : {std::pair<std::string, std::string>{"normalizer", "BertNormalizer"},
                                    {"pre_tokenizer", "Whitespace"},
                                    {"post_processor", "BertProcessing"},
                                    {"decoder", "WordPiece"}}) {
        refused("\"added_tokens\": []", "\"" + key + "\": {\"type\": \"" + name + "\"}",
                key + ": unknown type \"" + name + "\"");
        refused("\"added_tokens\": []", "\"" + key + "\": {\"type\": 3}", "type must be a string");
        refused("\"added_tokens\": []", "\"" + key + "\": 3", "must be an object");
    }
    const auto component = [&](const std::string& json, std::string_view message) {
        refused("\"added_tokens\": []", json, message);
    };
    component(
        R"("post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}, {"Sequence": {"id": "A"}}]})",
        "no ids for \"x\"");
    component(
        R"("post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}, {"Sequence": {"id": "A"}}],
        "special_tokens": {"x": {"ids": [77]}}})",
        "the id 77, which no token has");
    component(R"("post_processor": {"type": "TemplateProcessing", "single": []})", "sequence A once");
    component(R"("decoder": {"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "ByteFallback"}]})",
              "after Fuse");
    component(R"("decoder": {"type": "Strip", "content": "xy", "start": 1})", "one character");
    component(R"("decoder": {"type": "Strip", "content": "x", "start": -1})", "start");
    component(R"("pre_tokenizer": {"type": "Metaspace", "replacement": "", "prepend_scheme": "always"})",
              "one character");
    component(R"("pre_tokenizer": {"type": "Metaspace", "replacement": "_", "prepend_scheme": "often"})",
              "prepend_scheme");
    component(
        R"("pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}, {"type": "ByteLevel"}]})",
        "after ByteLevel");
    component(R"("pre_tokenizer": {"type": "Split", "pattern": {"String": "x", "Regex": "x"}, "behavior": "Isolated"})",
              "pattern must be");
    component(R"("pre_tokenizer": {"type": "Split", "pattern": {"String": "x"}, "behavior": "Broken"})",
              "unknown behavior");
    for (const auto& [pattern, message] : {std::pair<std::string, std::string>{"(", "does not compile"},
                                           {"a\\\\K", "\\K"},
                                           {"[[:alpha:]]", "POSIX"},
                                           {"[a&&b]", "&&"},
                                           {"(?m:a)", "(?m:"},
                                           {"\\\\p{Nonsense}", "does not compile"},
                                           {"(a)\\\\1", "\\1"},
                                           {"a{,3}", "{,n}"},
                                           {"(*ACCEPT)", "verb"},
                                           {"\\\\", "backslash"},
                                           {"(?R)", "(?R"}}) {
        component(R"("pre_tokenizer": {"type": "Split", "behavior": "Isolated", "pattern": {"Regex": ")" + pattern
                      + "\"}}",
                  message);
    }
    // Deep nesting, and lists inside lists of components.
    component("\"x\": " + std::string(100000, '[') + std::string(100000, ']'), "nested deeper");
    std::string nested = "null";
    for (int i = 0; i < 200; ++i) { nested = R"({"type": "Sequence", "normalizers": [)" + nested + "]}"; }
    component("\"normalizer\": " + nested, "nested deeper");
    // Truncated at every place: an error, never anything else.
    const std::string whole =
        graft::detail::tokens::read_whole_file(graft_test::repo() / "data/tokenizer_byte_level/tokenizer.json");
    for (std::size_t length = 0; length < whole.size(); length += 97) {
        CHECK_THROWS_AS(Tokenizer::parse(std::string_view(whole).substr(0, length)), Error);
    }
}
