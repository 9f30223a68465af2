// Chapter 2: an own training loop on text, from nothing. A byte-level Llama learns the licence of graft by heart.
#include <cstdio>
#include <span>

#include <graft/cpu.hpp>
#include <graft/io/atomic_file.hpp>

int main()
{
    constexpr graft::LlamaShape shape{.vocab = 256, .dim = 96, .ffn = 256, .layers = 2, .heads = 4, .kv_heads = 2};
    graft::Llama<shape, graft::FullKit<float>> model(graft::config_of(shape));  // everything is trained
    graft::init(model, /*seed*/ 1);
    graft::AdamW adamw(model, {.lr = 3e-3, .clip = 1.0});

    const std::string text = graft::read_file("LICENSE", 1 << 20);  // bytes are tokens
    constexpr int length = 64, windows = 8, rows = length * windows, steps = 250;
    const auto rope = model.positions(length);
    const graft::Philox random{7};
    double last = 0;
    for (int step = 0; step < steps; ++step) {
        graft::Buffer<std::int32_t, graft::Cpu> ids(rows);
        std::int32_t next[rows];  // what each position has to predict
        for (int r = 0; r < rows; ++r) {
            const auto at = random.below(text.size() - length, unsigned(step), unsigned(r / length)) + r % length;
            ids.data()[r] = std::uint8_t(text[at]), next[r] = std::uint8_t(text[at + 1]);
        }
        graft::Tape tape;
        const auto context = graft::context_for<float, graft::Cpu>(std::vector<std::int64_t>(windows, length), rope);
        const auto loss = model.loss(tape, ids, context, next, 1.0 / rows);
        tape.backward(loss);
        adamw.step(graft::factor(graft::Schedule::cosine, step, steps, /*warmup*/ 20)).check();
        last = item(loss);
        if (step % 50 == 0 || step + 1 == steps) { std::printf("step %3d  loss %.4f\n", step, last); }
    }
    std::vector<std::int32_t> prompt{'P', 'e', 'r', 'm', 'i', 's', 's', 'i', 'o', 'n'};
    std::printf("\nPermission");
    for (auto id : graft::generate(model, prompt, {.max_tokens = 54})) { std::printf("%c", char(id)); }
    std::printf("\n");
    return last < 0.5 ? 0 : 1;
}
