#include "finetune_support.hpp"

#include <cmath>

// The program finetune, run as it is built: recorded runs replayed, adapters continued, Ctrl-C, kills.
using namespace graft_test;

namespace {

struct Sums {
    double sum = 0, squares = 0;
};
Sums sums(const std::vector<float>& values)
{
    Sums out;
    for (const float v : values) { out.sum += double(v), out.squares += double(v) * double(v); }
    return out;
}

void replay(const std::string& name)
{
    const auto root = data();
    if (!root) { return skip("GRAFT_TEST_DATA is not set"); }
    CAPTURE(name);
    const auto golden = *root / "data/golden_training";
    const auto results = nlohmann::json::parse(read_text(golden / "results.json"));
    const auto batches = nlohmann::json::parse(read_text(golden / "batches.json"));
    const auto& recorded = results.at(name);
    const auto& settings = recorded.at("settings");
    const auto number = [&](const char* key) { return settings.at(key).dump(); };
    const bool full = recorded.at("kind") == "full";

    const TempFolder temp;
    std::string rows;
    for (const auto& batch : batches.at(settings.at("batches").get<std::string>())) {
        for (std::size_t i = 0; i < batch.at("input_ids").size(); ++i) {
            rows += nlohmann::json({{"input_ids", batch["input_ids"][i]},
                                    {"labels", batch.at("labels")[i]},
                                    {"attention_mask", batch.at("attention_mask")[i]}})
                        .dump()
                    + "\n";
        }
    }
    write_text(temp / "rows.jsonl", rows);
    Arguments arguments{"--model",        (*root / "data/models/stories260K").string(),
                        "--data",         (temp / "rows.jsonl").string(),
                        "--output",       (temp / "out").string(),
                        "--batch",        "4",
                        "--accumulate",   number("accum"),
                        "--steps",        number("steps"),
                        "--lr",           number("lr"),
                        "--schedule",     settings.at("schedule").get<std::string>(),
                        "--warmup",       number("warmup"),
                        "--weight-decay", number("weight_decay"),
                        "--clip",         number("clip"),
                        "--no-shuffle",   "--quiet"};
    arguments = joined(arguments, full ? Arguments{"--method", "full"}
                                       : Arguments{"--adapter", (golden / name / "start").string()});
    const auto ended = run("finetune", arguments);
    CAPTURE(ended.err);
    REQUIRE(ended.status == 0);

    const auto metrics = json_lines(temp / "out/metrics.jsonl");
    const auto& steps = recorded.at("steps");
    REQUIRE(metrics.size() == steps.size());
    for (std::size_t k = 0; k < steps.size(); ++k) {
        CAPTURE(k);
        CHECK(metrics[k].at("step") == k);
        CHECK(std::abs(metrics[k].at("loss").get<double>() - steps[k].at("loss").get<double>()) <= 2e-5);
        CHECK(std::abs(metrics[k].at("lr").get<double>() - steps[k].at("lr").get<double>()) <= 1e-12);
        const double norm = steps[k].at("grad_norm");
        CHECK(std::abs(metrics[k].at("grad_norm").get<double>() - norm) <= 1e-4 * norm);
    }

    if (!full) {
        auto found = Tensors::read(temp / "out/adapter_model.safetensors");
        auto expected = Tensors::read(golden / name / "end/adapter_model.safetensors");
        REQUIRE(found.list.size() == expected.list.size());
        for (const auto& tensor : expected.list) {
            CAPTURE(tensor.name);
            CHECK(found.at(tensor.name).shape == tensor.shape);
            const auto a = found.at(tensor.name).values(), b = tensor.values();
            double off = 0;
            for (std::size_t i = 0; i < b.size(); ++i) {
                off = std::max(off, std::abs(double(a.at(i)) - double(b[i])));
            }
            CHECK(off <= 2e-4);
        }
        return;
    }
    auto found = Tensors::read(temp / "out/model.safetensors");
    const auto& expected = recorded.at("final_sum_and_l2_of_each_trained_tensor");
    CHECK(found.list.size() == expected.size());
    for (const auto& [name, want] : expected.items()) {
        const auto& tensor = name;  // clang 14 captures no structured binding
        CAPTURE(tensor);
        const auto values = found.at(tensor).values();
        const Sums got = sums(values);
        CHECK(std::abs(std::sqrt(got.squares) / want[1].get<double>() - 1) <= 2e-4);
        CHECK(std::abs(got.sum - want[0].get<double>()) <= 2e-4 * std::sqrt(double(values.size())));
    }
    // The checkpoint stands alone.
    for (const char* file : {"config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"}) {
        CHECK(fs::exists(temp / "out" / file));
    }
    if (built("generate")) {
        const auto said =
            run("generate", {"--model", (temp / "out").string(), "--prompt", "Once", "--max-tokens", "4"});
        CHECK(said.status == 0);
    }
}

}  // namespace

