#include "finetune_support.hpp"
#include "nf4_checkpoint.hpp"

// finetune --merge-adapter: an adapter becomes part of the base, and a new one is trained over the result.
using namespace graft_test;

namespace {

Arguments run_of(const Place& place, const std::string& out, const std::string& model, const Arguments& more)
{
    return joined({"--model", model, "--data", (place.temp / "rows.jsonl").string(), "--output",
                   (place.temp / out).string(), "--quiet", "--steps", "6", "--lr", "3e-2", "--rank", "4"},
                  more);
}

std::string trained(const Place& place, const std::string& out, const std::string& model, const Arguments& more = {})
{
    const auto ended = run("finetune", run_of(place, out, model, more));
    CHECK(ended.err == "");
    REQUIRE(ended.status == 0);
    return (place.temp / out).string();
}

// The folder as a kill after the step of checkpoint-4 would have left it.
void cut(const fs::path& folder)
{
    for (const char* name : {"adapter_config.json", "adapter_model.safetensors", "report.html"}) {
        fs::remove(folder / name);
    }
    fs::remove_all(folder / "checkpoint-6");
}

}  // namespace

TEST_CASE("finetune --merge-adapter: trains over base + adapter, which stands in OUTPUT/base as a checkpoint")
{
    if (!ready() || !built("merge") || !built("generate")) { return; }
    const Place place;
    const auto first = trained(place, "first", small_model());
    const auto out = trained(place, "second", small_model(), {"--merge-adapter", first, "--no-shuffle"});
    const auto merged = (place.temp / "merged").string();
    REQUIRE(run("merge", {"--model", small_model(), "--adapter", first, "--output", merged}).status == 0);
    CHECK(read_text(out + "/base/model.safetensors") == read_text(merged + "/model.safetensors"));
    CHECK(read_text(out + "/base/config.json") == read_text(merged + "/config.json"));
    const auto config = nlohmann::json::parse(read_text(out + "/adapter_config.json"));
    CHECK(config.at("base_model_name_or_path") == out + "/base");

    // The first loss is that of base and adapter, and the adapter is the one that a run over the merged folder trains.
    const auto continued = trained(place, "continued", small_model(), {"--adapter", first, "--no-shuffle"});
    const auto loss = [](const std::string& folder) {
        return json_lines(folder + "/metrics.jsonl").at(0).at("loss").get<double>();
    };
    CHECK(loss(out) == doctest::Approx(loss(continued)).epsilon(1e-5));
    const auto over = trained(place, "over", merged, {"--no-shuffle"});
    CHECK(read_text(over + "/adapter_model.safetensors") == read_text(out + "/adapter_model.safetensors"));

    const auto ended =
        run("generate", {"--model", out + "/base", "--adapter", out, "--prompt", "Once", "--max-tokens", "8"});
    CHECK(ended.status == 0);
}

TEST_CASE("finetune --merge-adapter over NF4: the merged base is dense, and qlora quantises it again")
{
    if (!ready()) { return; }
    const Place place;
    const auto model = quantized(small_model(), place.temp / "nf4", false).string();
    const auto first = trained(place, "first", model);
    for (const std::string method : {"lora", "qlora"}) {
        const auto ended =
            run("finetune", run_of(place, method, model, {"--merge-adapter", first, "--method", method}));
        CHECK(ended.err == "");
        REQUIRE(ended.status == 0);
        CHECK(ended.out.find("were decoded") != std::string::npos);
        CHECK((ended.out.find("NF4, in blocks") != std::string::npos
               || ended.out.find("attention  NF4") != std::string::npos)
              == (method == "qlora"));
        const auto config = nlohmann::json::parse(read_text(place.temp / (method + "/base/config.json")));
        CHECK(!config.contains("quantization_config"));
        CHECK(config.at("torch_dtype") == "bfloat16");
    }
}

