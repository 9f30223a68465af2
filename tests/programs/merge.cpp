#include "finetune_support.hpp"
#include "nf4_checkpoint.hpp"

// The program merge, run as it is built.
using namespace graft_test;

namespace {

// A run of finetune into a folder; the adapter is far from zero.
std::string trained(const Place& place, const std::string& name, const std::string& model, const Arguments& more = {})
{
    const std::string out = (place.temp / name).string();
    const auto ended =
        run("finetune", joined({"--model", model, "--data", (place.temp / "rows.jsonl").string(), "--output", out,
                                "--quiet", "--steps", "8", "--lr", "3e-2", "--rank", "6", "--alpha", "14"},
                               more));
    CHECK(ended.err == "");
    REQUIRE(ended.status == 0);
    return out;
}

std::string says(const std::string& model, const std::string& adapter, const std::string& prompt)
{
    Arguments arguments{"--model", model, "--prompt", prompt, "--max-tokens", "64"};
    if (!adapter.empty()) { arguments.insert(arguments.end(), {"--adapter", adapter}); }
    const auto ended = run("generate", arguments);
    CHECK(ended.status == 0);
    return ended.out;
}

bool all_ready() { return ready() && built("merge") && built("generate"); }

// Writes a text into the metadata of an adapter's file.
void tell(const std::string& adapter, const std::string& key, const std::string& value)
{
    const auto path = fs::path(adapter) / "adapter_model.safetensors";
    const auto file = Tensors::read(path);
    auto header = file.header();
    header["__metadata__"] = {{"format", "pt"}, {key, value}};
    file.write(path, header);
}

nlohmann::json receipt(const fs::path& folder) { return nlohmann::json::parse(read_text(folder / "merge.json")); }

}  // namespace

TEST_CASE("merge: 64 greedy tokens of the merged checkpoint are those of base and adapter, dense and NF4")
{
    if (!all_ready()) { return; }
    const Place place;
    const auto nf4 = quantized(small_model(), place.temp / "nf4", true).string();
    for (const bool four_bit : {false, true}) {
        CAPTURE(four_bit);
        const std::string model = four_bit ? nf4 : small_model(), kind = four_bit ? "q" : "d";
        const auto adapter = trained(place, "adapter-" + kind, model);
        const auto out = (place.temp / ("merged-" + kind)).string();
        const auto ended = run("merge", {"--model", model, "--adapter", adapter, "--output", out, "--dtype", "f32",
                                         "--prompt", "Once upon a time", "--prompt", "The old tree"});
        CAPTURE(ended.out);
        CHECK(ended.err == "");
        REQUIRE(ended.status == 0);
        CHECK(ended.out.find("35 of 47 tensors") != std::string::npos);
        CHECK((ended.out.find("were decoded") != std::string::npos) == four_bit);
        CHECK(ended.out.find("64 of 64 greedy tokens equal") != std::string::npos);
        for (const std::string prompt : {"Once upon a time", "The old tree", "Lily"}) {
            CHECK(says(out, "", prompt) == says(model, adapter, prompt));
        }
        CHECK(says(out, "", "Once upon a time") != says(model, "", "Once upon a time"));
        const auto written = receipt(out);
        CHECK(written.at("prompts").size() == 2);
        for (const auto& prompt : written.at("prompts")) {
            CHECK(prompt.at("max_kl").get<double>() <= 1e-9);
            CHECK(prompt.at("greedy_equal") == 64);
        }
        for (const std::string file : {"tokenizer.json", "tokenizer_config.json", "generation_config.json"}) {
            CHECK(read_text(fs::path(out) / file) == read_text(fs::path(small_model()) / file));
        }
        CHECK(!fs::exists(out + "/adapter_config.json"));
        const auto config = nlohmann::json::parse(read_text(out + "/config.json"));
        CHECK(!config.contains("quantization_config"));
    }
}

TEST_CASE("merge --requantize: NF4 in, NF4 out, loads and speaks; a dense base is refused")
{
    if (!all_ready()) { return; }
    const Place place;
    const auto model = quantized(small_model(), place.temp / "nf4", true).string();
    const auto adapter = trained(place, "adapter", model), out = (place.temp / "merged").string();
    const auto ended = run("merge", {"--model", model, "--adapter", adapter, "--output", out, "--requantize",
                                     "--prompt", "Once upon a time"});
    CHECK(ended.err == "");
    REQUIRE(ended.status == 0);
    CHECK(ended.out.find("is NF4") != std::string::npos);
    CHECK(read_text(out + "/config.json") == read_text(model + "/config.json"));
    CHECK(says(out, "", "Once").size() > 4);
    tell(adapter, "x", "y");  // says nothing of its base any more
    check_refused(run("merge", {"--model", small_model(), "--adapter", adapter, "--output", out + "2", "--requantize"}),
                  {"--requantize", "dense"});
    CHECK(!fs::exists(out + "2"));
}

