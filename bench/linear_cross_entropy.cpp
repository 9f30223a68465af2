#include "graft/ops/linear_cross_entropy/cpu.hpp"

#include "support.hpp"

// linear_cross_entropy with a frozen head, every row scored, or only the last half of them. The gradient of h is
// formed in forward, so forward alone is the loss without a tape, and training is measured as one.
namespace {

using namespace graft_bench;

template <class T> struct Case {
    Acts<T, dyn, Cpu> h;
    Frozen<T, Shape<dyn, dyn>, Cpu> head;
    std::vector<std::int32_t> labels;
    Tensor<acc<T>, Shape<1>, Cpu> dy{1, 1};
    std::int64_t live = 0;

    Case(Inputs in, std::int64_t n, std::int64_t v, std::int64_t d, std::int64_t scored)
        : h(in.input<T>(n, d)), head(in.frozen<T>(v, d, 0.1)), live(scored)
    {
        dy.data()[0] = 1;
        for (std::int64_t i = 0; i < n; ++i) { labels.push_back(i < n - scored ? ignore : in.below(v)); }
    }

    auto forward(TapeRef tape) { return linear_cross_entropy(h.on(tape.tape), head, labels, 1.0 / double(live)); }
    void grads(auto&& use) { use(h.grad()); }
    Work forward_work() const { return {.flops = 2.0 * double(live) * double(head.value().rows() * h.cols())}; }
    Work backward_work() const { return forward_work(); }
};

bool add_scored(const std::string& name, Part part, std::int64_t scored)
{
    return add_part<Case>("linear_cross_entropy/" + name, part, smol::rows, smol::vocab, smol::dim, scored);
}
const bool known = add_scored("1024x576x49152", Part::forward, smol::rows)
                   && add_scored("1024x576x49152", Part::both, smol::rows)
                   && add_scored("512 of 1024 scored", Part::both, smol::rows / 2);

}  // namespace
