#include "graft/ops/silu_mul/cpu.hpp"

#include "support.hpp"

// silu_mul, the gate of SwiGLU. Backward reads g, u and dh and writes dg and du.
namespace {

using namespace graft_bench;

template <class T> struct Case {
    Acts<T, dyn, Cpu> g, u, dy;

    Case(Inputs in, std::int64_t n, std::int64_t f)
        : g(in.input<T>(n, f, 4)), u(in.input<T>(n, f)), dy(in.rows<T>(n, f))
    {}

    auto forward(TapeRef tape) { return silu_mul(g.on(tape.tape), u); }
    void grads(auto&& use) { use(g.grad()), use(u.grad()); }
    double bytes() const { return double(g.rows() * g.cols()) * sizeof(T); }
    Work forward_work() const { return {.bytes = 3 * bytes()}; }
    Work backward_work() const { return {.bytes = 5 * bytes()}; }
};

const bool known = add<Case>("silu_mul/1024x1536", smol::rows, smol::ffn);

}  // namespace
