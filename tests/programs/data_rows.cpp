#include "finetune_support.hpp"

#include <numeric>
#include <set>

// Every row counts: which rows a run has seen, told from the outside, by its result and by its metrics.
using namespace graft_test;

namespace {

// Row k has 2^k targets, so that the targets of a step say which rows were in it, and 2^k + 3 + k tokens.
struct Rows {
    std::vector<std::string> lines;

    explicit Rows(int count)
    {
        for (int k = 0; k < count; ++k) { lines.push_back(text(k, 0)); }
    }
    static std::string text(int k, int change)
    {
        const int targets = 1 << k, tokens = targets + 3 + k;
        nlohmann::json ids = nlohmann::json::array(), labels = nlohmann::json::array();
        for (int t = 0; t < tokens; ++t) {
            ids.push_back(t == 0 ? 1 : 259 + (t * t * 5 + t * 17 + k * 41 + (t == tokens - 1 ? change : 0)) % 250);
            labels.push_back(t >= tokens - targets ? ids.back().get<int>() : -100);
        }
        return nlohmann::json({{"input_ids", ids}, {"labels", labels}}).dump() + "\n";
    }
    std::string all() const { return std::accumulate(lines.begin(), lines.end(), std::string()); }
};

struct Plan {
    const char* batch;
    const char* accumulate;
    bool shuffle;
    std::vector<int> steps;  // rows in each step of an epoch
};

}  // namespace

TEST_CASE("finetune: changing any row of the data changes the adapter; each row is in each epoch once")
{
    if (!ready()) { return; }
    constexpr int count = 7;
    for (const Plan& plan :
         {Plan{"3", "1", true, {3, 3, 1}}, Plan{"2", "2", true, {4, 3}}, Plan{"3", "2", false, {6, 1}},
          Plan{"100", "1", true, {7}}, Plan{"1", "5", true, {5, 2}}}) {
        const std::string name = std::string(plan.batch) + " x " + plan.accumulate;
        CAPTURE(name);
        const Place place;
        Arguments settings{"--batch", plan.batch, "--accumulate", plan.accumulate, "--epochs", "2",          "--rank",
                           "2",       "--lr",     "0.01",         "--schedule",    "constant", "--overwrite"};
        if (!plan.shuffle) { settings.push_back("--no-shuffle"); }
        const auto train = [&](const Rows& rows) {
            write_text(place.temp / "rows.jsonl", rows.all());
            const auto ended = run("finetune", place.with(settings));
            CAPTURE(ended.err);
            REQUIRE(ended.status == 0);
            return read_text(place.temp / "out/adapter_model.safetensors");
        };
        Rows rows(count);
        const auto unchanged = train(rows);
        const auto steps = json_lines(place.temp / "out/metrics.jsonl");
        CHECK(train(rows) == unchanged);  // so that a difference means something

        REQUIRE(steps.size() == 2 * plan.steps.size());
        std::int64_t tokens_of_all = 0, tokens = 0;
        for (int k = 0; k < count; ++k) { tokens_of_all += (1 << k) + 3 + k; }
        for (std::size_t epoch = 0; epoch < 2; ++epoch) {
            CAPTURE(epoch);
            std::int64_t seen = 0;
            for (std::size_t s = 0; s < plan.steps.size(); ++s) {
                const auto& step = steps[epoch * plan.steps.size() + s];
                const std::int64_t targets = step.at("targets");
                std::int64_t rows_here = 0, expected = 0;
                for (int k = 0; k < count; ++k) {
                    if ((targets >> k & 1) != 0) { ++rows_here, expected += (1 << k) + 3 + k; }
                }
                CHECK(rows_here == plan.steps[s]);
                CHECK((seen & targets) == 0);  // no row twice
                seen |= targets;
                CHECK(step.at("tokens").get<std::int64_t>() - tokens == expected);
                tokens = step["tokens"];
            }
            CHECK(seen == (1 << count) - 1);  // and none left out
        }
        CHECK(tokens == 2 * tokens_of_all);

        std::set<std::string> results{unchanged};
        for (int k = 0; k < count; ++k) {
            CAPTURE(k);
            auto other = rows;
            other.lines[std::size_t(k)] = Rows::text(k, 3);  // its last token, one target
            results.insert(train(other));
            CHECK(results.size() == std::size_t(k) + 2);  // differs from the unchanged run's and from every other
        }
    }
}

TEST_CASE("finetune: every row of conversations changes the adapter too, in JSON lines and in one array")
{
    if (!ready()) { return; }
    constexpr int count = 5;
    const auto conversation = [](int k, const std::string& answer) {
        const std::string question = "Who is number " + std::to_string(k) + "?";
        return nlohmann::json(
            {{"messages", {{{"role", "user"}, {"content", question}}, {{"role", "assistant"}, {"content", answer}}}}});
    };
    for (const bool array : {false, true}) {
        CAPTURE(array);
        const Place place;
        const std::string file = (place.temp / (array ? "chat.json" : "chat.jsonl")).string();
        const auto train = [&](int changed) {
            nlohmann::json all = nlohmann::json::array();
            std::string lines;
            for (int k = 0; k < count; ++k) {
                all.push_back(conversation(k, k == changed ? "A bird." : "A dog."));
                lines += all.back().dump() + "\n";
            }
            write_text(file, array ? all.dump() : lines);
            const auto ended = run("finetune", {"--model", small_model(), "--data", file, "--template", "zephyr",
                                                "--output", place.out(), "--epochs", "2", "--batch", "2", "--rank", "2",
                                                "--lr", "0.01", "--overwrite", "--quiet"});
            CAPTURE(ended.err);
            REQUIRE(ended.status == 0);
            return read_text(place.temp / "out/adapter_model.safetensors");
        };
        std::set<std::string> results;
        for (int changed = -1; changed < count; ++changed) { results.insert(train(changed)); }
        CHECK(results.size() == count + 1);
    }
}
