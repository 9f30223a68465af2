#include "finetune_support.hpp"

#include <cmath>
#include <limits>

// Accumulation: 8 rows at once, in two, four or eight micro-batches, are one and the same step.
//
// Everything is f32; the parts differ in the order in which rows are added, and in nothing else.
//   loss       Its rows are the same sums of products in every part. Where another shape of a product adds in another
//              order, each of the 35 products of a token (5 layers of 7) is off by sqrt(172) eps (the longest sum has
//              172 terms), and these add up like a walk: sqrt(35 * 172) eps < 80 eps of the loss. Sums over rows are
//              in f64.
//   gradients  An element is a sum over the tokens of the step, of N terms: in another order it is off by at most
//              N eps sum|terms|. What the terms of a row add up to is measured: the gradient norm of the row alone,
//              times its share of the targets. (Within a row terms cancel too, which N instead of sqrt(N) pays for.)
//   adapter    AdamW divides by sqrt(v) + 1e-8, which makes any gradient that is not zero a step of full size,
//              rounding errors included. So the clip is set to 1e-9: gradients are far below 1e-8 then, a step is
//              lr g / (|g| + 1e-8), and what is off in g is off in the step by the same share. lr 0.1 gives steps of
//              0.1 * 1e-9 / 1e-8 = 0.01 in norm: short enough not to enlarge what earlier steps were off by.
using namespace graft_test;

namespace {

constexpr double eps = std::numeric_limits<float>::epsilon();

struct Row {
    int tokens, targets;  // the last so many tokens are targets
};

// Rows of ready-made ids: number i has its own tokens, whatever stands beside it.
std::string row_text(const Row& row, int i)
{
    nlohmann::json ids = nlohmann::json::array(), labels = nlohmann::json::array();
    for (int t = 0; t < row.tokens; ++t) {
        const int id = t == 0 ? 1 : 259 + (t * t * 7 + t * 31 + i * 43) % 250;
        ids.push_back(id);
        labels.push_back(t >= row.tokens - row.targets ? id : -100);
    }
    return nlohmann::json({{"input_ids", ids}, {"labels", labels}}).dump() + "\n";
}

// As unequal as they like: 1 target here, 60 there.
const std::vector<Row> uneven{{20, 1}, {61, 60}, {9, 2}, {33, 1}, {48, 40}, {5, 4}, {30, 3}, {17, 16}};

struct Trained {
    std::vector<nlohmann::json> steps;
    std::map<std::string, std::vector<float>> adapter;
};

struct Runs {
    Place place;

    Trained operator()(const std::string& rows, const Arguments& more) const
    {
        write_text(place.temp / "rows.jsonl", rows);
        const auto ended =
            run("finetune", place.with(joined(more, {"--no-shuffle", "--overwrite", "--schedule", "constant", "--rank",
                                                     "4", "--clip", "1e-9", "--lr", "0.1"})));
        CAPTURE(ended.err);
        REQUIRE(ended.status == 0);
        Trained out{json_lines(place.temp / "out/metrics.jsonl"), {}};
        for (const auto& t : Tensors::read(place.temp / "out/adapter_model.safetensors").list) {
            out.adapter[t.name] = t.values();
        }
        return out;
    }
};

double norm(const std::map<std::string, std::vector<float>>& adapter, const Trained* minus = nullptr)
{
    double sum = 0;
    for (const auto& [name, values] : adapter) {
        for (std::size_t i = 0; i < values.size(); ++i) {
            const double d = double(values[i]) - (minus ? double(minus->adapter.at(name).at(i)) : 0.0);
            sum += d * d;
        }
    }
    return std::sqrt(sum);
}

}  // namespace

