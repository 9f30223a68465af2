#include "grow_support.hpp"

using namespace graft_test;

namespace {

// Everything but the tables and three files is as it was; of the tables, all rows but the new ones.
void check_grown(const fs::path& base, const fs::path& out, std::int64_t known, std::int64_t first, std::int64_t end,
                 std::int64_t rows)
{
    auto before = Tensors::read(base / "model.safetensors"), after = Tensors::read(out / "model.safetensors");
    CHECK(before.list.size() == after.list.size());
    for (auto& tensor : before.list) {
        CAPTURE(tensor.name);
        const auto& grown = after.at(tensor.name);
        CHECK(grown.dtype == tensor.dtype);
        if (tensor.name != embedding && tensor.name != head) {
            CHECK(grown.shape == tensor.shape);
            CHECK(grown.bytes == tensor.bytes);
            continue;
        }
        CHECK(grown.shape == std::vector<std::int64_t>{rows, tensor.shape[1]});
        const auto width = tensor.bytes.size() / std::size_t(tensor.shape[0]);
        REQUIRE(grown.bytes.size() == width * std::size_t(rows));
        const auto mean = mean_of(tensor, known);
        for (std::int64_t row = 0; row < rows; ++row) {
            CAPTURE(row);
            if (row < tensor.shape[0] && (row < first || row >= end)) {
                const auto at = std::size_t(row) * width;
                CHECK(grown.bytes.compare(at, width, tensor.bytes, at, width) == 0);
            } else {
                CHECK(row_of(grown, row) == mean);
            }
        }
    }
    std::string config = read_text(base / "config.json");
    const auto said = "\"vocab_size\": " + json_of(base / "config.json")["vocab_size"].dump();
    config.replace(config.find(said), said.size(), "\"vocab_size\": " + std::to_string(rows));
    CHECK(read_text(out / "config.json") == config);
    for (const auto& entry : contents(base)) {
        const std::string& name = entry.first;
        if (name.starts_with("tokenizer") || name == "config.json" || name.ends_with(".safetensors")
            || name == "LICENSE-MIT" || name.starts_with("expected")) {
            continue;
        }
        CAPTURE(name);
        CHECK(read_text(out / name) == entry.second);
    }
}

std::vector<double> columns(const std::vector<double>& logits, std::size_t all, std::size_t first)
{
    std::vector<double> out;
    for (std::size_t i = 0; i < logits.size(); ++i) {
        if (i % all < first) { out.push_back(logits[i]); }
    }
    return out;
}

}  // namespace

TEST_CASE("grow: new rows are the mean, all else keeps its bytes, old logits their bits; tied and not, three types")
{
    if (!stories()) { return; }
    for (const std::string dtype : {"F32", "BF16", "F16"}) {
        for (const bool tied : {true, false}) {
            CAPTURE(dtype);
            CAPTURE(tied);
            const TempFolder temp;
            const auto base = variant(temp / "base", dtype, tied), out = temp / "out";
            const auto receipt = grow(base, out, {.tokens = chat_tokens});
            REQUIRE(receipt.tokens.size() == 2);
            CHECK(receipt.tokens[0].text == "<|im_start|>");
            CHECK(receipt.tokens[0].id == 512);
            CHECK(receipt.tokens[1].id == 513);
            CHECK(receipt.known == 512);
            CHECK(receipt.in_padding == 0);
            REQUIRE(receipt.tables.size() == (tied ? 1u : 2u));
            for (const auto& table : receipt.tables) {
                CHECK(table.before == 512);
                CHECK(table.after == 514);
                CHECK(graft::stored_name(table.type) == dtype);
            }
            CHECK(receipt.tables.back().name == (tied ? embedding : head));
            check_grown(base, out, 512, 512, 514, 514);

            const auto ids = graft::Tokenizer::load(base).encode("Once upon a time, there was a little girl");
            const auto old = logits_of(graft::load_model<float>(base), ids);
            const auto now = logits_of(graft::load_model<float>(out), ids);
            REQUIRE(now.size() == ids.size() * 514);
            CHECK(columns(now, 514, 512) == old);           // to the bit
            for (std::size_t i = 0; i < ids.size(); ++i) {  // no likelier than the average old token
                double sum = 0;
                for (std::size_t j = 0; j < 512; ++j) { sum += std::exp(old[i * 512 + j]); }
                CHECK(std::exp(now[i * 514 + 512]) < sum / 512);
                CHECK(now[i * 514 + 512] == now[i * 514 + 513]);
            }
        }
    }
}