TEST_CASE("finetune replays golden_training: lora_all_linear")
{
    if (built("finetune")) { replay("lora_all_linear"); }
}
TEST_CASE("finetune replays golden_training: rslora")
{
    if (built("finetune")) { replay("rslora"); }
}
TEST_CASE("finetune replays golden_training: lora_qv_accum4_linear_schedule")
{
    if (built("finetune")) { replay("lora_qv_accum4_linear_schedule"); }
}
TEST_CASE("finetune replays golden_training: full")
{
    if (built("finetune")) { replay("full"); }
}
TEST_CASE("finetune replays golden_training: full_pretraining_text")
{
    if (built("finetune")) { replay("full_pretraining_text"); }
}

TEST_CASE("finetune: without a step the loaded adapter comes back bit for bit, whatever its element type")
{
    if (!ready()) { return; }
    const Place place;
    REQUIRE(run("finetune", place.with({"--steps", "2", "--rank", "3", "--lr", "0.01"})).status == 0);
    copy_folder(place.out(), place.temp / "start");
    fs::remove(place.temp / "start/run.json");  // these tensors are not those of its run
    const auto trained = Tensors::read(place.temp / "start/adapter_model.safetensors");
    for (const char* dtype : {"F32", "BF16", "F16", "F64"}) {
        CAPTURE(dtype);
        auto start = trained;
        const std::size_t width = std::string(dtype) == "F64" ? 8 : std::string(dtype) == "F32" ? 4 : 2;
        for (auto& tensor : start.list) {
            if (tensor.dtype == dtype) { continue; }
            // The upper half of f32 is bf16; as f16 the same bits are other numbers, which does as well.
            std::string bytes;
            for (const float value : tensor.values()) {
                char part[8];
                if (width == 8) {
                    const double wide = value;
                    std::memcpy(part, &wide, 8);
                } else {
                    std::uint32_t bits = 0;
                    std::memcpy(&bits, &value, 4);
                    const std::uint16_t half = std::uint16_t(bits >> 16);
                    std::memcpy(part, &half, 2);
                }
                bytes.append(part, width);
            }
            tensor.dtype = dtype, tensor.bytes = bytes;
        }
        start.write(place.temp / "start/adapter_model.safetensors");
        const auto ended =
            run("finetune", place.with({"--adapter", (place.temp / "start").string(), "--steps", "0", "--overwrite"}));
        CAPTURE(ended.err);
        REQUIRE(ended.status == 0);
        CHECK(Tensors::read(place.temp / "out/adapter_model.safetensors").bytes() == start.bytes());
        CHECK(read_text(place.temp / "out/metrics.jsonl") == "");
    }
}

TEST_CASE("finetune: --steps 0 with --method full writes the weights unchanged")
{
    if (!ready()) { return; }
    const Place place;
    const auto ended = run("finetune", place.with({"--method", "full", "--steps", "0"}));
    CAPTURE(ended.err);
    REQUIRE(ended.status == 0);
    CHECK(Tensors::read(place.temp / "out/model.safetensors").bytes()
          == Tensors::read(small_model() + "/model.safetensors").bytes());
}

TEST_CASE("finetune: an adapter is continued, not begun again; threads change no bit; the base stays as it is")
{
    if (!ready()) { return; }
    const Place place;
    const auto before = contents(small_model());
    const Arguments settings{"--no-shuffle", "--batch", "3", "--lr", "0.001", "--schedule", "constant"};
    const auto train = [&](const Arguments& more) {
        const auto ended = run("finetune", place.with(joined(joined(settings, more), {"--overwrite"})));
        CAPTURE(ended.err);
        REQUIRE(ended.status == 0);
        return json_lines(place.temp / "out/metrics.jsonl");
    };
    const auto four = train({"--steps", "4"});
    train({"--steps", "3", "--threads", "1"});
    const auto first = Tensors::read(place.temp / "out/adapter_model.safetensors").bytes();
    train({"--steps", "3", "--threads", "2"});
    CHECK(Tensors::read(place.temp / "out/adapter_model.safetensors").bytes() == first);

    copy_folder(place.out(), place.temp / "start");
    const auto more = train({"--steps", "1", "--adapter", (place.temp / "start").string()});
    CHECK(more.at(0).at("loss") == four.at(3).at("loss"));
    CHECK(more.at(0).at("grad_norm") == four.at(3).at("grad_norm"));
    CHECK(four.at(3).at("loss") < four.at(0).at("loss"));
    CHECK(contents(small_model()) == before);
    CHECK(!fs::exists(place.out() + ".previous"));
}

