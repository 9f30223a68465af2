#include "graft/models/llama.hpp"

#include <doctest/doctest.h>

#include "graft/ops/add/cpu.hpp"
#include "graft/ops/attention/cpu.hpp"
#include "graft/ops/dropout/cpu.hpp"
#include "graft/ops/embedding/cpu.hpp"
#include "graft/ops/linear_cross_entropy/cpu.hpp"
#include "graft/ops/lora/cpu.hpp"
#include "graft/ops/lora_embedding/cpu.hpp"
#include "graft/ops/matmul/cpu.hpp"
#include "graft/ops/nf4_matmul/cpu.hpp"
#include "graft/ops/rms_norm/cpu.hpp"
#include "graft/ops/rope/cpu.hpp"
#include "graft/ops/silu_mul/cpu.hpp"
#include "reference.hpp"

// Gradients of whole models, through the real tape and a pool whose freed blocks are poisoned, against loops in double.

using namespace graft;
using namespace graft_test;

namespace {

ModelConfig config(bool tied)
{
    ModelConfig c;
    c.vocab = 37, c.dim = 20, c.ffn = 28, c.layers = 2, c.heads = 6, c.kv_heads = 2, c.head_dim = 6;
    c.eps = 1e-5, c.tied = tied, c.attention_bias = true, c.mlp_bias = tied;
    return c;
}

// Three micro-batches with 13, 1 and 0 targets: several documents, one of a single row, masks at different places.
std::vector<ReferenceBatch> batches()
{
    std::vector<ReferenceBatch> out;
    for (const auto& lengths : {std::vector<std::int64_t>{7, 1, 10}, {4}, {2, 1}}) {
        ReferenceBatch b{lengths, {}, {}};
        for (std::int64_t length : lengths) {
            for (std::int64_t t = 0; t < length; ++t) {
                const auto n = std::int32_t(b.ids.size());
                b.ids.push_back((n * n * 3 + 5 + std::int32_t(out.size())) % 37);  // some ids occur twice
                const bool scored = out.empty() ? n % 4 != 1 : out.size() == 1 && n == 2;
                b.labels.push_back(scored ? (n * 11 + 2) % 37 : ignore);
            }
        }
        out.push_back(b);
    }
    return out;
}

double targets_of(const std::vector<ReferenceBatch>& all)
{
    double count = 0;
    for (const auto& batch : all) {
        for (std::int32_t label : batch.labels) { count += label != ignore; }
    }
    return count;
}

// Loss and every gradient of the model against the reference, with and without recompute.
template <class Model>
void against_reference(Model& model, double lora_scale, double tolerance, const std::shared_ptr<Pool<Cpu>>& pool)
{
    const auto all = batches();
    const double scale = 1 / targets_of(all);
    ReferenceLlama reference = reference_of(model, lora_scale);
    for (const auto& batch : all) { reference.add(batch, scale); }
    for (bool again : {false, true}) {
        CAPTURE(again);
        clear_gradients(model);
        const std::size_t before = pool->live_bytes();
        double loss = 0;
        for (const auto& batch : all) { loss += add_batch(model, batch, scale, again, pool); }
        CHECK(std::abs(loss - reference.loss) < tolerance * std::abs(reference.loss));
        int trained = 0;
        leaves(model, [&](const std::string& name, auto& leaf) {
            if constexpr (std::remove_cvref_t<decltype(leaf)>::trainable) {
                ++trained;
                CAPTURE(name);
                REQUIRE(leaf.grad().written());  // trap: a branch that silently gets no gradient
                const Matrix& expected = reference.grad.at(name);
                double largest = 0;
                for (double each : expected.at) { largest = std::fmax(largest, std::abs(each)); }
                // The key's bias moves all scores of a row alike but for the rotation: its gradient nearly cancels.
                const double room = name.find("k_proj.bias") != std::string::npos ? 16 : 1;
                CHECK(largest > 0);
                CHECK(difference(matrix(leaf.grad()), expected) < room * tolerance);
            }
        });
        CHECK(trained > 0);
        clear_gradients(model);
        CHECK(pool->live_bytes() == before);  // nothing but the model outlives a step
    }
}

// f32: two blocks, sums of at most 37 products in each of some 20 ops one after the other.
template <class T> double tolerance() { return std::is_same_v<T, double> ? 1e-9 : 200 * epsilon<float>(); }

template <class T> using Any = Llama<dynamic_shape, AnyKit<T>>;

// Each linear of the blocks gets its base and an adapter; ranks differ, some linears carry none.
template <class T> Any<T> adapted(const ModelConfig& c, const std::shared_ptr<Pool<Cpu>>& pool, Base q, Base mlp)
{
    Any<T> model(c, pool);
    for (auto& layer : model.layers) {
        layer.attn.q.become(q), layer.attn.k.become(q), layer.attn.v.become(q), layer.attn.o.become(q);
        layer.mlp.gate.become(mlp), layer.mlp.up.become(mlp), layer.mlp.down.become(mlp);
        std::int64_t rank = 1;
        for (auto* each :
             {&layer.attn.q, &layer.attn.k, &layer.attn.v, &layer.attn.o, &layer.mlp.gate, &layer.mlp.down}) {
            each->adapt({.rank = rank, .alpha = 1.5 * double(rank)});
            rank += 3;
        }
    }
    fill_model(model);
    return model;
}

}  // namespace