TEST_CASE("grow: the tokeniser encodes each new token as its id, and old texts as before")
{
    if (!stories()) { return; }
    const TempFolder temp;
    const auto receipt = grow(small_model(), temp / "out", {.tokens = chat_tokens});
    grow(small_model(), temp / "shown", {.tokens = {"[INST]"}, .special = false});
    const auto old = graft::Tokenizer::load(small_model()), now = graft::Tokenizer::load(temp / "out"),
               shown = graft::Tokenizer::load(temp / "shown");
    CHECK(now.size() == 514);
    using Ids = std::vector<std::int32_t>;
    auto expected = old.encode("user");
    expected.insert(expected.begin() + 1, 512);  // behind BOS
    CHECK(now.encode("<|im_start|>user") == expected);
    CHECK(now.encode("<|im_start|><|im_end|>", {.add_special = false}) == Ids{512, 513});
    CHECK(now.decode(Ids{512, 403, 513}) == "<|im_start|> Once<|im_end|>");  // only the text's first space goes
    CHECK(now.decode(expected, true) == old.decode(old.encode("user"), true));
    CHECK(now.is_special(512));
    for (const std::string text : {"", "Once upon a time", "  two  spaces\n", "</s> <s> <unk>", "ünï 漢字 🙂",
                                   "<|im_sta", "user<|im_end"}) {
        CAPTURE(text);
        CHECK(now.encode(text) == old.encode(text));
        CHECK(now.decode(now.encode(text)) == old.decode(old.encode(text)));
    }
    CHECK(!shown.is_special(512));
    CHECK(shown.decode(Ids{512}, true) == "[INST]");

    // The files, but for the entries.
    auto json = json_of(temp / "out/tokenizer.json");
    REQUIRE(json["added_tokens"].size() == 5);
    CHECK(json["added_tokens"][4].dump()
          == R"({"id":513,"content":"<|im_end|>","single_word":false,"lstrip":false,)"
             R"("rstrip":false,"normalized":false,"special":true})");
    json["added_tokens"].erase(4), json["added_tokens"].erase(3);
    CHECK(json == json_of(small_model() + "/tokenizer.json"));
    json = json_of(temp / "out/tokenizer_config.json");
    auto& decoder = json["added_tokens_decoder"];
    CHECK(decoder["513"].dump()
          == R"({"content":"<|im_end|>","lstrip":false,"normalized":false,"rstrip":false,)"
             R"("single_word":false,"special":true})");
    CHECK((--decoder.end()).key() == "513");
    decoder.erase("512"), decoder.erase("513");
    CHECK(json == json_of(small_model() + "/tokenizer_config.json"));
}

TEST_CASE("grow: rows that were padding are used first and become the mean; a multiple pads with the mean")
{
    if (!stories()) { return; }
    const TempFolder temp;
    const auto base = variant(temp / "base", "F32", false);
    pad_tables(base, 520);
    const auto grown = [&](const std::string& name, std::size_t count, std::int64_t multiple) {
        std::vector<std::string> tokens;
        for (std::size_t i = 0; i < count; ++i) { tokens.push_back("<" + std::to_string(i) + ">"); }
        return grow(base, temp / name, {.tokens = tokens, .multiple = multiple});
    };
    auto receipt = grown("two", 2, 1);
    CHECK(receipt.tokens[0].id == 512);
    CHECK(receipt.in_padding == 2);
    CHECK(receipt.tables[0].after == 520);
    check_grown(base, temp / "two", 512, 512, 514, 520);  // rows 514 to 519 stay as they were
    CHECK(row_of(Tensors::read(temp / "two/model.safetensors").at(head), 514)[0] == 77);

    receipt = grown("ten", 10, 1);
    CHECK(receipt.in_padding == 8);
    CHECK(receipt.tables[1].after == 522);
    check_grown(base, temp / "ten", 512, 512, 522, 522);

    receipt = grown("multiple", 2, 64);
    CHECK(receipt.tables[0].after == 576);
    check_grown(base, temp / "multiple", 512, 512, 514, 576);
    CHECK(grown("fits", 2, 8).tables[0].after == 520);

    receipt = grow(temp / "multiple", temp / "again", {.tokens = {"<again>"}});  // a grown one grows
    CHECK(receipt.tokens[0].id == 514);
    CHECK(receipt.known == 514);
    check_grown(temp / "multiple", temp / "again", 514, 514, 515, 576);
}

