#include <graft/cpu.hpp>

#include <cstdio>
#include <vector>

bool refuses_a_folder_without_a_model();

// A step of LoRA on a small model, as in an own program: the loss falls.
int main()
{
    constexpr graft::LlamaShape shape{.vocab = 32, .dim = 16, .ffn = 24, .layers = 1, .heads = 2, .kv_heads = 1};
    graft::Llama<shape, graft::FullKit<float>> model(graft::config_of(shape));
    graft::init(model, 1);
    graft::AdamW adamw(model, {.lr = 1e-2});
    const std::vector<std::int32_t> tokens{1, 2, 3, 4, 5}, next{2, 3, 4, 5, graft::ignore};
    double first = 0, last = 0;
    for (int step = 0; step < 5; ++step) {
        graft::Buffer<std::int32_t, graft::Cpu> ids(5);
        for (std::size_t i = 0; i < 5; ++i) { ids.data()[i] = tokens[i]; }
        graft::Tape tape;
        const auto context = graft::context_for<float, graft::Cpu>({5}, model.positions(5));
        const auto loss = model.loss(tape, ids, context, next, 1.0 / 4);
        tape.backward(loss);
        adamw.step().check();
        last = graft::item(loss);
        if (step == 0) { first = last; }
    }
    std::printf("graft %s: loss %.4f, then %.4f\n", GRAFT_VERSION_STRING, first, last);
    return last < first && refuses_a_folder_without_a_model() ? 0 : 1;
}
