#include "finetune_support.hpp"

#include <cmath>

// finetune --task dpo: recorded runs of others replayed, a recipe that learns, references, resuming, refusals.
using namespace graft_test;

namespace {

std::optional<fs::path> reference_data()
{
    const auto root = data();
    if (!root) { skip("GRAFT_TEST_DATA is not set"); }
    return root;
}

double number(const nlohmann::json& line, const char* key) { return line.at(key).get<double>(); }

double mean(const nlohmann::json& values)
{
    double sum = 0;
    for (const auto& value : values) { sum += value.get<double>(); }
    return sum / double(values.size());
}

// Six short stories with a better and a worse end.
const char* const story_pairs = R"({"prompt": "Once upon a time, there was a little dog named Max.", )"
                                R"("chosen": " He was happy.", "rejected": " No."}
{"prompt": "Lily saw a big red ball. She wanted to", "chosen": " play with it.", "rejected": " eat the moon."}
{"prompt": "The cat", "chosen": " sat on the mat. It was happy.", "rejected": " sat on the mat. It was sad."}
{"prompt": "Tom said: \"I am sorry.\" His mom", "chosen": " smiled and gave him a hug.", "rejected": " ran away"}
{"prompt": "One day, a bird", "chosen": " was happy.", "rejected": " was sad."}
{"prompt": "Sue and Ben went to the park.", "chosen": " They were happy.", "rejected": " They were sad."}
)";

struct Pairs : Place {
    Pairs() { write_text(temp / "rows.jsonl", story_pairs); }
    Arguments dpo(const Arguments& more = {}) const { return with(joined({"--task", "dpo"}, more)); }
};

// A run over the recorded text pairs of TRL, from the adapter `from`.
std::vector<nlohmann::json> trl_run(const fs::path& root, const nlohmann::json& golden, const std::string& from,
                                    const std::string& reference, std::size_t steps, const Arguments& more)
{
    const TempFolder temp;
    std::string rows;
    for (const auto& row : golden.at("main").at("rows")) { rows += row.dump() + "\n"; }
    write_text(temp / "rows.jsonl", rows);
    const auto ended =
        run("finetune", joined({"--model",        (root / "data/models/stories260K").string(),
                                "--data",         (temp / "rows.jsonl").string(),
                                "--output",       (temp / "out").string(),
                                "--task",         "dpo",
                                "--adapter",      (root / "data/golden_training/dpo_lora" / from).string(),
                                "--reference",    reference,
                                "--batch",        "2",
                                "--steps",        std::to_string(steps),
                                "--lr",           "0.002",
                                "--weight-decay", "0.01",
                                "--no-shuffle",   "--quiet"},
                               more));
    CAPTURE(ended.err);
    REQUIRE(ended.status == 0);
    return json_lines(temp / "out/metrics.jsonl");
}

void check_steps(const std::vector<nlohmann::json>& found, const nlohmann::json& losses, const nlohmann::json& norms)
{
    REQUIRE(found.size() == losses.size());
    for (std::size_t k = 0; k < found.size(); ++k) {
        CAPTURE(k);
        const double loss = losses[k], norm = norms[k];
        CHECK(std::abs(number(found[k], "loss") - loss) <= 3e-5 * std::max(1.0, loss));
        CHECK(std::abs(number(found[k], "grad_norm") - norm) <= 1e-4 * norm);
    }
}

}  // namespace