TEST_CASE("grow: NF4 tensors keep their bytes, and the model its old logits")
{
    if (!stories()) { return; }
    const TempFolder temp;
    std::vector<std::pair<fs::path, std::int64_t>> bases;
    for (const bool nested : {false, true}) {
        bases.emplace_back(quantized(small_model(), temp / (nested ? "nested" : "plain"), nested), 512);
    }
    if (const auto root = data()) {
        for (const std::string name : {"checkpoint_double_bf16", "checkpoint_double_f32", "checkpoint_single_bf16"}) {
            const auto base = temp / name;
            copy_folder(*root / "golden/nf4" / name, base);
            copy_folder(small_model(), temp / "files");
            auto json = json_of(temp / "files/tokenizer.json");  // of its tokens, the first 107
            nlohmann::ordered_json few;
            for (const auto& entry : json["model"]["vocab"].items()) {
                if (entry.value().get<int>() < 107) { few[entry.key()] = entry.value(); }
            }
            json["model"]["vocab"] = few;
            json["model"]["merges"] = nlohmann::ordered_json::array();
            json["model"]["byte_fallback"] = false;
            write_text(base / "tokenizer.json", json.dump());
            bases.emplace_back(base, 107);
        }
    } else {
        skip("GRAFT_TEST_DATA is not set: golden/nf4");
    }
    for (const auto& one : bases) {
        const fs::path& base = one.first;
        const std::int64_t rows = one.second;
        CAPTURE(base.string());
        const auto out = base.string() + "-out";
        const auto receipt = grow(base, out, {.tokens = chat_tokens});
        CHECK(receipt.tables[0].before == rows);
        check_grown(base, out, rows, rows, rows + 2, rows + 2);
        const std::vector<std::int32_t> ids{1, 40, 98, 77, 12, 5};
        const auto old = logits_of(graft::load_model<float>(base), ids);
        const auto now = logits_of(graft::load_model<float>(out), ids);
        CHECK(columns(now, std::size_t(rows + 2), std::size_t(rows)) == old);
        CHECK(std::all_of(now.begin(), now.end(), [](double z) { return std::isfinite(z); }));
    }
}

TEST_CASE("grow: shards become one file, the same as from one file; a head beside its tied embedding goes")
{
    if (!stories()) { return; }
    const TempFolder temp;
    const auto base = variant(temp / "base", "BF16", false), sharded = variant(temp / "sharded", "BF16", false);
    const Shards shards(sharded);
    grow(base, temp / "one", {.tokens = chat_tokens});
    grow(sharded, temp / "two", {.tokens = chat_tokens});
    CHECK(contents(temp / "one") == contents(temp / "two"));

    const auto tied = variant(temp / "tied");
    auto file = Tensors::read(tied / "model.safetensors");
    auto copy = file.at(embedding);
    copy.name = head;
    file.list.push_back(copy);
    file.write(tied / "model.safetensors");
    CHECK(grow(tied, temp / "three", {.tokens = chat_tokens}).tables.size() == 1);
    CHECK(!Tensors::read(temp / "three/model.safetensors").has(head));
    CHECK(graft::load_model<float>(temp / "three").config.vocab == 514);
}

