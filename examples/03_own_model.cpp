// Chapter 3: an own model. A changed block in the library's Llama: attention and MLP side by side, from one norm, as in
// GPT-J and PaLM. Its gradients are checked as a whole, and it learns the same task as the library's block.
#include <cstdio>

#include <graft/autograd/gradcheck.hpp>
#include <graft/cpu.hpp>

using namespace graft;

// Everything that LlamaBlock is, but for one norm less and one sum more. Widths that do not meet would not compile.
template <LlamaShape S, class Kit> struct ParallelBlock {
    using T = typename Kit::T;
    using Dev = typename Kit::Dev;
    typename Kit::template Norm<S.dim> norm;
    LlamaAttention<S, Kit> attn;
    LlamaMlp<S, Kit> mlp;

    ParallelBlock(const ModelConfig& c, const std::shared_ptr<Pool<Dev>>& pool)
        : norm(c.dim, c.eps, pool), attn(c, pool), mlp(c, pool)
    {}

    Acts<T, S.dim, Dev> operator()(const Acts<T, S.dim, Dev>& x, const Context<T, Dev>& context) const
    {
        const auto h = norm(x);
        return x + attn(h, context) + mlp(h, context);
    }
    // The names of parts are the names in files: loading, saving, counting and optimising all go through this line.
    static void parts(auto& self, auto&& part)
    {
        part("input_layernorm", self.norm), part("self_attn", self.attn), part("mlp", self.mlp);
    }
};

inline constexpr LlamaShape shape{.vocab = 16, .dim = 32, .ffn = 64, .layers = 2, .heads = 4, .kv_heads = 2};

// The task: a document is a random half and the same half again; the second half can be predicted, from position 8 on.
struct Copies {
    static constexpr int half = 8, documents = 16, rows = 2 * half * documents;
    Buffer<std::int32_t, Cpu> ids{rows};
    std::vector<std::int32_t> labels = std::vector<std::int32_t>(rows, ignore);

    explicit Copies(int step)
    {
        for (int r = 0; r < rows; ++r) {
            const int t = r % (2 * half), drawn = t < half ? r : r - half;
            ids.data()[r] = std::int32_t(Philox{5}.below(shape.vocab, std::uint64_t(step), std::uint64_t(drawn)));
            if (r > 0 && t > half) { labels[std::size_t(r - 1)] = ids.data()[r]; }
        }
    }
    int targets() const { return documents * (half - 1); }
    template <Float T, class Rope> Context<T, Cpu> context(const Rope& rope) const
    {
        return context_for<T, Cpu>(std::vector<std::int64_t>(documents, 2 * half), rope);
    }
};

template <class Model> double learn(const char* name)
{
    Model model(config_of(shape));
    init(model, 1, 0.08);
    AdamW adamw(model, {.lr = 3e-3});
    std::int64_t parameters = 0;
    for (const auto& tensor : adamw.trained()) { parameters += tensor.value.rows() * tensor.value.cols(); }
    const auto rope = model.positions(2 * Copies::half);
    double first = 0, last = 0;
    for (int step = 0; step < 400; ++step) {
        const Copies data(step);
        Tape tape;
        const auto loss = model.loss(tape, data.ids, data.context<float>(rope), data.labels, 1.0 / data.targets());
        tape.backward(loss);
        adamw.step().check();
        last = item(loss), first = step == 0 ? last : first;
    }
    std::printf("%-14s %6lld parameters   loss %.3f -> %.3f\n", name, (long long)parameters, first, last);
    return last;
}

int main()
{
    // The whole model in f64, through the tape: is every gradient the derivative of the loss?
    Llama<shape, FullKit<double>, ParallelBlock> exact(config_of(shape));
    init(exact, 1, 0.3);
    std::vector<GradcheckInput> inputs;
    leaves(exact, [&](const std::string& name, auto& leaf) { inputs.emplace_back(name, leaf); });
    const Copies data(0);
    const auto context = data.context<double>(exact.positions(2 * Copies::half));
    const auto check = gradcheck(
        [&](TapeRef tape) { return exact.loss(tape, data.ids, context, data.labels, 1.0 / data.targets()); }, inputs);
    std::printf("%zu tensors: %s\n\n", inputs.size(), check.text().c_str());

    learn<Llama<shape, FullKit<float>>>("LlamaBlock");
    const double loss = learn<Llama<shape, FullKit<float>, ParallelBlock>>("ParallelBlock");
    return check.right() && loss < 0.5 ? 0 : 1;
}
