#pragma once
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "graft/cpu.hpp"
#include "support.hpp"
#include "worker.hpp"

// What train_step measures: SmolLM2-135M with random weights, LoRA of rank 16 on all linears over a dense or NF4 base,
// one AdamW step over the same two documents of 512 tokens, gradients clipped to 1.
namespace graft_bench {

inline ModelConfig smol_config()
{
    auto config = config_of({.vocab = int(smol::vocab),
                             .dim = int(smol::dim),
                             .ffn = int(smol::ffn),
                             .layers = int(smol::layers),
                             .heads = int(smol::heads),
                             .kv_heads = int(smol::kv_heads)});
    config.tied = true;
    config.rope.theta = 1e5;
    return config;
}

// Values of a tensor, drawn from its name: the same for every T. With `half` they are rounded to bf16 first.
template <class T> void draw(View<T> to, const std::string& name, bool half, double scale)
{
    Inputs in{half, stream_of(name.data(), name.size())};
    in.fill(to, scale);
}

template <Float T> struct Subject {
    AnyModel<T> model;
    double weights = 0;           // bytes of all parameters
    const double b_scale = 0.02;  // B starts at 0 in training; here it does not, so that every gradient counts

    Subject(bool nf4, bool half) : model(make_model<T>(smol_config(), {.base = nf4 ? Base::nf4 : Base::frozen}))
    {
        modules(model, [&](const std::string& name, auto& module) {
            using Module = std::remove_cvref_t<decltype(module)>;
            if constexpr (is_any_linear<Module>) { module.adapt({.rank = smol::rank, .alpha = 2 * smol::rank}); }
            if constexpr (requires { module.weight.view().codes; }) { quantized(module, name); }
        });
        leaves(model, [&](const std::string& name, auto& leaf) {
            if constexpr (requires { leaf.value(); }) {
                auto& value = leaf.value();
                using Value = std::remove_pointer_t<decltype(value.data())>;
                const double bound = name.ends_with("lora_A.weight")   ? 1 / std::sqrt(double(value.cols()))
                                     : name.ends_with("lora_B.weight") ? b_scale
                                                                       : 0.02 * std::sqrt(3.0);
                if (name.find("norm") != std::string::npos) {
                    std::fill_n(value.data(), value.cols(), Value(1.0f));
                } else {
                    draw(View<Value>(value.view()), name, half, bound);
                }
                weights += double(value.rows() * value.cols()) * sizeof(Value);
            } else {
                weights += double(leaf.bytes());
            }
        });
        for (const auto& tensor : trained_tensors(model)) { refresh(tensor); }
    }

    template <class Module> static void quantized(Module& module, const std::string& name)
    {
        const auto elements = std::size_t(module.in * module.out);
        std::vector<float> drawn(elements), absmax(nf4::blocks_of(elements, nf4::default_block));
        std::vector<std::uint8_t> codes(nf4::bytes_of(elements));
        draw(View<float>{drawn.data(), module.out, module.in, module.in}, name, false, 0.02 * std::sqrt(3.0));
        nf4::quantize<float>(drawn, nf4::default_block, codes, absmax);
        module.weight = {module.out, module.in, codes, absmax, nf4::default_block};
    }
};

// Documents of random tokens; every row but a document's last has a label.
struct Documents {
    Buffer<std::int32_t, Cpu> ids;
    std::vector<std::int32_t> labels;
    std::vector<std::int64_t> lengths;

    Documents(std::int64_t count, std::int64_t tokens)
        : ids(count * tokens), labels(std::size_t(count * tokens), ignore), lengths(std::size_t(count), tokens)
    {
        Inputs in;
        for (std::int64_t i = 0; i < count * tokens; ++i) {
            ids.data()[i] = in.below(smol::vocab);
            if (i % tokens != 0) { labels[std::size_t(i - 1)] = ids.data()[i]; }
        }
    }
    double targets() const { return double(labels.size() - lengths.size()); }
};

template <Float T, class Rope>
double loss_and_gradients(const AnyModel<T>& model, const Documents& data, const Rope& rope)
{
    auto context = context_for<T, Cpu>(data.lengths, rope);
    context.training = true;
    Tape tape;
    const auto loss = model.loss(tape, data.ids, context, data.labels, 1.0 / data.targets());
    tape.backward(loss);
    return item(loss);
}

// One step for each line of the input; the first is not timed by whoever asks.
template <Float T> int work(bool nf4)
{
    Subject<T> subject(nf4, false);
    AdamW<T> adamw(subject.model, {.lr = 2e-4, .clip = 1.0});
    const Documents data(smol::rows / smol::tokens, smol::tokens);
    const auto rope = subject.model.positions(smol::tokens);
    char line[64];
    while (std::fgets(line, sizeof line, stdin) != nullptr) {
        double loss = 0, norm = 0;
        const double seconds = seconds_of([&] {
            loss = loss_and_gradients(subject.model, data, rope);
            norm = adamw.step().grad_norm;
        });
        std::printf("%.6f %.6f %.6f %.0f %.0f %.0f\n", seconds, loss, norm, peak_resident_kib(), subject.weights,
                    double(Pool<Cpu>::common()->peak_bytes()));
        std::fflush(stdout);
    }
    return 0;
}

// The errors of the loss and of all adapters' gradients together, of one row of 64 tokens, against f64 on the same
// values. A decoded NF4 weight is not rounded to T in f64, so that rounding counts.
struct Errors {
    double loss = 0, gradient = 0;
};

template <Float T> Errors errors(bool nf4)
{
    const Documents data(1, 64);
    constexpr bool half = std::same_as<T, bf16>;
    const auto run = [&](auto type, std::vector<double>& gradients) {
        using U = decltype(type);
        Subject<U> subject(nf4, half);
        const double loss = loss_and_gradients(subject.model, data, subject.model.positions(64));
        for (const auto& tensor : trained_tensors(subject.model)) {
            for (double value : doubles(tensor.grad.view())) { gradients.push_back(value); }
        }
        return loss;
    };
    std::vector<double> got, exact;
    const double loss = run(T(0.0f), got), wanted = run(double(), exact);
    return {std::abs(loss - wanted) / wanted, distance(got, exact)};
}

}  // namespace graft_bench