TEST_CASE_TEMPLATE("llama: trap: an op right alone and wrong in the model: full training, tied and untied", T, double,
                   float)
{
    for (bool tied : {false, true}) {
        const auto pool = Pool<Cpu>::create({.poison = true});
        Llama<dynamic_shape, FullKit<T>> model(config(tied), pool);
        fill_model(model);
        against_reference(model, 0, tolerance<T>(), pool);
    }
}

TEST_CASE_TEMPLATE("llama: trap: an op right alone and wrong in the model: LoRA over frozen, trained and NF4 bases", T,
                   double, float)
{
    for (auto [attention, mlp] : {std::pair{Base::frozen, Base::frozen},
                                  {Base::nf4, Base::nf4},
                                  {Base::trained, Base::nf4},
                                  {Base::nf4, Base::frozen}}) {
        const auto pool = Pool<Cpu>::create({.poison = true});
        auto model = adapted<T>(config(attention == mlp), pool, attention, mlp);
        against_reference(model, 1.5, tolerance<T>(), pool);
    }
}

TEST_CASE("llama: everything chosen at run time: trained head, embedding and norms beside adapters")
{
    for (bool tied : {false, true}) {
        const auto pool = Pool<Cpu>::create({.poison = true});
        auto model = adapted<double>(config(tied), pool, Base::frozen, Base::nf4);
        model.embed.become(Base::trained);
        if (!tied) { model.head.become(Base::trained); }
        model.norm.become(Base::trained);
        model.layers[1].mlp_norm.become(Base::trained);
        fill_model(model);
        against_reference(model, 1.5, tolerance<double>(), pool);
    }
}

