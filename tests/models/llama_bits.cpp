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

// What must be the same bits: any number of threads, recompute or not, static shape or dynamic.

using namespace graft;
using namespace graft_test;

namespace {

inline constexpr LlamaShape shape{.vocab = 67, .dim = 24, .ffn = 40, .layers = 2, .heads = 4, .kv_heads = 2};

ReferenceBatch batch()
{
    ReferenceBatch b{{90, 1, 30}, {}, {}};
    for (int n = 0; n < 121; ++n) { b.ids.push_back(n * 7 % 67), b.labels.push_back(n % 3 == 0 ? ignore : n * 5 % 67); }
    return b;
}

// Loss, logits and all gradients of one step.
template <class Model> Bits step(Model& model, bool again, double dropout = 0)
{
    const auto pool = Pool<Cpu>::create({.poison = true});
    modules(model, [&](const std::string& name, auto& module) {
        if constexpr (requires {
                          module.dropout;
                          module.module;
                      }) {
            module.dropout = dropout, module.module = std::uint32_t(stream_of(name.data(), name.size()));
        }
    });
    leaves(model, [](const std::string&, auto& leaf) {
        if constexpr (std::remove_cvref_t<decltype(leaf)>::trainable) { leaf.grad().clear(); }
    });
    const double loss = add_batch(model, batch(), 0.01, again, pool);
    Bits bits;
    bits.add(View<const double>{&loss, 1, 1, 1});
    leaves(model, [&](const std::string& name, auto& leaf) {
        if constexpr (std::remove_cvref_t<decltype(leaf)>::trainable) {
            CAPTURE(name);
            REQUIRE(leaf.grad().written());
            bits.add(leaf.grad());
        }
    });
    using T = typename Model::T;
    auto ids = Buffer<std::int32_t, Cpu>(121, pool);
    std::copy_n(batch().ids.begin(), 121, ids.data());
    bits.add(model(no_tape, ids, context_for<T, Cpu>(batch().lengths, model.positions(90), pool)));
    return bits;
}

template <class Model> void same_bits(Model& model)
{
    fill_model(model);
    Bits first;
    const int before = threads();
    share_work_from(0);
    for (int count : {1, 2, 3, 5}) {
        set_threads(count);
        const Bits bits = step(model, false, 0.1);
        if (count == 1) { first = bits; }
        CAPTURE(count);
        CHECK(bits == first);
    }
    set_threads(before);
    share_work_from(default_shared_work);
    CHECK(step(model, true, 0.1) == first);  // recompute draws the same dropout and sums in the same order
    CHECK_FALSE(step(model, false, 0.0) == first);
}

}  // namespace

TEST_CASE_TEMPLATE("llama: LoRA equal to the bit for 1, 2, 3 and 5 threads, and with recompute", T, float, bf16)
{
    Llama<dynamic_shape, AnyKit<T>> model(config_of(shape));
    for (auto& layer : model.layers) {
        layer.mlp.up.become(Base::nf4);
        for (auto* each : {&layer.attn.q, &layer.attn.o, &layer.mlp.up}) { each->adapt({.rank = 4}); }
    }
    model.embed.become(Base::trained), model.norm.become(Base::trained), model.head.become(Base::trained);
    same_bits(model);
}

TEST_CASE("llama: a static shape equals the dynamic one to the bit: LoRA")
{
    Llama<shape, LoraKit<float, Cpu, 4>> fixed(config_of(shape));
    Llama<dynamic_shape, AnyKit<float>> open(config_of(shape));
    for (auto& layer : open.layers) {
        for (auto* each : {&layer.attn.q, &layer.attn.k, &layer.attn.v, &layer.attn.o}) { each->adapt({.rank = 4}); }
        for (auto* each : {&layer.mlp.gate, &layer.mlp.up, &layer.mlp.down}) { each->adapt({.rank = 4}); }
    }
    fill_model(fixed), fill_model(open);
    CHECK(step(fixed, false) == step(open, false));
    CHECK(step(fixed, true, 0.2) == step(open, false, 0.2));
}

TEST_CASE("llama: a static shape equals the dynamic one to the bit: QLoRA in bf16")
{
    Llama<shape, QloraKit<bf16, Cpu, 8>> fixed(config_of(shape));
    Llama<dynamic_shape, AnyKit<bf16>> open(config_of(shape));
    for (auto& layer : open.layers) {
        for (auto* each : {&layer.attn.q, &layer.attn.k, &layer.attn.v, &layer.attn.o}) {
            each->become(Base::nf4), each->adapt({.rank = 8});
        }
        for (auto* each : {&layer.mlp.gate, &layer.mlp.up, &layer.mlp.down}) {
            each->become(Base::nf4), each->adapt({.rank = 8});
        }
    }
    fill_model(fixed), fill_model(open);
    CHECK(step(fixed, false) == step(open, false));
}

TEST_CASE("llama: a config that is not of the static shape is an Error")
{
    auto c = config_of(shape);
    c.ffn = 41;
    using Fixed = Llama<shape, LoraKit<float>>;
    CHECK_THROWS_AS(Fixed{c}, Error);
}
