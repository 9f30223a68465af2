#include "finetune_support.hpp"

#include <cmath>

// golden/training/lora through the program: the micro-batches as recorded, padded rows and all.
using namespace graft_test;

TEST_CASE("finetune replays golden/training: lora")
{
    if (!built("finetune")) { return; }
    const auto root = data();
    if (!root) { return skip("GRAFT_TEST_DATA is not set"); }
    const auto golden = *root / "golden/training";
    const auto recorded = nlohmann::json::parse(read_text(golden / "lora/results.json"));
    const auto& settings = recorded.at("settings");
    const auto number = [&](const char* key) { return settings.at(key).dump(); };

    const Place place;
    std::string rows;
    int count = 0;
    for (const auto& batch : nlohmann::json::parse(read_text(golden / "batches.json"))) {
        REQUIRE(batch.at("input_ids").size() == 2);
        for (std::size_t i = 0; i < 2; ++i, ++count) {
            rows += nlohmann::json({{"input_ids", batch["input_ids"][i]},
                                    {"labels", batch.at("labels")[i]},
                                    {"attention_mask", batch.at("attention_mask")[i]}})
                        .dump()
                    + "\n";
        }
    }
    REQUIRE(count == 48);
    write_text(place.temp / "rows.jsonl", rows);
    const auto model = golden / settings.at("base").get<std::string>();
    const auto ended = run(
        "finetune", place.with({"--adapter", (golden / "lora/start").string(), "--batch", "2", "--accumulate",
                                number("accumulation"), "--steps", number("steps"), "--lr", number("lr"), "--schedule",
                                settings.at("schedule").get<std::string>(), "--warmup", number("warmup_steps"),
                                "--weight-decay", number("weight_decay"), "--clip", number("clip"), "--no-shuffle"},
                               model.string()));
    CAPTURE(ended.err);
    REQUIRE(ended.status == 0);

    const auto metrics = json_lines(place.temp / "out/metrics.jsonl");
    const auto& steps = recorded.at("steps");
    REQUIRE(metrics.size() == steps.size());
    for (std::size_t k = 0; k < steps.size(); ++k) {
        CAPTURE(k);
        CHECK(metrics[k].at("targets") == steps[k].at("targets"));
        CHECK(std::abs(metrics[k].at("loss").get<double>() - steps[k].at("loss").get<double>()) <= 1e-5);
        const double norm = steps[k].at("grad_norm");
        CHECK(std::abs(metrics[k].at("grad_norm").get<double>() - norm) <= 5e-5 * norm);
        CHECK(std::abs(metrics[k].at("lr").get<double>() - steps[k].at("lr")[0].get<double>()) <= 1e-15);
    }

    const auto end = Tensors::read(golden / "lora/end.safetensors");
    auto found = Tensors::read(place.temp / "out/adapter_model.safetensors");
    CHECK(found.list.size() == end.list.size());
    for (const auto& tensor : end.list) {
        CAPTURE(tensor.name);
        REQUIRE(tensor.dtype == "F64");
        std::vector<double> want(tensor.bytes.size() / sizeof(double));
        std::memcpy(want.data(), tensor.bytes.data(), tensor.bytes.size());
        CHECK(found.at(tensor.name).shape == tensor.shape);
        const auto values = found.at(tensor.name).values();
        REQUIRE(values.size() == want.size());
        double off = 0;
        for (std::size_t i = 0; i < want.size(); ++i) {
            const double here = std::abs(double(values[i]) - want[i]);
            off = here <= off ? off : here;
        }
        CAPTURE(off);
        CHECK(off <= 5e-5);
    }
}