TEST_CASE("finetune: 8 x 1, 4 x 2, 2 x 4 and 1 x 8 are one step: loss, gradient norm, adapter")
{
    if (!ready()) { return; }
    const Runs finetune;
    std::string rows;
    int tokens = 0, targets = 0;
    for (std::size_t i = 0; i < uneven.size(); ++i) {
        rows += row_text(uneven[i], int(i));
        tokens += uneven[i].tokens, targets += uneven[i].targets;
    }
    const Arguments four{"--steps", "4"};
    const auto start = finetune(rows, {"--steps", "0"});
    const auto whole = finetune(rows, joined(four, {"--batch", "8"}));
    REQUIRE(whole.steps.size() == 4);
    const double loss = whole.steps[0].at("loss"), first_norm = whole.steps[0].at("grad_norm");

    // What each row adds to the first step, and what a mean of means would have made of it.
    double shares = 0, weighted = 0, mean_of_means = 0;
    for (std::size_t i = 0; i < uneven.size(); ++i) {
        const auto alone = finetune(row_text(uneven[i], int(i)), {"--steps", "1"}).steps.at(0);
        const double share = double(uneven[i].targets) / double(targets);
        CHECK(alone.at("targets") == uneven[i].targets);
        shares += share * alone.at("grad_norm").get<double>();
        weighted += share * alone.at("loss").get<double>();
        mean_of_means += alone.at("loss").get<double>() / double(uneven.size());
    }
    const double loss_limit = 80 * eps * loss, norm_limit = double(tokens) * eps * shares;
    CHECK(std::abs(weighted - loss) <= loss_limit);
    CHECK(std::abs(mean_of_means - loss) > 1000 * loss_limit);  // the rows do tell the two apart
    CHECK(norm_limit < 1e-3 * first_norm);
    const double moved = norm(whole.adapter, &start);
    CHECK(moved > 0.01);

    for (const char* batch : {"4", "2", "1"}) {
        CAPTURE(batch);
        const auto parts =
            finetune(rows, joined(four, {"--batch", batch, "--accumulate", std::to_string(8 / std::stoi(batch))}));
        REQUIRE(parts.steps.size() == 4);
        for (std::size_t k = 0; k < 4; ++k) {
            CAPTURE(k);
            const auto &a = parts.steps[k], &b = whole.steps[k];
            CHECK(a.at("targets") == targets);
            CHECK(a.at("tokens") == int(k + 1) * tokens);
            // Each step adds its own error to what the steps before it left: k + 1 of them.
            CHECK(std::abs(a.at("loss").get<double>() - b.at("loss").get<double>()) <= double(k + 1) * loss_limit);
            CHECK(std::abs(a.at("grad_norm").get<double>() - b.at("grad_norm").get<double>())
                  <= double(k + 1) * norm_limit);
        }
        CHECK(norm(parts.adapter, &whole) <= 4 * norm_limit / first_norm * moved);
    }
}

TEST_CASE("finetune: rows without a target add nothing, wherever they stand")
{
    if (!ready()) { return; }
    const Runs finetune;
    std::string rows;
    for (std::size_t i = 0; i < uneven.size(); ++i) { rows += row_text(uneven[i], int(i)); }
    const Arguments settings{"--batch", "2", "--accumulate", "2", "--epochs", "2"};
    const auto without = finetune(rows, settings);
    // Two at the beginning, two in the middle, two at the end: in a plan that counted them, whole micro-batches.
    const std::string masked = row_text({12, 0}, 90) + row_text({40, 0}, 91);
    std::string with_them = masked;
    for (std::size_t i = 0; i < uneven.size(); ++i) {
        with_them += (i == 4 ? masked : "") + row_text(uneven[i], int(i));
    }
    const auto with = finetune(with_them + masked, settings);
    REQUIRE(with.steps.size() == without.steps.size());
    CHECK(with.steps.size() == 4);
    for (std::size_t k = 0; k < with.steps.size(); ++k) {
        CAPTURE(k);
        for (const char* key : {"loss", "grad_norm", "lr", "targets", "tokens"}) {
            CAPTURE(key);
            CHECK(with.steps[k].at(key) == without.steps[k].at(key));
        }
    }
    CHECK(with.adapter == without.adapter);
    // They are not dropped in silence.
    const auto ended = run("finetune", finetune.place.with(joined(settings, {"--overwrite"})));
    CHECK(ended.out.find("14 rows of input_ids, 8 used, 6 dropped") != std::string::npos);
    CAPTURE(ended.out);
    CHECK(ended.out.find("dropped 6 rows: no target") != std::string::npos);
}
