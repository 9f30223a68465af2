#include "graft/text/tokenizer.hpp"

#include "../../support.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <ctime>
#include <fstream>

using graft::Error, graft::Tokenizer;
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

Json token(const std::string& content, const Json& more = Json::object())
{
    Json out{{"content", content}, {"single_word", false}, {"lstrip", false},
             {"rstrip", false},    {"normalized", false},  {"special", true}};
    out.update(more);
    return out;
}

// The vocabulary ends at 3, <e> is 4, the next token would be 5.
Json file()
{
    Json e = token("<e>");
    e["id"] = 4;
    return {{"added_tokens", Json::array({e})},
            {"model", {{"type", "BPE"}, {"vocab", {{"a", 0}, {"b", 1}, {"c", 2}, {"ab", 3}}}, {"merges", {"a b"}}}}};
}

Tokenizer with(const Json& config) { return Tokenizer::parse(file().dump(), config.dump()); }
Ids ids(const Tokenizer& tokenizer, const std::string& text) { return tokenizer.encode(text, {.add_special = false}); }

struct Folder {
    std::filesystem::path path =
        std::filesystem::temp_directory_path()
        / ("graft_config_tokens_" + std::to_string(std::chrono::steady_clock::now().time_since_epoch().count()));
    Folder() { std::filesystem::create_directory(path); }
    ~Folder() { std::filesystem::remove_all(path); }
    void write(const char* name, const Json& json) const
    {
        std::ofstream(path / name, std::ios::binary) << json.dump();
    }
};

}  // namespace

// The values are those of transformers 5.24.0, PreTrainedTokenizerFast.from_pretrained.
TEST_CASE("tokenizer/config_tokens: added_tokens_decoder")
{
    const Json listed = {{"4", token("<e>")}, {"5", token("<x>", {{"special", false}, {"rstrip", true}})}};
    const auto tokenizer = with({{"added_tokens_decoder", listed}});
    CHECK(ids(tokenizer, "<x> a<e>") == Ids{5, 0, 4});
    CHECK_FALSE(tokenizer.is_special(5));
    CHECK(tokenizer.size() == 6);

    // its flags count; what was special stays left out by decoding
    const auto changed =
        with({{"added_tokens_decoder", {{"4", token("<e>", {{"special", false}, {"rstrip", true}})}}}});
    CHECK(ids(changed, "a<e>  b") == Ids{0, 4, 1});
    CHECK(changed.decode(Ids{0, 4, 1}, true) == "a b");
    // a token of the vocabulary becomes an added one
    CHECK(ids(with({{"added_tokens_decoder", {{"1", token("b")}}}}), "aab") == Ids{0, 0, 1});
    CHECK(ids(with(Json::object()), "aab") == Ids{0, 3});

    CHECK(has(
        error_of([] {
            with({{"added_tokens_decoder", {{"9", token("<x>")}}}});
        }),
        "tokenizer_config.json: added_tokens_decoder: \"<x>\" has the id 9, but with this tokenizer.json it gets 5"));
    CHECK(has(error_of([] { with({{"added_tokens_decoder", {{"5", token("<e>")}}}}); }), "has the id 5, but"));
    CHECK(has(error_of([] { with({{"added_tokens_decoder", {{"x", token("<x>")}}}}); }), "whole number"));
    CHECK(has(error_of([] { with({{"added_tokens_decoder", {{"5", 7}}}}); }), "must be a string, or an object"));
    CHECK(has(error_of([] { with({{"added_tokens_decoder", {7}}}); }), "must be an object of ids"));
}

TEST_CASE("tokenizer/config_tokens: names")
{
    // one that no list has gets the next id, bos, eos, unk, sep, pad, cls, mask first
    const auto tokenizer = with({{"pad_token", "<p>"},
                                 {"bos_token", "<b>"},
                                 {"image_token", "<i>"},
                                 {"mask_token", "<m>"},
                                 {"additional_special_tokens", {"<q>", "ab"}},
                                 {"add_bos_token", true},
                                 {"cls_token", nullptr}});
    CHECK(tokenizer.bos() == 5);
    CHECK(tokenizer.pad() == 6);
    CHECK(tokenizer.id("<m>") == 7);
    CHECK(tokenizer.id("<i>") == 8);
    CHECK(tokenizer.id("<q>") == 9);
    CHECK(tokenizer.is_special(9));
    CHECK(ids(tokenizer, "aab<q><p>") == Ids{0, 3, 9, 6});
    CHECK(tokenizer.is_special(3));  // of the vocabulary, now special
    CHECK(tokenizer.decode(Ids{0, 3, 1}, true) == "a b");

    CHECK(with({{"eos_token", "<e>"}}).eos() == 4);
    CHECK(with({{"eos_token", {{"content", "ab"}}}}).eos() == 3);
    CHECK(with({{"eos_token", "<x>"}, {"added_tokens_decoder", {{"5", token("<x>", {{"special", false}})}}}})
              .is_special(5));
    CHECK(has(error_of([] {
                  with({{"eos_token", "<x>"}});
              }),
              "tokenizer_config.json: eos_token is \"<x>\", which no table of the tokeniser has"));
    CHECK(has(error_of([] { with({{"eos_token", "<x>"}, {"additional_special_tokens", {"<x>"}}}); }), "no table"));
    CHECK(has(error_of([] { with({{"extra_special_tokens", "x"}}); }), "extra_special_tokens must be a list"));
    CHECK(with({{"extra_special_tokens", {{"image_token", "<i>"}}}}).id("<i>") == 5);
    CHECK(with({{"eos_token", nullptr}}).eos() == std::nullopt);
}

