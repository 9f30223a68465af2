#include "graft/ops/cross_entropy/cpu.hpp"

#include "support.hpp"

// cross_entropy of ready logits, 256 rows, every label scored. Backward reads z and writes dz.
namespace {

using namespace graft_bench;

template <class T> struct Case {
    Acts<T, dyn, Cpu> z;
    Buffer<std::int32_t, Cpu> labels;
    Tensor<acc<T>, Shape<1>, Cpu> dy{1, 1};

    Case(Inputs in, std::int64_t n, std::int64_t v) : z(in.input<T>(n, v, 4)), labels(n)
    {
        dy.data()[0] = 1;
        for (std::int64_t i = 0; i < n; ++i) { labels.data()[i] = in.below(v); }
    }

    auto forward(TapeRef tape) { return cross_entropy(z.on(tape.tape), labels, 1.0 / double(z.rows())); }
    void grads(auto&& use) { use(z.grad()); }
    double bytes() const { return double(z.rows() * z.cols()) * sizeof(T); }
    Work forward_work() const { return {.bytes = bytes()}; }
    Work backward_work() const { return {.bytes = 2 * bytes()}; }
};

const bool known = add<Case>("cross_entropy/256x49152", std::int64_t(256), smol::vocab);

}  // namespace