TEST_CASE("finetune replays golden_training: dpo_lora")
{
    const auto root = reference_data();
    if (!root || !built("finetune")) { return; }
    const auto golden = *root / "data/golden_training";
    const auto recorded = nlohmann::json::parse(read_text(golden / "results.json")).at("dpo_lora");
    const auto batches = nlohmann::json::parse(read_text(golden / "batches.json")).at("dpo");
    const TempFolder temp;
    std::string rows;
    for (const auto& batch : batches) {
        // Without padding, cut where the labels begin.
        const auto side = [&](std::size_t row, bool answer) {
            std::vector<int> out;
            for (std::size_t t = 0; t < batch["input_ids"][row].size(); ++t) {
                const bool real = batch["attention_mask"][row][t] == 1, learnt = batch["labels"][row][t] != -100;
                if (real && learnt == answer) { out.push_back(batch["input_ids"][row][t]); }
            }
            return out;
        };
        for (const std::size_t i : {0, 1}) {
            REQUIRE(side(i, false) == side(i + 2, false));
            rows += nlohmann::json({{"prompt_ids", side(i, false)},
                                    {"chosen_ids", side(i, true)},
                                    {"rejected_ids", side(i + 2, true)}})
                        .dump()
                    + "\n";
        }
    }
    write_text(temp / "rows.jsonl", rows);
    for (const Arguments& more : {Arguments{"--reference", "adapter-off"},
                                  {"--reference", "start"},
                                  {"--recompute", "--reference", (golden / "dpo_lora/start").string()},
                                  {"--share-prompt", "--reference", "start"},
                                  {"--share-prompt", "--recompute", "--reference", "adapter-off"}}) {
        const auto ended = run("finetune", joined({"--model",
                                                   (*root / "data/models/stories260K").string(),
                                                   "--data",
                                                   (temp / "rows.jsonl").string(),
                                                   "--output",
                                                   (temp / "out").string(),
                                                   "--overwrite",
                                                   "--task",
                                                   "dpo",
                                                   "--beta",
                                                   "0.1",
                                                   "--adapter",
                                                   (golden / "dpo_lora/start").string(),
                                                   "--batch",
                                                   "2",
                                                   "--steps",
                                                   "12",
                                                   "--lr",
                                                   "0.0002",
                                                   "--weight-decay",
                                                   "0.01",
                                                   "--no-shuffle",
                                                   "--quiet"},
                                                  more));
        CAPTURE(ended.err);
        REQUIRE(ended.status == 0);
        const auto found = json_lines(temp / "out/metrics.jsonl");
        const auto& steps = recorded.at("steps");
        REQUIRE(found.size() == steps.size());
        for (std::size_t k = 0; k < steps.size(); ++k) {
            CAPTURE(k);
            const double norm = number(steps[k], "grad_norm");
            CHECK(std::abs(number(found[k], "loss") - number(steps[k], "loss")) <= 3e-5);
            CHECK(std::abs(number(found[k], "grad_norm") - norm) <= 1e-4 * norm);
            CHECK(std::abs(number(found[k], "logps_chosen") - mean(steps[k].at("chosen_logp"))) <= 1e-3);
            CHECK(std::abs(number(found[k], "logps_rejected") - mean(steps[k].at("rejected_logp"))) <= 1e-3);
            CHECK(std::abs(number(found[k], "margin") - number(steps[k], "reward_margin")) <= 1e-4);
            // Where policy and reference are equal, rounding decides which reward is higher.
            if (k > 0) { CHECK(number(found[k], "accuracy") == number(steps[k], "accuracy")); }
        }
        auto saved = Tensors::read(temp / "out/adapter_model.safetensors");
        for (const auto& tensor : Tensors::read(golden / "dpo_lora/end/adapter_model.safetensors").list) {
            const auto a = saved.at(tensor.name).values(), b = tensor.values();
            double off = 0;
            for (std::size_t i = 0; i < b.size(); ++i) {
                off = std::max(off, std::abs(double(a.at(i)) - double(b[i])));
            }
            CHECK(off <= 1e-5);
        }
    }
}

