#include "graft/ops/add/cpu.hpp"

#include "support.hpp"

// add, as the residual sum. Backward copies dy into da; db takes over dy's memory.
namespace {

using namespace graft_bench;

template <class T> struct Case {
    Acts<T, dyn, Cpu> a, b, dy;

    Case(Inputs in, std::int64_t n, std::int64_t d) : a(in.input<T>(n, d)), b(in.input<T>(n, d)), dy(in.rows<T>(n, d))
    {}

    auto forward(TapeRef tape) { return a.on(tape.tape) + b; }
    void grads(auto&& use) { use(a.grad()), use(b.grad()); }
    double bytes() const { return double(a.rows() * a.cols()) * sizeof(T); }
    Work forward_work() const { return {.bytes = 3 * bytes()}; }
    Work backward_work() const { return {.bytes = 2 * bytes()}; }
};

const bool known = add<Case>("add/1024x576", smol::rows, smol::dim);

}  // namespace
