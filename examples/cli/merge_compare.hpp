#pragma once
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "graft/checkpoint/load_model.hpp"
#include "graft/checkpoint/merge/stored_adapter.hpp"
#include "graft/cpu.hpp"
#include "graft/models/generate.hpp"
#include "graft/text/tokenizer.hpp"

// What merging has done to a model's answers: base and adapters against the merged checkpoint, on given prompts, both
// in f32. One model is in memory at a time.
//
//   KL     of the next token at each position of the prompt and of what base and adapters continue it with:
//          sum of p (log p - log q), p from base and adapters, in f64
//   equal  greedy tokens that both chose at the same place
namespace cli {

inline constexpr std::int64_t compared_tokens = 64;

struct Answer {
    std::vector<std::int32_t> greedy;
    std::vector<std::vector<float>> logits;  // a row for each position that predicts
    std::vector<double> log_sum;             // of their exponentials: log p = logit - log_sum
};

struct Comparison {
    std::string prompt;
    std::int64_t positions = 0, tokens = 0, equal = 0;
    double mean_kl = 0, max_kl = 0;
};

// Rows of tokens, of all adapters: each token is in one of them.
template <class Table> void lay_rows(Table& table, std::span<const graft::StoredAdapter> adapters)
{
    std::vector<std::int32_t> tokens;
    std::vector<double> values;
    for (const auto& adapter : adapters) {
        if (adapter.rows() == nullptr) { continue; }
        tokens.insert(tokens.end(), adapter.tokens().begin(), adapter.tokens().end());
        const auto more = graft::detail::all_values(*adapter.rows());
        values.insert(values.end(), more.begin(), more.end());
    }
    if (tokens.empty()) { return; }
    const auto to = table.train_rows(tokens).value.value().view();
    for (std::int64_t i = 0; i < to.rows; ++i) {
        for (std::int64_t j = 0; j < to.cols(); ++j) { to.row(i)[j] = float(values[std::size_t(i * to.cols() + j)]); }
    }
}

// Lays all adapters over a model as one branch a module: their ranks side by side.
template <class Model> void lay_adapters(Model& model, std::span<const graft::StoredAdapter> adapters)
{
    graft::modules(model, [&](const std::string& name, auto& module) {
        using Module = std::remove_cvref_t<decltype(module)>;
        std::vector<const graft::StoredBranch*> branches;
        std::int64_t rank = 0;
        for (const auto& adapter : adapters) {
            if (const auto* found = adapter.find(name)) {
                branches.push_back(found);
                rank += found->target.rank;
            }
        }
        const graft::LoraOptions options{.rank = rank, .alpha = double(rank)};
        const auto fill = [&](auto& branch) {
            const bool alone = branches.size() == 1;  // then it is the same arithmetic as in training
            if (alone) { branch.scale = branches[0]->target.scale; }
            auto a = branch.a.value().view(), b = branch.b.value().view();
            std::int64_t at = 0;
            for (const auto* from : branches) {
                const std::int64_t r = from->target.rank;
                const auto values_a = graft::detail::all_values(from->a), values_b = graft::detail::all_values(from->b);
                const double scale = alone ? 1 : from->target.scale;
                for (std::int64_t k = 0; k < r; ++k) {
                    for (std::int64_t j = 0; j < a.cols(); ++j) {
                        a.row(at + k)[j] = float(values_a[std::size_t(k * a.cols() + j)]);
                    }
                }
                for (std::int64_t i = 0; i < b.rows; ++i) {
                    for (std::int64_t k = 0; k < r; ++k) {
                        b.row(i)[at + k] = float(scale * values_b[std::size_t(i * r + k)]);
                    }
                }
                at += r;
            }
        };
        if constexpr (graft::is_any_linear<Module>) {
            if (!branches.empty()) { fill(module.adapt(options)); }
        } else if constexpr (graft::is_any_table<Module>) {
            if (name == graft::embedding_module) { lay_rows(module, adapters); }
            if (branches.empty()) { return; }
            if (branches[0]->target.kind == graft::ModuleKind::head) {
                fill(module.adapt_head(options));
            } else {
                fill(module.adapt_embedding(options));
            }
        }
    });
    for (const auto& tensor : graft::trained_tensors(model)) { graft::refresh(tensor); }
}

// Tensors that an adapter holds whole, in place of the base's.
template <class Model> void lay_whole(Model& model, std::span<const graft::StoredAdapter> adapters)
{
    graft::leaves(model, [&](const std::string& name, auto& leaf) {
        if constexpr (requires { leaf.value(); }) {
            for (const auto& adapter : adapters) {
                if (const auto* whole = adapter.whole(name)) {
                    auto to = leaf.value().view();
                    graft::detail::read_dense(*whole, graft::View<std::remove_pointer_t<decltype(to.data)>>(to));
                }
            }
        }
    });
}

// What the model expects after each of the ids, into answer.
template <class Model> void read_logits(const Model& model, std::span<const std::int32_t> ids, Answer& answer)
{
    using T = typename Model::T;
    const auto n = std::int64_t(ids.size());
    graft::Buffer<std::int32_t, graft::Cpu> tokens(n), positions(n);
    std::copy(ids.begin(), ids.end(), tokens.data());
    std::iota(positions.data(), positions.data() + n, 0);
    graft::Context<T, graft::Cpu> context;
    context.positions = positions;
    context.segments = std::make_shared<const std::vector<graft::Segment>>(1, graft::Segment{0, n, 0, 0, 0});
    context.rope = model.positions(n);
    const auto logits = model(graft::no_tape, tokens, context);
    for (std::int64_t i = 0; i < n; ++i) {
        const auto* z = logits.view().row(i);
        const double most = double(*std::max_element(z, z + logits.cols()));
        double sum = 0;
        for (std::int64_t j = 0; j < logits.cols(); ++j) { sum += std::exp(double(z[j]) - most); }
        answer.logits.emplace_back(z, z + logits.cols());
        answer.log_sum.push_back(most + std::log(sum));
    }
}

// read: the answer whose continuation is read; nullptr: the model's own.
template <class Model> Answer answer_of(const Model& model, std::vector<std::int32_t> prompt, const Answer* read)
{
    const auto& c = model.config;
    const std::int64_t room =
        std::min(c.max_positions, c.sliding_window.value_or(c.max_positions)) - std::int64_t(prompt.size());
    graft::require(room > 0, [&] {
        return "--prompt: has " + std::to_string(prompt.size()) + " tokens, the model "
               + std::to_string(room + std::int64_t(prompt.size())) + " positions";
    });
    Answer out;
    out.greedy = graft::generate(model, prompt, {.max_tokens = std::min(room, compared_tokens)});
    const auto& more = read != nullptr ? read->greedy : out.greedy;
    prompt.insert(prompt.end(), more.begin(), more.end() - 1);  // the last one predicts nothing that is compared
    read_logits(model, prompt, out);
    return out;
}

inline Comparison compare(const std::string& prompt, const Answer& before, const Answer& after)
{
    Comparison out{.prompt = prompt,
                   .positions = std::int64_t(before.logits.size()),
                   .tokens = std::int64_t(before.greedy.size())};
    for (std::size_t i = 0; i < before.logits.size(); ++i) {
        double kl = 0;
        for (std::size_t j = 0; j < before.logits[i].size(); ++j) {
            const double p = double(before.logits[i][j]) - before.log_sum[i],
                         q = double(after.logits[i][j]) - after.log_sum[i];
            kl += std::exp(p) * (p - q);
        }
        kl = std::max(kl, 0.0);  // below 0 by rounding only
        out.mean_kl += kl / double(before.logits.size()), out.max_kl = std::max(out.max_kl, kl);
    }
    for (std::size_t i = 0; i < before.greedy.size(); ++i) { out.equal += before.greedy[i] == after.greedy[i]; }
    return out;
}

inline std::string to_text(const Comparison& c)
{
    char text[200];
    std::snprintf(text, sizeof text, ": KL mean %.3g, max %.3g over %lld positions; %lld of %lld greedy tokens equal\n",
                  c.mean_kl, c.max_kl, static_cast<long long>(c.positions), static_cast<long long>(c.equal),
                  static_cast<long long>(c.tokens));
    return "prompt \"" + graft::printable(c.prompt, 60) + "\"" + text;
}

inline nlohmann::ordered_json to_json(const Comparison& c)
{
    return {{"prompt", c.prompt}, {"positions", c.positions},  {"mean_kl", c.mean_kl},
            {"max_kl", c.max_kl}, {"greedy_tokens", c.tokens}, {"greedy_equal", c.equal}};
}

// config: of the merged checkpoint in `merged`, whose config.json is not there yet.
inline std::vector<Comparison> compare_models(const std::filesystem::path& base,
                                              std::span<const graft::StoredAdapter> adapters,
                                              const std::filesystem::path& merged, const graft::ModelConfig& config,
                                              const graft::Tokenizer& tokenizer, std::span<const std::string> prompts)
{
    std::vector<std::vector<std::int32_t>> ids;
    for (const auto& prompt : prompts) { ids.push_back(tokenizer.encode(prompt)); }
    std::vector<Answer> before;
    {
        auto model = graft::load_model<float>(base, {}, {.untie = graft::unties(adapters)});
        lay_adapters(model, adapters);
        lay_whole(model, adapters);
        for (const auto& prompt : ids) { before.push_back(answer_of(model, prompt, nullptr)); }
    }
    const bool nf4 = config.quantization.has_value();
    auto model =
        graft::make_model<float>(config, {.base = nf4 ? graft::Base::nf4 : graft::Base::frozen,
                                          .dense = nf4 ? config.quantization->skipped : std::vector<std::string>()});
    graft::load_weights(model, graft::Checkpoint::open(merged));
    std::vector<Comparison> out;
    for (std::size_t i = 0; i < ids.size(); ++i) {
        out.push_back(compare(prompts[i], before[i], answer_of(model, ids[i], &before[i])));
    }
    return out;
}

}  // namespace cli