TEST_CASE("finetune replays TRL's DPO trainer: main, continue_adapter, and its losses")
{
    const auto root = reference_data();
    if (!root || !built("finetune")) { return; }
    const auto golden = nlohmann::json::parse(read_text(*root / "golden_text/dpo_trl.json"));

    const auto& steps = golden.at("main").at("steps");
    const auto found = trl_run(*root, golden, "start", "adapter-off", steps.size(), {});
    REQUIRE(found.size() == steps.size());
    for (std::size_t k = 0; k < steps.size(); ++k) {
        CAPTURE(k);
        const auto& logged = steps[k].at("logged");
        CHECK(std::abs(number(found[k], "loss") - number(steps[k], "loss")) <= 3e-5);
        CHECK(std::abs(number(found[k], "grad_norm") / number(logged, "grad_norm") - 1) <= 1e-4);
        CHECK(std::abs(number(found[k], "lr") - number(logged, "learning_rate")) <= 1e-12);
        CHECK(std::abs(number(found[k], "rewards_chosen") - number(logged, "rewards/chosen")) <= 3e-5);
        CHECK(std::abs(number(found[k], "rewards_rejected") - number(logged, "rewards/rejected")) <= 3e-5);
        CHECK(std::abs(number(found[k], "margin") - number(logged, "rewards/margins")) <= 3e-5);
        if (k > 0) { CHECK(number(found[k], "accuracy") == number(logged, "rewards/accuracies")); }
        CHECK(std::abs(number(found[k], "logps_chosen") - number(logged, "logps/chosen")) <= 1e-3);
        CHECK(std::abs(number(found[k], "logps_rejected") - number(logged, "logps/rejected")) <= 1e-3);
        CHECK(number(found[k], "tokens") == number(logged, "num_tokens"));
    }

    const auto& going_on = golden.at("continue_adapter");
    check_steps(trl_run(*root, golden, "end", "start", 3, {}), going_on.at("losses"), going_on.at("grad_norms"));

    const std::pair<const char*, Arguments> kinds[] = {{"sigmoid", {}},
                                                       {"sigmoid beta 0.5", {"--beta", "0.5"}},
                                                       {"hinge", {"--loss", "hinge"}},
                                                       {"ipo", {"--loss", "ipo"}}};
    for (const auto& kind : kinds) {
        CAPTURE(kind.first);
        const auto& recorded = golden.at("loss_types").at(kind.first);
        check_steps(trl_run(*root, golden, "start", "adapter-off", 3, kind.second), recorded.at("losses"),
                    recorded.at("grad_norms"));
    }
}

TEST_CASE("finetune --task dpo learns which answers are better, whatever is trained")
{
    if (!ready()) { return; }
    for (const Arguments& method :
         {Arguments{"--lr", "0.005"},
          {"--lr", "0.005", "--method", "qlora"},
          {"--lr", "0.0005", "--method", "full"},
          {"--lr", "0.005", "--loss", "ipo", "--beta", "0.3"},
          {"--lr", "0.005", "--train-tokens", "403,261", "--embedding-lr", "0.01"},
          {"--lr", "0.005", "--target", "all-linear,embed_tokens,lm_head", "--untie", "--share-prompt"},
          {"--lr", "0.005", "--dtype", "bf16", "--recompute"}}) {
        const Pairs place;
        const std::string rows = (place.temp / "rows.jsonl").string();
        const auto ended = run("finetune", place.dpo(joined({"--batch", "3", "--accumulate", "2", "--epochs", "12",
                                                             "--schedule", "constant", "--eval", rows},
                                                            method)));
        CAPTURE(ended.err);
        REQUIRE(ended.status == 0);
        const auto found = json_lines(place.temp / "out/metrics.jsonl");
        REQUIRE(found.size() == 12);
        const auto &first = found.front(), &last = found.back();
        CHECK(number(first, "accuracy") <= 0.5);
        CHECK(std::abs(number(first, "margin")) < 0.05);
        CHECK(number(last, "accuracy") == 1);
        CHECK(number(last, "loss") < 0.6 * number(first, "loss"));
        CHECK(number(last, "eval_loss") < 0.6 * number(first, "loss"));
        CHECK(std::abs(number(last, "margin") - number(last, "rewards_chosen") + number(last, "rewards_rejected"))
              < 1e-9);
        CHECK(read_text(place.temp / "out/report.html").find("Rewards by step") != std::string::npos);
    }
}

TEST_CASE("finetune --task dpo: what it prints")
{
    if (!ready()) { return; }
    const Pairs place;
    auto arguments = place.dpo({"--steps", "2"});
    std::erase(arguments, "--quiet");
    const auto ended = run("finetune", arguments);
    REQUIRE(ended.status == 0);
    CAPTURE(ended.out);
    for (const char* words : {"6 rows of preference pairs (text), 6 used, 0 dropped", "nothing is cut",
                              "the end of turn </s> is a target in 6 of 6 pairs, in both answers",
                              "reference: the model without the adapter, measured over 6 pairs", "accuracy 0."}) {
        CAPTURE(words);
        CHECK(ended.out.find(words) != std::string::npos);
    }
    const auto plan = run("finetune", place.dpo({"--plan"}));
    CAPTURE(plan.err);
    CHECK(plan.status == 0);
    CHECK(plan.out.find("pairs of two answers of") != std::string::npos);
    CHECK(plan.out.find("at most") != std::string::npos);
}