TEST_CASE("tokenizer/config_tokens: special_tokens_map.json and added_tokens.json")
{
    const Folder folder;
    folder.write("tokenizer.json", file());
    const auto load = [&] { return Tokenizer::load(folder.path); };
    folder.write("special_tokens_map.json",
                 {{"eos_token", "ab"}, {"additional_special_tokens", {"<y>", token("<z>")}}});
    CHECK(load().eos() == 3);
    CHECK(ids(load(), "a<y><z>") == Ids{0, 5, 6});
    // it counts before tokenizer_config.json, unless that has an added_tokens_decoder
    folder.write("tokenizer_config.json", {{"eos_token", "<e>"}, {"additional_special_tokens", {"<q>"}}});
    CHECK(load().eos() == 3);
    CHECK(load().id("<q>") == 5);
    CHECK_FALSE(load().id("<y>"));
    folder.write("tokenizer_config.json", {{"eos_token", "<e>"}, {"added_tokens_decoder", {{"4", token("<e>")}}}});
    CHECK(load().eos() == 4);
    CHECK_FALSE(load().id("<y>"));

    std::filesystem::remove(folder.path / "special_tokens_map.json");
    folder.write("added_tokens.json", {{"<x>", 5}, {"<w>", 6}});
    CHECK_FALSE(load().id("<x>"));
    folder.write("tokenizer_config.json", {{"eos_token", "<x>"}});
    CHECK(load().eos() == 5);
    CHECK(load().is_special(5));
    CHECK_FALSE(load().is_special(6));
    folder.write("added_tokens.json", {{"<x>", 5}, {"<w>", 7}});
    CHECK(has(error_of(load), "added_tokens.json: \"<w>\" has the id 7, but with this tokenizer.json it gets 6"));
    folder.write("special_tokens_map.json", {{"eos_token", "<gone>"}});
    folder.write("added_tokens.json", Json::object());
    CHECK(has(error_of(load), "special_tokens_map.json: eos_token is \"<gone>\""));
}

TEST_CASE("tokenizer/config_tokens: ids of tokenizer.json that the reference would not give")
{
    Json gap = file();
    gap["added_tokens"][0]["id"] = 9;
    CHECK(has(error_of([&] { Tokenizer::parse(gap.dump()); }),
              "added_tokens: \"<e>\" (id 9) gets the id 4 in the tokenizers library"));
}

TEST_CASE("tokenizer/config_tokens: hostile files stay bounded")
{
    // sorted by id; the texts are in the same order
    const auto text_of = [](int i) { return "<" + std::to_string(100000 + i) + ">"; };
    const auto listed = [&](int count) {
        Json many = Json::object();
        for (int i = 0; i < count; ++i) { many[std::to_string(5 + i)] = token(text_of(i)); }
        return Json{{"added_tokens_decoder", many}}.dump();
    };
    // of the processor, whatever runs beside this
    const auto seconds = [](const std::string& config, std::size_t size) {
        const std::string json = file().dump();
        const auto start = std::clock();
        CHECK(Tokenizer::parse(json, config).size() == size);
        return double(std::clock() - start) / CLOCKS_PER_SEC;
    };
    const double few = seconds(listed(5000), 5005), many = seconds(listed(50000), 50005);
    CAPTURE(few);
    CAPTURE(many);
    CHECK(many < 30 * few);  // 10 times as many tokens; where each looks at all others it is 100

    // the same of added_tokens.json, beside as many special tokens without a name
    const auto beside = [&](int count) {
        const Folder folder;
        Json ids = Json::object(), names = Json::array();
        for (int i = 0; i < count; ++i) {
            ids[text_of(i)] = 5 + i;
            names.push_back("*" + std::to_string(i) + "*");
        }
        folder.write("tokenizer.json", file());
        folder.write("tokenizer_config.json", {{"additional_special_tokens", names}});
        folder.write("added_tokens.json", ids);
        const auto start = std::clock();
        CHECK(Tokenizer::load(folder.path).size() == std::size_t(5 + 2 * count));
        return double(std::clock() - start) / CLOCKS_PER_SEC;
    };
    const double little = beside(2500), much = beside(25000);
    CAPTURE(little);
    CAPTURE(much);
    CHECK(much < 30 * little);

    Json names = Json::object();
    for (int i = 0; i < 50000; ++i) { names["x" + std::to_string(i) + "_token"] = "a"; }
    CHECK(has(error_of([&] { with(names); }), "names more than 1000 tokens"));
}