TEST_CASE("grow: other forms of a tokeniser's files")
{
    if (!stories()) { return; }
    const TempFolder temp;
    const auto base = variant(temp / "base");
    const auto json = json_of(base / "tokenizer.json");
    write_text(base / "tokenizer.json", json.dump());  // on one line
    write_text(base / "added_tokens.json", "{\"<s>\": 1,\n  \"</s>\": 2}");
    fs::remove(base / "tokenizer_config.json");
    grow(base, temp / "out", {.tokens = {"a\"\\\n\tü"}});
    CHECK(read_text(temp / "out/tokenizer.json").find('\n') == std::string::npos);
    CHECK(read_text(temp / "out/added_tokens.json") == "{\"<s>\": 1,\n  \"</s>\": 2,\"a\\\"\\\\\\n\\tü\":512}");
    CHECK(!fs::exists(temp / "out/tokenizer_config.json"));
    const auto tokenizer = graft::Tokenizer::load(temp / "out");
    CHECK(tokenizer.encode("a\"\\\n\tü", {.add_special = false}) == std::vector<std::int32_t>{512});
    CHECK(tokenizer.token(512) == "a\"\\\n\tü");

    // A list of pieces, whose ids are their places; no added tokens; a configuration that names none.
    auto pieces = nlohmann::ordered_json::array();
    for (int i = 0; i < 500; ++i) { pieces.push_back({"p" + std::to_string(i), -1.5}); }
    write_text(base / "tokenizer.json", nlohmann::ordered_json({{"added_tokens", nlohmann::ordered_json::array()},
                                                                {"model", {{"type", "Unigram"}, {"vocab", pieces}}}})
                                            .dump(4));
    fs::remove(base / "added_tokens.json");
    write_text(base / "tokenizer_config.json", "{\"tokenizer_class\": \"T\"}");
    const auto receipt = grow(base, temp / "list", {.tokens = chat_tokens});
    CHECK(receipt.tokens[0].id == 500);
    CHECK(receipt.known == 500);
    CHECK(json_of(temp / "list/tokenizer.json")["added_tokens"].size() == 2);
    CHECK(read_text(temp / "list/tokenizer_config.json") == "{\"tokenizer_class\": \"T\"}");
    check_grown(base, temp / "list", 500, 500, 502, 512);
    CHECK(says(refusal(base, {"p7"}), {"already has the token p7", "id 7"}));
}

TEST_CASE("grow: tokens that are refused")
{
    if (!stories()) { return; }
    const fs::path base = small_model();
    CHECK(says(refusal(base, {}), {"no tokens"}));
    CHECK(says(refusal(base, {"a<b>", ""}), {"empty"}));
    CHECK(says(refusal(base, {"<x>", "<y>", "<x>"}), {"<x>", "twice"}));
    CHECK(says(refusal(base, {"<x\xff>"}), {"<x\\xff>", "UTF-8"}));
    CHECK(says(refusal(base, {"<x>", "</s>"}), {"tokenizer.json", "</s>", "id 2"}));  // an added token
    CHECK(says(refusal(base, {"▁time"}), {"▁time", "id "}));                          // of the vocabulary
    CHECK(says(refusal_of([&] { graft::grown_vocabulary(base, {.tokens = {"<x>"}, .multiple = 0}); }),
               {"multiple of 0"}));
}

// When such a tokeniser is loaded they get the ids behind those of tokenizer.json, which are those of the new tokens.
TEST_CASE("grow: tokens that only a configuration names or lists are refused, wherever it does")
{
    if (!stories()) { return; }
    const TempFolder temp;
    int count = 0;
    const auto base_with = [&](const char* name, const nlohmann::ordered_json& entry) {
        const auto base = variant(temp / std::to_string(count++));
        auto json = fs::exists(base / name) ? json_of(base / name) : nlohmann::ordered_json::object();
        json.update(entry);
        write_text(base / name, json.dump(2));
        return base;
    };
    const auto with = [&](const char* name, const auto& entry) { return refusal(base_with(name, entry)); };
    const nlohmann::ordered_json token{{"content", "<only>"}, {"special", true}};
    for (const char* name : {"tokenizer_config.json", "special_tokens_map.json"}) {
        CAPTURE(std::string(name));
        for (const nlohmann::ordered_json& entry :
             std::vector<nlohmann::ordered_json>{{{"pad_token", "<only>"}},
                                                 {{"mask_token", token}},
                                                 {{"image_token", "<only>"}},
                                                 {{"additional_special_tokens", {"</s>", "<only>"}}},
                                                 {{"additional_special_tokens", {token}}},
                                                 {{"extra_special_tokens", {"<only>"}}},
                                                 {{"extra_special_tokens", {{"image_token", "<only>"}}}}}) {
            CAPTURE(entry.dump());
            CHECK(says(with(name, entry), {name, "\"<only>\"", "which tokenizer.json does not have"}));
        }
        const auto known = base_with(name, {{"pad_token", "</s>"}, {"additional_special_tokens", {"<s>"}}});
        CHECK(graft::grown_vocabulary(known, {.tokens = chat_tokens}).tokens.size() == 2);
    }
    using Json = nlohmann::ordered_json;
    CHECK(says(with("tokenizer_config.json", Json{{"added_tokens_decoder", {{"512", token}}}}),
               {"tokenizer_config.json", "<only>", "tokenizer.json does not have"}));
    CHECK(says(with("added_tokens.json", Json{{"<only>", 512}}), {"added_tokens.json", "<only>"}));
}

