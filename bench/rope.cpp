#include "graft/ops/rope/cpu.hpp"

#include "graft/nn/rope.hpp"
#include "support.hpp"

// rope on the nine query heads of 64, in place, backward too.
namespace {

using namespace graft_bench;

template <class T> struct Case {
    Acts<T, dyn, Cpu> x, dy;
    Context<T, Cpu> context;

    Case(Inputs in, std::int64_t n, std::int64_t heads, std::int64_t head)
        : x(in.input<T>(n, heads * head)), dy(in.rows<T>(n, heads * head))
    {
        std::vector<double> frequencies;
        for (std::int64_t i = 0; i < head; i += 2) { frequencies.push_back(std::pow(1e5, -double(i) / double(head))); }
        context = context_for<T, Cpu>({n / 2, n - n / 2}, rope_table<acc<T>, Cpu>(frequencies, n));
    }

    auto forward(TapeRef tape) { return rope(x.on(tape.tape), context); }
    void grads(auto&& use) { use(x.grad()); }
    Work forward_work() const { return {.bytes = 2 * double(x.rows() * x.cols()) * sizeof(T)}; }
    Work backward_work() const { return forward_work(); }
};

const bool known = add<Case>("rope/1024x9x64", smol::rows, smol::heads, smol::head);

}  // namespace