TEST_CASE("finetune: Ctrl-C ends the run after the step and saves")
{
    if (!ready()) { return; }
    for (const int number : {SIGINT, SIGTERM}) {
        const Place place;
        Process process("finetune", place.with({"--steps", "100000000", "--lr", "0.0001"}));
        while (process.running() && read_text(place.temp / "out/metrics.jsonl").size() < 400) {
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
        process.signal(number);
        const auto ended = process.wait();
        CAPTURE(ended.err);
        CHECK(ended.status == 0);
        CHECK(ended.err == "");
        CHECK(ended.out.find("saved") != std::string::npos);
        const auto metrics = json_lines(place.temp / "out/metrics.jsonl");
        CHECK(metrics.size() >= 2);
        CHECK(metrics.back().at("step") == metrics.size() - 1);
        for (const char* file : {"adapter_config.json", "adapter_model.safetensors", "report.html"}) {
            CHECK(fs::exists(place.temp / "out" / file));
        }
        CHECK(
            run("generate", {"--model", small_model(), "--adapter", place.out(), "--prompt", "a", "--max-tokens", "2"})
                .status
            == 0);
    }
}

TEST_CASE("finetune: a run killed at any instant leaves the old result or the new one, never a mixture")
{
    if (!ready()) { return; }
    const Place place;
    const Arguments old_run = {"--steps", "1", "--rank", "2", "--lr", "0.01"},
                    new_run = {"--steps", "4", "--rank", "3", "--lr", "0.01", "--overwrite"};
    const auto result = [](const fs::path& folder) {
        auto files = contents(folder);
        for (const char* varies : {"metrics.jsonl", "report.html", ".superseded"}) { files.erase(varies); }
        return files;
    };
    REQUIRE(run("finetune", place.with(new_run)).status == 0);
    const auto fresh = result(place.out());
    const auto began = std::chrono::steady_clock::now();
    REQUIRE(run("finetune", place.with(new_run)).status == 0);
    const auto whole = std::chrono::steady_clock::now() - began;
    fs::remove_all(place.out());
    REQUIRE(run("finetune", place.with(old_run)).status == 0);
    copy_folder(place.out(), place.temp / "kept");
    const auto old = result(place.out());
    CHECK(old != fresh);

    int killed = 0, kept_old = 0, has_new = 0;
    constexpr int tries = 20;
    for (int i = 0; i < tries; ++i) {
        CAPTURE(i);
        fs::remove_all(place.out());
        fs::remove_all(place.out() + ".previous");
        copy_folder(place.temp / "kept", place.out());
        {
            Process process("finetune", place.with(new_run));
            std::this_thread::sleep_for(whole * i * 3 / (2 * tries));
            process.signal(SIGKILL);
            killed += process.wait().status == -SIGKILL;
        }
        bool any = false;
        for (const std::string& name : {place.out(), place.out() + ".previous"}) {
            const fs::path folder = name;
            if (!fs::exists(folder / "adapter_config.json")) { continue; }
            const auto here = result(folder);
            const bool is_old = here == old, is_new = here == fresh;
            CHECK((is_old || is_new));
            any = true;
            kept_old += is_old, has_new += is_new;
        }
        CHECK(any);
        // The next run finds its way.
        if (i % 6 == 0) {
            const auto ended = run("finetune", place.with(new_run));
            CAPTURE(ended.err);
            CHECK(ended.status == 0);
            CHECK(result(place.out()) == fresh);
            CHECK(!fs::exists(place.out() + ".previous"));
        }
    }
    CHECK(killed > 0);
    CHECK(kept_old > 0);
    MESSAGE("killed " << killed << " of " << tries << ": the old result was found " << kept_old
                      << " times, the new one " << has_new << " times");
}
