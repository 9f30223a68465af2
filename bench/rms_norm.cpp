#include "graft/ops/rms_norm/cpu.hpp"

#include "support.hpp"

// rms_norm with a frozen weight, as in LoRA. Backward reads x and dy and writes dx.
namespace {

using namespace graft_bench;

template <class T> struct Case {
    Acts<T, dyn, Cpu> x, dy;
    Frozen<T, Shape<dyn>, Cpu> w;

    Case(Inputs in, std::int64_t n, std::int64_t d)
        : x(in.input<T>(n, d)), dy(in.rows<T>(n, d)), w(in.frozen<T, Shape<dyn>>(1, d))
    {}

    auto forward(TapeRef tape) { return rms_norm(x.on(tape.tape), w); }
    void grads(auto&& use) { use(x.grad()); }
    double bytes() const { return double(x.rows() * x.cols()) * sizeof(T); }
    Work forward_work() const { return {.bytes = 2 * bytes()}; }
    Work backward_work() const { return {.bytes = 3 * bytes()}; }
};

const bool known = add<Case>("rms_norm/1024x576", smol::rows, smol::dim);

}  // namespace