TEST_CASE("grow: bases that are refused, with one line and nothing written")
{
    if (!stories()) { return; }
    const TempFolder temp;
    int count = 0;
    const auto changed = [&](auto&& change, bool tied = true) {
        const auto base = variant(temp / std::to_string(count++), "F32", tied);
        change(base);
        const auto text = refusal(base);
        CAPTURE(text);
        return text;
    };
    const auto file = [&](const std::string& name, auto&& change) {
        return changed([&](const fs::path& base) { change_json(base / name, change); });
    };
    const auto tensors = [&](auto&& change, bool tied = true) {
        return changed(
            [&](const fs::path& base) {
                auto list = Tensors::read(base / "model.safetensors");
                change(list);
                list.write(base / "model.safetensors");
            },
            tied);
    };

    CHECK(says(changed([](const fs::path& base) { fs::remove(base / "tokenizer.json"); }), {"no tokenizer.json"}));
    CHECK(says(changed([](const fs::path& base) {
                   fs::remove(base / "config.json");
                   write_text(base / "adapter_config.json", "{}");
               }),
               {"holds an adapter, not a model"}));
    CHECK(says(changed([](const fs::path& base) { fs::remove(base / "model.safetensors"); }), {"no model.safe"}));
    CHECK(says(file("config.json", [](auto& json) { json["vocab_size"] = 600; }),
               {"model.embed_tokens.weight has 512 rows", "vocab_size 600"}));
    CHECK(says(tensors(
                   [](Tensors& list) {
                       auto& own = list.at(head);
                       own.shape[0] = 511, own.bytes.resize(own.bytes.size() / 512 * 511);
                   },
                   false),
               {"lm_head.weight has 511 rows", "vocab_size 512"}));
    CHECK(says(tensors([](Tensors& list) { list.erase(head); }, false), {"missing", "lm_head.weight"}));
    CHECK(says(tensors([](Tensors& list) { list.erase("model.norm.weight"); }), {"missing", "model.norm.weight"}));
    CHECK(says(tensors([](Tensors& list) {
                   auto more = list.at("model.norm.weight");
                   more.name = "more.weight";
                   list.list.push_back(more);
               }),
               {"not part of it", "more.weight"}));
    CHECK(says(tensors([](Tensors& list) {
                   auto own = list.at(embedding);
                   own.name = head, own.bytes[5] ^= 1;
                   list.list.push_back(own);
               }),
               {"tie_word_embeddings", "differs"}));
    CHECK(says(tensors([](Tensors& list) {
                   const float nan = NAN;
                   std::memcpy(list.at(embedding).bytes.data() + (3 * 64 + 5) * 4, &nan, 4);
               }),
               {"row 3, column 5", "nan"}));
    CHECK(says(tensors([](Tensors& list) { list.at(embedding).dtype = "I32"; }), {"of another shape or type", "I32"}));
    CHECK(says(tensors([](Tensors& list) {  // as bitsandbytes would store it
                   auto& table = list.at(embedding);
                   table.dtype = "U8", table.bytes.resize(512 * 32), table.shape = {512 * 32, 1};
                   list.list.push_back({table.name + ".absmax", "F32", {512}, std::string(2048, '\0')});
               }),
               {"model.embed_tokens.weight is in 4 bits"}));

    const auto added = [](auto& json) -> auto& { return json["added_tokens"]; };
    CHECK(
        says(file("tokenizer.json", [&](auto& json) { added(json)[2]["id"] = 512, added(json)[2]["content"] = "<z>"; }),
             {"an id 512", "only 512 rows"}));
    CHECK(says(file("tokenizer.json", [&](auto& json) { added(json)[2]["id"] = -1; }), {"tokenizer.json", "-1"}));
    CHECK(says(file("tokenizer.json", [&](auto& json) { added(json)[2]["id"] = 1ull << 63; }), {"whole number"}));
    CHECK(says(file("tokenizer.json", [&](auto& json) { added(json) = 5; }), {"added_tokens must be a list"}));
    CHECK(says(file("tokenizer.json", [](auto& json) { json.erase("added_tokens"); }), {"added_tokens is missing"}));
    CHECK(says(file("tokenizer.json", [](auto& json) { json["model"]["vocab"] = "x"; }), {"model.vocab must be"}));
    const auto vocab = [](auto& json) -> auto& { return json["model"]["vocab"]; };
    CHECK(says(file("tokenizer.json", [&](auto& json) { vocab(json)["x"] = 1 << 24; }), {"of x", "16777215"}));
    CHECK(says(file("tokenizer.json", [&](auto& json) { vocab(json)["x"] = "y"; }), {"of x", "whole number"}));
    CHECK(says(file("tokenizer.json", [](auto& json) { json = 3; }), {"must be an object"}));
    CHECK(says(file("tokenizer.json",
                    [&](auto& json) {
                        json["model"]["vocab"] = {{"a", nlohmann::ordered_json::array()}};
                    }),
               {"whole number"}));
    CHECK(says(changed([](const fs::path& base) { write_text(base / "tokenizer.json", "{\"model\": "); }),
               {"tokenizer.json", "not JSON"}));
    CHECK(says(changed([](const fs::path& base) { write_text(base / "tokenizer.json", std::string(99'999, '[')); }),
               {"tokenizer.json", "levels deep"}));

    // Programs would not agree about an id.
    CHECK(says(file("tokenizer.json", [](auto& json) { json["model"]["vocab"].erase("▁time"); }),
               {"gaps", "512 here and 511"}));
    CHECK(says(changed([&](const fs::path& base) {
                   pad_tables(base, 530);
                   change_json(base / "tokenizer.json", [&](auto& json) {
                       added(json).push_back(added(json)[2]);
                       added(json)[3]["id"] = 520, added(json)[3]["content"] = "<z>";
                   });
               }),
               {"gaps", "521 here and 513"}));
    CHECK(says(file("tokenizer_config.json",
                    [](auto& json) {
                        json["added_tokens_decoder"]["512"] = {{"content", "<pad>"}};
                    }),
               {"tokenizer_config.json", "<pad> has the id 512", "tokenizer.json does not have"}));
    CHECK(says(file("tokenizer_config.json", [](auto& json) { json["added_tokens_decoder"]["2"]["content"] = "<s>"; }),
               {"<s> has the id 2", "is 1 in tokenizer.json"}));
    CHECK(says(file("tokenizer_config.json", [](auto& json) { json["added_tokens_decoder"] = 1; }), {"an object"}));
    CHECK(says(file("tokenizer_config.json", [](auto& json) { json["added_tokens_decoder"]["2"] = 1; }), {"object"}));
    CHECK(says(changed([](const fs::path& base) { write_text(base / "added_tokens.json", "{\"<pad>\": 512}"); }),
               {"added_tokens.json", "<pad>"}));

    const auto base = variant(temp / "base");
    const auto before = contents(base);
    CHECK(says(refusal_of([&] { graft::grow_vocabulary(base, base, {.tokens = chat_tokens}); }), {"is the base"}));
    CHECK(contents(base) == before);
}

TEST_CASE("grow: a full disk leaves no half of a checkpoint")
{
    if (!stories()) { return; }
    const TempFolder temp;
    for (const std::uint64_t room : {1'000, 14'000, 500'000, 1'045'000}) {
        CAPTURE(room);
        CHECK(with_full_disk(room, [&] { grow(small_model(), temp / "out", {.tokens = chat_tokens}); }) == 2);
        CHECK(fs::is_empty(temp / "out"));
    }
    CHECK(with_full_disk(1'100'000, [&] { grow(small_model(), temp / "out", {.tokens = chat_tokens}); }) == 0);
}
