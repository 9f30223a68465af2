#include "graft/ops/matmul/cpu.hpp"

#include "support.hpp"

// matmul: rows x In x Out. Backward of a frozen weight is dx alone; "trained" is dx and dW.
namespace {

using namespace graft_bench;

template <class T, bool Trained> struct Product {
    using Weight = std::conditional_t<Trained, Param<T, Shape<dyn, dyn>, Cpu>, Frozen<T, Shape<dyn, dyn>, Cpu>>;
    Acts<T, dyn, Cpu> x, dy;
    Weight w;

    Product(Inputs from, std::int64_t n, std::int64_t in, std::int64_t out)
        : x(from.input<T>(n, in)), dy(from.rows<T>(n, out))
    {
        if constexpr (Trained) {
            w = from.param<T>(out, in, 0.1);
        } else {
            w = from.frozen<T>(out, in, 0.1);
        }
    }

    auto forward(TapeRef tape) { return matmul(x.on(tape.tape), w); }
    void grads(auto&& use)
    {
        use(x.grad());
        if constexpr (Trained) { use(w.grad()); }
    }
    double flops() const { return 2.0 * double(x.rows()) * double(x.cols()) * double(dy.cols()); }
    Work forward_work() const { return {.flops = flops()}; }
    Work backward_work() const { return {.flops = (Trained ? 2 : 1) * flops()}; }
};
template <class T> struct Case : Product<T, false> {
    using Product<T, false>::Product;
};
template <class T> struct TrainedCase : Product<T, true> {
    using Product<T, true>::Product;
};

const bool known =
    add<Case>("matmul/1024x576x576", smol::rows, smol::dim, smol::dim)
    && add<Case>("matmul/1024x576x1536", smol::rows, smol::dim, smol::ffn)
    && add<Case>("matmul/1024x1536x576", smol::rows, smol::ffn, smol::dim)
    && add<Case>("matmul/32x576x1536", std::int64_t(32), smol::dim, smol::ffn)
    && add_part<TrainedCase>("matmul/trained/1024x576x1536", Part::backward, smol::rows, smol::dim, smol::ffn);

}  // namespace