TEST_CASE("finetune --task dpo: the memory plan is a bound")
{
    if (!ready()) { return; }
    const Pairs place;
    for (const Arguments& more : {Arguments{}, {"--method", "full"}, {"--recompute"}, {"--share-prompt"}}) {
        const auto plan = run("finetune", place.dpo(joined({"--plan"}, more)));
        REQUIRE(plan.status == 0);
        const auto at = plan.out.find("peak, in");
        REQUIRE(at != std::string::npos);
        std::string digits;
        for (auto i = plan.out.find('\n', at); plan.out[--i] != ' ';) {
            if (plan.out[i] != ',') { digits.insert(0, 1, plan.out[i]); }
        }
        const auto ended = run("finetune", place.dpo(joined({"--steps", "2"}, more)));
        REQUIRE(ended.status == 0);
        const auto peak = number(json_lines(place.temp / "out/metrics.jsonl").back(), "peak_bytes");
        CHECK(peak <= std::stod(digits));
        CHECK(peak > 0.4 * std::stod(digits));
        fs::remove_all(place.temp / "out");
    }
}

TEST_CASE("finetune --task dpo: a resumed run is the run that was never cut, to the bit")
{
    if (!ready()) { return; }
    const Pairs place;
    // An adapter to start from, whose values are not the resumed ones.
    REQUIRE(run("finetune", place.dpo({"--steps", "2", "--rank", "4"})).status == 0);
    const std::string adapter = (place.temp / "sft").string();
    fs::rename(place.temp / "out", adapter);
    for (const Arguments& more : {Arguments{"--reference", "start", "--adapter", adapter},
                                  {"--reference", "adapter-off", "--adapter", adapter},
                                  {"--reference", adapter},
                                  {"--method", "full"},
                                  {"--loss", "hinge", "--share-prompt"}}) {
        const auto to = [&](const char* name, const Arguments& also) {
            auto arguments = place.dpo(joined(
                joined({"--batch", "2", "--epochs", "2", "--lr", "0.01", "--save-every", "1", "--keep", "99"}, more),
                also));
            *(std::find(arguments.begin(), arguments.end(), "--output") + 1) = (place.temp / name).string();
            return run("finetune", arguments);
        };
        REQUIRE(to("whole", {"--overwrite"}).status == 0);
        for (const char* step : {"1", "4"}) {
            fs::remove_all(place.temp / "cut");
            fs::create_directories(place.temp / "cut");
            const std::string checkpoint = std::string("checkpoint-") + step;
            fs::copy(place.temp / "whole" / checkpoint, place.temp / "cut" / checkpoint);
            const auto resumed = to("cut", {"--resume"});
            CAPTURE(resumed.err);
            REQUIRE(resumed.status == 0);
            const char* file = more[0] == "--method" ? "model.safetensors" : "adapter_model.safetensors";
            CHECK((read_text(place.temp / "whole" / file) == read_text(place.temp / "cut" / file)));
            const auto a = json_lines(place.temp / "whole/metrics.jsonl"),
                       b = json_lines(place.temp / "cut/metrics.jsonl");
            REQUIRE(a.size() == b.size());
            for (std::size_t k = 0; k < a.size(); ++k) {
                for (const char* key : {"loss", "grad_norm", "margin", "rewards_chosen", "logps_rejected"}) {
                    CHECK(a[k].at(key) == b[k].at(key));
                }
            }
        }
        fs::remove_all(place.temp / "cut");
        fs::create_directories(place.temp / "cut");
        fs::copy(place.temp / "whole/checkpoint-1", place.temp / "cut/checkpoint-1");
        check_refused(to("cut", {"--resume", "--beta", "0.2"}), {"beta", "0.1", "0.2"});
    }
}

TEST_CASE("finetune --task dpo: six pairs at once, two by two or one by one are the same step")
{
    if (!ready()) { return; }
    const Pairs place;
    std::vector<nlohmann::json> first;
    for (const char* pairs : {"6", "2", "1"}) {
        const auto ended =
            run("finetune", place.dpo({"--steps", "2", "--batch", pairs, "--accumulate",
                                       std::to_string(6 / std::stoi(pairs)), "--lr", "0.003", "--overwrite"}));
        REQUIRE(ended.status == 0);
        const auto found = json_lines(place.temp / "out/metrics.jsonl");
        if (first.empty()) { first = found; }
        for (std::size_t k = 0; k < 2; ++k) {
            CHECK(found[k].at("tokens") == first[k].at("tokens"));
            for (const char* key : {"loss", "grad_norm", "margin", "logps_chosen"}) {
                CHECK(std::abs(number(found[k], key) - number(first[k], key))
                      <= 2e-5 * (1 + std::abs(number(first[k], key))));
            }
        }
    }
}