TEST_CASE("finetune --merge-adapter --resume: the same bits, whatever is left of the merged base")
{
    if (!ready()) { return; }
    const Place place;
    const auto first = trained(place, "first", small_model()),
               other = trained(place, "other", small_model(), {"--seed", "9"});
    const Arguments more{"--merge-adapter", first, "--save-every", "2"};
    const fs::path whole = trained(place, "whole", small_model(), more);
    const auto expected = read_text(whole / "adapter_model.safetensors");
    for (const std::string left : {"all of it", "nothing", "no config.json", "half a file", "a partial one"}) {
        CAPTURE(left);
        fs::remove_all(place.temp / "out");
        fs::copy(whole, place.temp / "out", fs::copy_options::recursive);
        const fs::path base = place.temp / "out/base";
        cut(place.temp / "out");
        if (left == "nothing") { fs::remove_all(base); }
        if (left == "no config.json") { fs::remove(base / "config.json"); }
        if (left == "half a file") { fs::resize_file(base / "model.safetensors", 500'000); }
        if (left == "a partial one") { fs::rename(base, place.temp / "out/base.partial-1"); }
        const auto ended = run("finetune", run_of(place, "out", small_model(), joined(more, {"--resume"})));
        CHECK(ended.err == "");
        REQUIRE(ended.status == 0);
        CHECK((ended.out.find("merged by the run that is resumed") != std::string::npos) == (left == "all of it"));
        CHECK(read_text(place.temp / "out/adapter_model.safetensors") == expected);
        CHECK(read_text(base / "model.safetensors") == read_text(whole / "base/model.safetensors"));
        CHECK(!fs::exists(place.temp / "out/base.partial-1"));
    }
    cut(place.temp / "out");
    check_refused(run("finetune",
                      run_of(place, "out", small_model(), {"--merge-adapter", other, "--save-every", "2", "--resume"})),
                  {"other settings", "--merge-adapter was"});
}

TEST_CASE("finetune --merge-adapter: what is refused, and what a failure leaves")
{
    if (!ready()) { return; }
    const Place place;
    const auto first = trained(place, "first", small_model());
    const auto before = contents(place.temp.path());
    const auto refused = [&](const Arguments& more, const std::vector<std::string>& words,
                             const ProcessOptions& options = {}) {
        check_refused(
            run("finetune", run_of(place, "out", small_model(), joined({"--merge-adapter", first}, more)), options),
            words);
        CHECK(contents(place.temp.path()) == before);
    };
    refused({"--adapter", first}, {"--merge-adapter"});
    refused({"--method", "full"}, {"--merge-adapter", "full"});
    refused({}, {"model.safetensors"}, {.most_file_bytes = 500'000});
    refused({"--metrics", (place.temp / "no/such/file").string()}, {"cannot be written"});
    check_refused(run("finetune", run_of(place, "first", small_model(), {"--merge-adapter", first, "--overwrite"})),
                  {"is read by this run"});
    CHECK(run("finetune", run_of(place, "out", small_model(), {"--merge-adapter", first, "--plan"})).status == 0);
    CHECK(contents(place.temp.path()) == before);
}

TEST_CASE("finetune --overwrite: a merged base goes with its run; a folder called base that is none does not")
{
    if (!ready()) { return; }
    const Place place;
    const auto first = trained(place, "first", small_model());
    const fs::path out = trained(place, "out", small_model(), {"--merge-adapter", first});
    check_refused(run("finetune", run_of(place, "out", small_model(), {})), {"already holds a run"});
    trained(place, "out", small_model(), {"--overwrite"});
    CHECK(!fs::exists(out / "base"));

    fs::create_directories(out / "base");
    write_text(out / "base/model.safetensors", "mine");
    check_refused(run("finetune", run_of(place, "out", small_model(), {"--overwrite"})), {"no run made", "base"});
    CHECK(read_text(out / "base/model.safetensors") == "mine");
}
