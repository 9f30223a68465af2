#include "graft/ops/lora/cpu.hpp"

#include "support.hpp"

// lora: rows x In x Out, rank 16. Few operations a byte: its limit is the smaller of what products and copies allow.
// Forward reads x and adds to y; backward reads dy and x and writes dx.
namespace {

using namespace graft_bench;

template <class T> struct Case {
    Acts<T, dyn, Cpu> x, y, dy;
    Param<T, Shape<dyn, dyn>, Cpu> a, b;

    Case(Inputs from, std::int64_t n, std::int64_t in, std::int64_t out, std::int64_t rank)
        : x(from.input<T>(n, in)), y(from.rows<T>(n, out)), dy(from.rows<T>(n, out)), a(from.param<T>(rank, in, 0.1)),
          b(from.param<T>(out, rank, 0.1))
    {}

    auto forward(TapeRef tape) { return lora(y, x.on(tape.tape), a, b, 2.0); }
    void grads(auto&& use) { use(x.grad()), use(a.grad()), use(b.grad()); }
    double in() const { return double(x.cols()); }
    double out() const { return double(y.cols()); }
    double rows() const { return double(x.rows()); }
    double flops() const { return 2.0 * rows() * double(a.value().rows()) * (in() + out()); }
    Work forward_work() const { return {.flops = flops(), .bytes = rows() * (in() + 2 * out()) * sizeof(T)}; }
    Work backward_work() const { return {.flops = 2 * flops(), .bytes = rows() * (2 * in() + out()) * sizeof(T)}; }
};

const bool known = add<Case>("lora/1024x576x1536", smol::rows, smol::dim, smol::ffn, smol::rank)
                   && add<Case>("lora/1024x1536x576", smol::rows, smol::ffn, smol::dim, smol::rank);

}  // namespace