TEST_CASE("merge --grow-rank and --concat: the same text from an adapter of a larger rank, and from the sum of two")
{
    if (!all_ready()) { return; }
    const Place place;
    const auto one = trained(place, "one", small_model()),
               two = trained(place, "two", small_model(), {"--seed", "7", "--target", "attention"});
    const auto grown = (place.temp / "grown").string(), sum = (place.temp / "sum").string();
    auto ended = run("merge", {"--model", small_model(), "--adapter", one, "--output", grown, "--grow-rank", "16"});
    CHECK(ended.err == "");
    REQUIRE(ended.status == 0);
    CHECK(says(small_model(), grown, "Once upon a time") == says(small_model(), one, "Once upon a time"));
    ended =
        run("merge", {"--model", small_model() + "/config.json", "--adapter", one, "--concat", two, "--output", sum});
    CHECK(ended.err == "");
    REQUIRE(ended.status == 0);
    CHECK(ended.out.find("no value was rounded") != std::string::npos);
    const auto stacked = (place.temp / "stacked").string(), joined_up = (place.temp / "joined").string();
    REQUIRE(run("merge", {"--model", small_model(), "--adapter", one + "," + two, "--output", stacked, "--prompt",
                          "Once upon a time"})
                .out.find("64 of 64")
            != std::string::npos);
    REQUIRE(run("merge", {"--model", small_model(), "--adapter", sum, "--output", joined_up}).status == 0);
    CHECK(says(stacked, "", "Once upon a time") == says(small_model(), sum, "Once upon a time"));
    CHECK(read_text(stacked + "/model.safetensors") == read_text(joined_up + "/model.safetensors"));
    check_refused(run("merge", {"--model", small_model(), "--adapter", one, "--output", sum + "2", "--grow-rank", "4"}),
                  {"cannot grow to 4"});
    CHECK(!fs::exists(sum + "2"));
}

TEST_CASE("merge: another base than the adapter was trained over is refused, the hashes named")
{
    if (!all_ready()) { return; }
    const Place place;
    const auto adapter = trained(place, "adapter", small_model()), out = (place.temp / "merged").string();
    tell(adapter, "x", "y");
    auto ended = run("merge", {"--model", small_model(), "--adapter", adapter, "--output", out});
    REQUIRE(ended.status == 0);
    CHECK(ended.out.find("does not say which base") != std::string::npos);
    const std::string base = receipt(out).at("model_fingerprint");

    tell(adapter, "graft.base", base);
    ended = run("merge", {"--model", small_model(), "--adapter", adapter, "--output", out, "--overwrite"});
    REQUIRE(ended.status == 0);
    CHECK(ended.out.find("does not say") == std::string::npos);

    const auto before = contents(place.temp.path());
    check_refused(run("merge", {"--model", out, "--adapter", adapter, "--output", out + "2"}),
                  {"another base", base.substr(0, 8), "sha256"});
    CHECK(contents(place.temp.path()) == before);
}

TEST_CASE("merge: an adapter over another is refused alone")
{
    if (!all_ready()) { return; }
    const Place place;
    const auto one = trained(place, "one", small_model()), two = trained(place, "two", small_model(), {"--seed", "7"});
    const auto out = (place.temp / "merged").string();
    REQUIRE(run("merge", {"--model", small_model(), "--adapter", one, "--output", out}).status == 0);
    const std::string below = receipt(out).at("adapters")[0].at("fingerprint");
    tell(two, "graft.over", below);
    check_refused(run("merge", {"--model", small_model(), "--adapter", two, "--output", out + "2"}),
                  {"trained over another adapter", below.substr(0, 8), "--adapter"});
    CHECK(!fs::exists(out + "2"));
    CHECK(run("merge", {"--model", small_model(), "--adapter", one + "," + two, "--output", out + "2"}).status == 0);
    check_refused(run("merge", {"--model", small_model(), "--adapter", one + "," + one, "--output", out + "3"}),
                  {"given twice"});
}

TEST_CASE("merge: refusals leave everything as it was")
{
    if (!all_ready()) { return; }
    const Place place;
    const auto adapter = trained(place, "adapter", small_model()), out = (place.temp / "merged").string();
    const auto model = (place.temp / "model").string();
    copy_folder(small_model(), model);
    const Arguments plain{"--model", model, "--adapter", adapter, "--output", out};
    REQUIRE(run("merge", plain).status == 0);
    const auto before = contents(place.temp.path());

    check_refused(run("merge", plain), {"already holds a run", "--overwrite"});
    check_refused(run("merge", {"--model", model, "--adapter", adapter, "--output", model, "--overwrite"}),
                  {"is read by this run"});
    check_refused(run("merge", joined(plain, {"--overwrite", "--dtype", "f16"})), {"--dtype"});
    check_refused(run("merge", joined(plain, {"--overwrite", "--dtype", "f32", "--requantize"})), {"--requantize"});
    check_refused(run("merge", joined(plain, {"--overwrite", "--grow-rank", "8", "--concat", adapter})), {"--concat"});
    check_refused(run("merge", joined(plain, {"--overwrite"}), {.most_file_bytes = 400'000}), {"model.safetensors"});
    CHECK(contents(place.temp.path()) == before);

    auto settings = nlohmann::json::parse(read_text(adapter + "/adapter_config.json"));
    settings["r"] = 8;
    write_text(adapter + "/adapter_config.json", settings.dump());
    check_refused(run("merge", joined(plain, {"--overwrite"})), {"[6, 64]", "expected [8, 64]"});
    settings["modules_to_save"] = {"lm_head"};
    write_text(adapter + "/adapter_config.json", settings.dump());
    CHECK(run("merge", joined(plain, {"--overwrite"})).status == 2);
    CHECK(contents(out) == [&] {
        std::map<std::string, std::string> kept;
        for (const auto& [name, bytes] : before) {
            if (name.starts_with("merged/")) { kept[name.substr(7)] = bytes; }
        }
        return kept;
    }());
}
