#include "graft/ops/nf4_matmul/cpu.hpp"

#include "support.hpp"

// nf4_matmul: rows x In x Out, blocks of 64. Decoding is part of the time and not of the operations.
namespace {

using namespace graft_bench;

template <class T> struct Case {
    Acts<T, dyn, Cpu> x, dy;
    Nf4Weight<Shape<dyn, dyn>, Cpu> w;

    Case(Inputs from, std::int64_t n, std::int64_t in, std::int64_t out)
        : x(from.input<T>(n, in)), dy(from.rows<T>(n, out))
    {
        const auto elements = std::size_t(in * out);
        std::vector<float> drawn(elements), absmax(nf4::blocks_of(elements, nf4::default_block));
        std::vector<std::uint8_t> codes(nf4::bytes_of(elements));
        from.fill(View<float>{drawn.data(), out, in, in}, 0.1);
        nf4::quantize<float>(drawn, nf4::default_block, codes, absmax);
        w = {out, in, codes, absmax, nf4::default_block};
    }

    auto forward(TapeRef tape) { return nf4_matmul(x.on(tape.tape), w); }
    void grads(auto&& use) { use(x.grad()); }
    Work forward_work() const { return {.flops = 2.0 * double(x.rows()) * double(x.cols()) * double(dy.cols())}; }
    Work backward_work() const { return forward_work(); }
};

const bool known = add<Case>("nf4_matmul/1024x576x576", smol::rows, smol::dim, smol::dim)
                   && add<Case>("nf4_matmul/1024x576x1536", smol::rows, smol::dim, smol::ffn)
                   && add<Case>("nf4_matmul/1024x1536x576", smol::rows, smol::ffn, smol::dim)
                   && add<Case>("nf4_matmul/32x576x1536", std::int64_t(32), smol::dim, smol::ffn);

}  // namespace
