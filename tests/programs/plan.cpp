#include <doctest/doctest.h>

#include <cstdint>
#include <string>

#include "finetune_support.hpp"

// finetune --plan and --memory-limit: the plan is what the run measures, and a run that does not fit never begins.
using namespace graft_test;

namespace {

// Rows of as many tokens each, every label a target.
std::string full_rows(int rows, int tokens)
{
    std::string text;
    for (int r = 0; r < rows; ++r) {
        nlohmann::json ids = nlohmann::json::array();
        for (int t = 0; t < tokens; ++t) { ids.push_back(1 + (r * 31 + t * 7) % 500); }
        text += nlohmann::json{{"input_ids", ids}, {"labels", ids}}.dump() + "\n";
    }
    return text;
}

// The number that ends the line which begins with a word.
std::int64_t number_after(const std::string& text, const std::string& word)
{
    const auto at = text.find("\n  " + word);
    REQUIRE(at != std::string::npos);
    const auto end = text.find('\n', at + 1);
    std::string line = text.substr(at, end - at), digits;
    for (auto i = line.rbegin(); i != line.rend() && *i != ' '; ++i) {
        if (*i != ',') { digits.insert(digits.begin(), *i); }
    }
    return std::stoll(digits);
}

}  // namespace

TEST_CASE("finetune --plan: the peak is the one that the run measures, to the byte, where rows are full")
{
    if (!ready()) { return; }
    const Place place;
    write_text(place.temp / "rows.jsonl", full_rows(8, 96));
    const std::string below = (place.temp / "below").string();
    REQUIRE(run("finetune", {"--model", small_model(), "--data", (place.temp / "rows.jsonl").string(), "--output",
                             below, "--quiet", "--steps", "1", "--rank", "5"})
                .status
            == 0);
    for (const Arguments& method :
         {Arguments{"--method", "lora"}, Arguments{"--method", "qlora"},
          Arguments{"--method", "qlora", "--double-quant"}, Arguments{"--method", "full"}, Arguments{"--dtype", "bf16"},
          Arguments{"--recompute"}, Arguments{"--modules-to-save", "embed_tokens,lm_head"},
          Arguments{"--train-tokens", "5,9"},
          Arguments{"--untie", "--dropout", "0.1", "--target", "q_proj,embed_tokens,lm_head"},
          Arguments{"--dtype", "bf16", "--modules-to-save", "lm_head,norm", "--untie"},
          Arguments{"--accumulate", "2", "--dropout", "0.1"}, Arguments{"--stack", below},
          Arguments{"--method", "qlora", "--stack", below},
          Arguments{"--dtype", "bf16", "--recompute", "--stack", below}}) {
        CAPTURE(method.back());
        const auto options = joined(method, {"--batch", "4", "--steps", "3", "--overwrite"});
        const auto plan = run("finetune", place.with(joined(options, {"--plan"})));
        CAPTURE(plan.err);
        REQUIRE(plan.status == 0);
        CHECK(plan.out.find("at most") == std::string::npos);
        CHECK(plan.out.find("4 rows of 96 tokens") != std::string::npos);
        const auto ended = run("finetune", place.with(options));
        CAPTURE(ended.err);
        REQUIRE(ended.status == 0);
        const auto metrics = json_lines(place.temp / "out/metrics.jsonl");
        CHECK(number_after(plan.out, "peak") == metrics.back().at("peak_bytes").get<std::int64_t>());
    }
}

TEST_CASE("finetune --plan: a bound for ragged rows; without data for rows of --max-length; nothing is written")
{
    if (!ready()) { return; }
    const Place place;
    const auto plan = run("finetune", place.with({"--plan", "--steps", "3"}));
    REQUIRE(plan.status == 0);
    CHECK(plan.out.find("at most") != std::string::npos);
    CHECK(!fs::exists(place.out()));
    REQUIRE(run("finetune", place.with({"--steps", "3"})).status == 0);
    CHECK(json_lines(place.temp / "out/metrics.jsonl").back().at("peak_bytes").get<std::int64_t>()
          <= number_after(plan.out, "peak"));

    // A config.json alone will do.
    fs::create_directory(place.temp / "alone");
    fs::copy_file(small_model() + "/config.json", place.temp / "alone/config.json");
    const auto alone = run("finetune", {"--plan", "--model", (place.temp / "alone").string(), "--max-length", "128"});
    CAPTURE(alone.err);
    REQUIRE(alone.status == 0);
    CHECK(alone.out.find("4 rows of 128 tokens") != std::string::npos);
    check_refused(run("finetune", {"--model", small_model()}), {"--data is required"});
}

TEST_CASE("finetune --memory-limit refuses before loading and says what would fit")
{
    if (!ready()) { return; }
    const Place place;
    write_text(place.temp / "rows.jsonl", full_rows(8, 256));
    const Arguments options{"--batch", "8"};
    const auto peak = number_after(run("finetune", place.with(joined(options, {"--plan"}))).out, "peak");
    const auto with_limit = [&](std::int64_t bytes, const Arguments& more) {
        return run("finetune", place.with(joined(joined(options, more),
                                                 {"--steps", "1", "--memory-limit", std::to_string(bytes)})));
    };
    const auto refused = with_limit(peak - 1, {});
    check_refused(refused, {"--memory-limit", "the run would take", "what would fit: --recompute", "or --batch 4"});
    CHECK(!fs::exists(place.out()));
    check_refused(with_limit(1000, {}), {"no shorter rows and no smaller batch would fit", "--method qlora"});
    CHECK(with_limit(peak, {}).status == 0);
    check_refused(run("finetune", place.with({"--memory-limit", "much"})), {"--memory-limit"});
    CHECK(run("finetune", place.with({"--plan", "--memory-limit", "1G"})).status == 0);
}
