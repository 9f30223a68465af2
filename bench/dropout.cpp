#include "graft/ops/dropout/cpu.hpp"

#include "support.hpp"

// dropout at 0.1, on the input of an adapter. Ten rounds of Philox for four elements make it a matter of arithmetic.
namespace {

using namespace graft_bench;

template <class T> struct Case {
    Acts<T, dyn, Cpu> x, dy;
    Context<T, Cpu> context;

    Case(Inputs in, std::int64_t n, std::int64_t d)
        : x(in.input<T>(n, d)), dy(in.rows<T>(n, d)), context(context_for<T, Cpu>({n / 2, n - n / 2}, nullptr))
    {
        context.training = true;
        context.random = {1, 1};
    }

    auto forward(TapeRef tape) { return dropout(x.on(tape.tape), 0.1, 1, context); }
    void grads(auto&& use) { use(x.grad()); }
    Work forward_work() const { return {.bytes = 2 * double(x.rows() * x.cols()) * sizeof(T)}; }
    Work backward_work() const { return forward_work(); }
};

const bool known = add<Case>("dropout/1024x576", smol::rows, smol::dim);

}  // namespace
