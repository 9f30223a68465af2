#include "../checkpoint/checkpoint_support.hpp"

#include "graft/checkpoint/load_model.hpp"
#include "graft/cpu.hpp"
#include "graft/models/generate.hpp"
#include "graft/optim/adamw.hpp"
#include "graft/train/probe.hpp"
#include "graft/train/step.hpp"

#include <utility>

// Evaluation and generation between steps change no bit of the training, as an evaluation of bitsandbytes 0.50 on the
// CPU does: it packs the weight anew in place, and every later backward has no gradient for the input.
using namespace graft_test;

namespace {

std::vector<graft::Example> rows()
{
    std::vector<graft::Example> out;
    for (std::int32_t i = 0; i < 6; ++i) {
        graft::Example example{.ids = {}, .labels = {}, .row = i + 1, .source = "rows"};
        for (std::int32_t t = 0; t < 4 + i % 5; ++t) {
            example.ids.push_back((3 * i + 2 * t) % 11);
            example.labels.push_back(t < 1 + i % 2 ? graft::ignore : example.ids.back());
        }
        out.push_back(example);
    }
    return out;
}

// What training leaves: losses, gradients and values of each step.
struct Trace {
    std::vector<double> losses, gradients;
    std::map<std::string, std::vector<double>> values;
    bool operator==(const Trace&) const = default;
};

struct Kind {
    graft::Base base = graft::Base::frozen;
    bool double_quant = false, recompute = false;
    double dropout = 0;
};

template <class T> Trace trained(const fs::path& folder, const Kind& kind, bool between)
{
    const bool full = kind.base == graft::Base::trained;
    auto model =
        graft::load_model<T>(folder, {.base = kind.base, .train_rest = full}, {.double_quant = kind.double_quant});
    if (!full) {
        graft::add_adapter(model,
                           graft::AdapterConfig{.rank = 2,
                                                .alpha = 4,
                                                .dropout = kind.dropout,
                                                .targets = {.kind = graft::ModuleChoice::Kind::all_linear}},
                           3);
    }
    graft::AdamW<T> adamw(model, {.lr = 0.02, .clip = 1.0});
    const auto examples = rows();
    const auto rope = model.positions(16);
    graft::Batches batches(examples, {.batch = 2, .accumulate = 2, .epochs = 3, .seed = 5});
    Trace out;
    double heard = 0;
    const auto look = [&](int step) {
        if (!between) { return; }
        heard += graft::evaluate(model, std::span(examples), 1 + step % 3, rope);
        const std::vector<std::int32_t> prompt{1, 4, std::int32_t(step % 11)};
        heard += double(graft::generate(model, prompt, {.max_tokens = 5}).size());
        heard += double(graft::generate(model, prompt, {.max_tokens = 7, .temperature = 1, .seed = 9}).size());
        heard += graft::probe_loss(model);
    };
    for (std::int64_t step = 0; step < batches.steps(); ++step) {
        const auto micro = batches.micro_batches(step);
        std::uint32_t sample = 0;
        look(int(step));
        for (const auto& batch : micro) {
            out.losses.push_back(graft::forward_backward(model, batch, rope, sample,
                                                         1.0 / double(graft::targets(micro)),
                                                         {{7, std::uint32_t(step)}, kind.recompute}));
            sample += std::uint32_t(batch.documents());
            look(int(step) + 1);  // between micro-batches, with gradients that wait
        }
        for (const auto& tensor : graft::trained_tensors(model)) {
            REQUIRE(tensor.grad.written());
            const auto view = tensor.grad.view();
            for (std::int64_t i = 0; i < view.rows; ++i) {
                for (std::int64_t j = 0; j < view.cols(); ++j) { out.gradients.push_back(double(view.row(i)[j])); }
            }
        }
        adamw.step(1.0).check();
        look(int(step) + 2);
    }
    CHECK((!between || std::isfinite(heard)));
    for (const auto& tensor : graft::trained_tensors(model)) {
        const auto view = tensor.value.view();
        auto& values = out.values[tensor.name];
        for (std::int64_t i = 0; i < view.rows; ++i) {
            for (std::int64_t j = 0; j < view.cols(); ++j) { values.push_back(double(view.row(i)[j])); }
        }
    }
    return out;
}

template <class T> void same(const Kind& kind)
{
    const TempFolder temp;
    const auto folder = tiny_checkpoint(temp.path());
    const auto plain = trained<T>(folder, kind, false), looked = trained<T>(folder, kind, true);
    CHECK(plain.losses.size() == 3 * 3);  // three micro-batches an epoch
    CHECK(plain.losses.front() != plain.losses.back());
    CHECK((plain.losses == looked.losses));
    CHECK((plain.gradients == looked.gradients));
    CHECK((plain == looked));
    // The comparison sees one value.
    auto other = looked;
    other.values.begin()->second.front() += 1e-12;
    CHECK_FALSE((plain == other));
}

}  // namespace

TEST_CASE_TEMPLATE("evaluation and generation between steps change no bit of an adapter's training", T, float,
                   graft::bf16)
{
    same<T>({});
    same<T>({.dropout = 0.25});
    same<T>({.recompute = true, .dropout = 0.25});
}

TEST_CASE_TEMPLATE("evaluation and generation between steps change no bit of a training over NF4", T, float,
                   graft::bf16)
{
    same<T>({.base = graft::Base::nf4});
    same<T>({.base = graft::Base::nf4, .double_quant = true, .dropout = 0.25});
}

TEST_CASE_TEMPLATE("evaluation and generation between steps change no bit of a full training", T, float, graft::bf16)
{
    same<T>({.base = graft::Base::trained});
}