TEST_CASE("finetune --task dpo --share-prompt is the run without it, within rounding")
{
    if (!ready()) { return; }
    const Pairs place;
    const Arguments arguments =
        place.dpo({"--steps", "6", "--batch", "3", "--accumulate", "2", "--lr", "0.003", "--overwrite"});
    REQUIRE(run("finetune", arguments).status == 0);
    const auto apart = json_lines(place.temp / "out/metrics.jsonl");
    REQUIRE(run("finetune", joined(arguments, {"--share-prompt"})).status == 0);
    const auto together = json_lines(place.temp / "out/metrics.jsonl");
    for (std::size_t k = 0; k < 6; ++k) {
        CAPTURE(k);
        for (const char* key : {"loss", "grad_norm", "margin", "rewards_chosen", "logps_chosen", "logps_rejected"}) {
            CHECK(std::abs(number(apart[k], key) - number(together[k], key))
                  <= 2e-5 * (1 + std::abs(number(apart[k], key))));
        }
    }
    CHECK(number(together.back(), "peak_bytes") < number(apart.back(), "peak_bytes"));
}

TEST_CASE("finetune --task dpo: a checkpoint as the reference")
{
    if (!ready()) { return; }
    const Pairs place;
    REQUIRE(run("finetune", place.dpo({"--steps", "3", "--batch", "6"})).status == 0);
    const auto own = json_lines(place.temp / "out/metrics.jsonl");
    const auto ended =
        run("finetune", place.dpo({"--steps", "3", "--batch", "6", "--reference", small_model(), "--overwrite"}));
    CAPTURE(ended.err);
    REQUIRE(ended.status == 0);
    const auto other = json_lines(place.temp / "out/metrics.jsonl");
    for (std::size_t k = 0; k < 3; ++k) { CHECK(own[k].at("loss") == other[k].at("loss")); }
}

TEST_CASE("finetune --task dpo: what it refuses")
{
    if (!ready()) { return; }
    const Pairs place;
    REQUIRE(run("finetune", place.dpo({"--steps", "0"})).status == 0);
    const std::string adapter = (place.temp / "old").string();
    fs::rename(place.temp / "out", adapter);
    // The reference of a continued adapter is a choice.
    check_refused(run("finetune", place.dpo({"--adapter", adapter})), {"--reference start", "--reference adapter-off"});
    check_refused(run("finetune", place.dpo({"--reference", "nowhere"})), {"nowhere", "adapter-off, start, or a"});
    check_refused(run("finetune", place.dpo({"--method", "full", "--reference", "adapter-off"})), {"start"});
    check_refused(run("finetune", place.dpo({"--loss", "ipo", "--label-smoothing", "0.1"})), {"label smoothing"});
    check_refused(run("finetune", place.dpo({"--label-smoothing", "0.5"})), {"below 0.5"});
    check_refused(run("finetune", place.dpo({"--beta", "0"})), {"beta"});
    check_refused(run("finetune", place.dpo({"--dropout", "0.1"})), {"--dropout"});
    check_refused(run("finetune", place.dpo({"--train-on", "all"})), {"--train-on"});
    check_refused(run("finetune", place.with({"--beta", "0.2"})), {"--beta", "--task dpo"});
    check_refused(run("finetune", place.with({"--truncate"})), {"--truncate", "--task dpo"});
    check_refused(run("finetune", place.with({})), {"preference pairs", "--task dpo"});
    check_refused(run("finetune", place.dpo({"--max-length", "20"})),
                  {"rows.jsonl:1", "tokens, --max-length is 20", "--truncate"});
    check_refused(run("finetune", place.dpo({"--max-prompt-length", "12"})), {"--max-prompt-length is 12"});
    CHECK(run("finetune", place.dpo({"--max-length", "20", "--truncate", "--steps", "1"})).status == 0);
    write_text(place.temp / "rows.jsonl", few_rows);
    check_refused(run("finetune", place.dpo({"--overwrite"})), {"rows.jsonl:1", "chosen and rejected"});
}