TEST_CASE("llama: trap: mean of means: one batch equals its documents in micro-batches of their own")
{
    const auto pool = Pool<Cpu>::create({.poison = true});
    auto model = adapted<double>(config(true), pool, Base::frozen, Base::frozen);
    ReferenceBatch whole;
    for (const auto& batch : batches()) {
        whole.lengths.insert(whole.lengths.end(), batch.lengths.begin(), batch.lengths.end());
        whole.ids.insert(whole.ids.end(), batch.ids.begin(), batch.ids.end());
        whole.labels.insert(whole.labels.end(), batch.labels.begin(), batch.labels.end());
    }
    const double scale = 1 / targets_of({whole});
    const double loss = add_batch(model, whole, scale, false, pool);
    std::map<std::string, Matrix> once;
    leaves(model, [&](const std::string& name, auto& leaf) {
        if constexpr (std::remove_cvref_t<decltype(leaf)>::trainable) { once[name] = matrix(leaf.grad()); }
    });
    clear_gradients(model);
    double sum = 0;
    std::int64_t first = 0;
    for (std::int64_t length : whole.lengths) {
        ReferenceBatch part{{length}, {}, {}};
        part.ids.assign(whole.ids.begin() + first, whole.ids.begin() + first + length);
        part.labels.assign(whole.labels.begin() + first, whole.labels.begin() + first + length);
        sum += add_batch(model, part, scale, false, pool);
        first += length;
    }
    CHECK(sum == doctest::Approx(loss).epsilon(1e-13));
    leaves(model, [&](const std::string& name, auto& leaf) {
        if constexpr (std::remove_cvref_t<decltype(leaf)>::trainable) {
            CAPTURE(name);
            CHECK(difference(matrix(leaf.grad()), once.at(name)) < 1e-12);
        }
    });
}

TEST_CASE("llama: trap: masked rows: what stands where nothing is scored later changes nothing")
{
    // The last document of the last micro-batch has no target: its ids have no gradient, whatever they are.
    const auto pool = Pool<Cpu>::create({.poison = true});
    Llama<dynamic_shape, FullKit<double>> model(config(false), pool);
    fill_model(model);
    auto batch = batches()[0];
    const auto gradient = [&] {
        clear_gradients(model);
        add_batch(model, batch, 1.0, false, pool);
        return matrix(model.embed.weight.grad());
    };
    batch.ids[17] = 30, batch.labels[17] = ignore;  // the last row of its document: no later row sees it
    const Matrix with_30 = gradient();
    batch.ids[17] = 31;
    const Matrix with_31 = gradient();
    CHECK(difference(with_30, with_31) == 0);
}

TEST_CASE("llama: after the first step of a shape nothing asks the system for memory")
{
    const auto all = batches();
    for (bool again : {false, true}) {
        const auto pool = Pool<Cpu>::create({.poison = true});
        auto model = adapted<float>(config(false), pool, Base::frozen, Base::nf4);
        std::size_t calls = 0;
        for (int step = 0; step < 3; ++step) {
            for (const auto& batch : all) { add_batch(model, batch, 0.1, again, pool); }
            clear_gradients(model);
            if (step == 0) { calls = pool->system_calls(); }
            CHECK(pool->system_calls() == calls);
        }
    }
}

TEST_CASE("llama: a step on a counting pool has the peak of the real one; recompute holds less")
{
    const auto peak = [](bool again, PoolOptions options) {
        const auto pool = Pool<Cpu>::create(options);
        auto c = config(false);
        c.layers = 6;
        Any<float> model(c, pool);
        for (auto& layer : model.layers) {
            for (auto* each : {&layer.attn.q, &layer.attn.v, &layer.attn.o}) { each->adapt({.rank = 4}); }
            layer.mlp.gate.adapt({.rank = 4, .dropout = 0.1});
        }
        if (!options.counting) { fill_model(model); }
        std::vector<std::int32_t> labels(300, ignore);
        for (std::size_t n = 0; n < 300; n += 2) { labels[n] = std::int32_t(n % 37); }
        auto ids = Buffer<std::int32_t, Cpu>(300, pool);
        for (std::int64_t n = 0; n < 300 && !options.counting; ++n) { ids.data()[n] = std::int32_t(n % 37); }
        auto context = context_for<float, Cpu>({200, 100}, model.positions(200), pool);
        context.training = true, context.recompute = again;
        const std::size_t before = pool->live_bytes();
        Tape tape;
        tape.backward(model.loss(tape, ids, context, labels, 1.0));
        CHECK((pool->held_bytes() == 0) == options.counting);
        return pool->peak_bytes() - before;
    };
    for (bool again : {false, true}) { CHECK(peak(again, {}) == peak(again, {.counting = true})); }
    CHECK(peak(true, {}) < peak(false, {}) / 2);
}
