#include "graft/autograd/gradcheck.hpp"

#include <doctest/doctest.h>

#include "graft/cpu.hpp"
#include "numbers.hpp"

// Whole models in f64 against differences, with no number to choose.
using namespace graft;

namespace {

inline constexpr LlamaShape shape{.vocab = 11, .dim = 8, .ffn = 12, .layers = 2, .heads = 2, .kv_heads = 1};

template <class Model> GradcheckResult checked(Model& model, bool recompute = false)
{
    std::vector<GradcheckInput> inputs;
    leaves(model, [&](const std::string& name, auto& leaf) {
        if constexpr (std::remove_cvref_t<decltype(leaf)>::trainable) { inputs.emplace_back(name, leaf); }
    });
    const std::vector<std::int32_t> tokens{1, 4, 2, 7, 3, 9, 8, 5}, next{4, 2, 7, ignore, 9, ignore, 5, 1};
    const auto ids = graft_test::ids_of(tokens);
    auto context = context_for<double, Cpu>({5, 3}, model.positions(8));
    context.recompute = recompute;
    return gradcheck([&](TapeRef tape) { return model.loss(tape, ids, context, next, 0.2); }, inputs);
}

}  // namespace

TEST_CASE("models: every gradient of a whole model is right, trained whole or through adapters, whatever its weights")
{
    for (const double deviation : {0.02, 0.3, 1.0}) {
        CAPTURE(deviation);
        Llama<shape, FullKit<double>> full(config_of(shape));
        init(full, 1, deviation);
        for (const bool recompute : {false, true}) {
            const auto found = checked(full, recompute);
            CHECK_MESSAGE(found.right(), found.text());
        }
    }
    Llama<shape, LoraKit<double, Cpu, 3>> lora(config_of(shape));
    init(lora, 1, 0.3);
    const auto begun = checked(lora);  // B is zero, and so are the gradients of A
    CHECK_MESSAGE(begun.right(), begun.text());
    for (const auto& tensor : trained_tensors(lora)) {
        auto value = tensor.value;
        graft_test::fill(value, stream_of(tensor.name.data(), tensor.name.size()), 0.2);
    }
    const auto filled = checked(lora);
    CHECK_MESSAGE(filled.right(), filled.text());
}
