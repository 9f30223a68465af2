#include "graft/ops/nf4_matmul.hpp"

#include "device_support.hpp"

using namespace graft;
using namespace graft_test;

namespace {

// A weight as codes, and what it stands for: each value rounded to f32 and then to T.
struct QuantizedWeight {
    std::vector<std::uint8_t> packed;
    std::vector<float> absmax;
    Matrix values;

    template <class T> static QuantizedWeight make(std::int64_t rows, std::int64_t cols, int block, nf4::Type type)
    {
        const auto n = std::size_t(rows * cols);
        const Matrix drawn = numbers<float>(rows, cols, 7);
        std::vector<float> weights(drawn.at.begin(), drawn.at.end());
        std::fill(weights.begin(), weights.begin() + std::ptrdiff_t(std::min<std::size_t>(n, 32)), 0.0f);
        QuantizedWeight made{std::vector<std::uint8_t>(nf4::bytes_of(n)),
                             std::vector<float>(nf4::blocks_of(n, std::size_t(block))), Matrix(rows, cols)};
        nf4::quantize<float>(weights, block, made.packed, made.absmax);
        std::vector<float> decoded(n);
        nf4::dequantize<float>(made.packed, made.absmax, block, 0, decoded, type);
        for (std::size_t i = 0; i < n; ++i) { made.values.at[i] = double(T(decoded[i])); }
        return made;
    }
};

Matrix transposed(const Matrix& a)
{
    Matrix b(a.cols, a.rows);
    for (std::int64_t i = 0; i < a.rows; ++i) {
        for (std::int64_t j = 0; j < a.cols; ++j) { b(j, i) = a(i, j); }
    }
    return b;
}

struct Nf4Shape {
    std::int64_t rows, in, out;
    int block;
    nf4::Type type;
};
// 64 x 172: blocks straddle rows. Odd extents: bytes do, and the last byte is half used. Out 1: one row is the weight.
constexpr Nf4Shape nf4_shapes[] = {{1, 64, 32, 64, nf4::Type::nf4},  {3, 172, 64, 64, nf4::Type::nf4},
                                   {7, 33, 13, 32, nf4::Type::nf4},  {4, 7, 1, 64, nf4::Type::nf4},
                                   {9, 64, 172, 64, nf4::Type::fp4}, {5, 96, 50, 128, nf4::Type::nf4}};

}  // namespace

TEST_CASE_TEMPLATE("nf4_matmul: the product with the decoded weight, and its gradient", Case, GRAFT_TEST_TYPES)
{
    using Dev = typename Case::Dev;
    using T = typename Case::T;
    if (!ready<Dev>()) { return; }
    for (const auto& shape : nf4_shapes) {
        const auto rows = shape.rows, in = shape.in, out = shape.out;
        const auto block = shape.block;
        const auto type = shape.type;
        CAPTURE(rows);
        CAPTURE(in);
        CAPTURE(out);
        const auto from = pool<Dev>();
        const auto w = QuantizedWeight::make<T>(out, in, block, type);
        const auto x = numbers<T>(rows, in, 1), dy = numbers<T>(rows, out, 2);
        const auto weight = Nf4Weight<Shape<dyn, dyn>, Dev>(out, in, w.packed, w.absmax, block, type, from);

        Tape tape;
        auto x_there = upload<T, Shape<dyn, dyn>>(x, from);
        x_there.on(&tape).want_grad();
        const auto y = nf4_matmul(x_there, weight);
        const auto again = nf4_matmul(x_there, weight);
        CHECK(distance(download(y), times_transposed(x, w.values)) < tolerance<T>(in));
        CHECK(download(y).at == download(again).at);
        seed(y, dy);
        seed(again, dy);
        tape.run();
        Matrix dx = times_transposed(dy, transposed(w.values));
        for (double& value : dx.at) { value *= 2; }
        CHECK(distance(download(x_there.grad()), dx) < 2 * tolerance<T>(out));  // rounded twice on the way
    }
}

TEST_CASE_TEMPLATE("nf4_matmul: no rows", Case, GRAFT_TEST_TYPES)
{
    using Dev = typename Case::Dev;
    using T = typename Case::T;
    if (!ready<Dev>()) { return; }
    const auto from = pool<Dev>(false);
    const auto w = QuantizedWeight::make<T>(8, 16, 64, nf4::Type::nf4);
    const auto weight = Nf4Weight<Shape<8, 16>, Dev>(8, 16, w.packed, w.absmax, 64, nf4::Type::nf4, from);
    CHECK(nf4_matmul(Acts<T, 16, Dev>(0, from), weight).rows() == 0);
}

TEST_CASE_TEMPLATE("nf4_matmul: scales that stay nested give the bits of decoded ones", Case, GRAFT_TEST_TYPES)
{
    using Dev = typename Case::Dev;
    using T = typename Case::T;
    if (!ready<Dev>()) { return; }
    const auto from = pool<Dev>();
    const std::int64_t out = 101, in = 172;  // 272 blocks: two blocks of scales, the second short
    const auto w = QuantizedWeight::make<T>(out, in, 64, nf4::Type::nf4);
    const auto nested = nf4::nest(w.absmax);
    auto decoded = w.absmax;
    nf4::unnest(nested, decoded);
    const Nf4Weight<Shape<dyn, dyn>, Dev> small(out, in, w.packed, nested, 64, nf4::Type::nf4, from);
    const Nf4Weight<Shape<dyn, dyn>, Dev> plain(out, in, w.packed, decoded, 64, nf4::Type::nf4, from);
    CHECK(small.bytes() == 101 * 172 / 2 + 272 + (2 + 256) * 4);
    CHECK(plain.bytes() == 101 * 172 / 2 + 272 * 4);

    Tape tape;
    auto x = upload<T, Shape<dyn, dyn>>(numbers<T>(5, in, 1), from);
    auto x_again = upload<T, Shape<dyn, dyn>>(numbers<T>(5, in, 1), from);
    x.on(&tape).want_grad();
    x_again.on(&tape).want_grad();
    const auto y = nf4_matmul(x, small), y_again = nf4_matmul(x_again, plain);
    CHECK(download(y).at == download(y_again).at);
    seed(y, numbers<T>(5, out, 2));
    seed(y_again, numbers<T>(5, out, 2));
    tape.run();
    CHECK(download(x.grad()).at == download(x_again.grad()).at);
}

#if defined(__CUDACC__)
TEST_CASE_TEMPLATE("nf4_matmul: every variant that fits gives the product", Case, GRAFT_TEST_TYPES)
{
    using T = typename Case::T;
    if (!ready<Cuda>()) { return; }
    for (const auto& shape : nf4_shapes) {
        const auto rows = shape.rows, in = shape.in, out = shape.out;
        const auto block = shape.block;
        const auto type = shape.type;
        CAPTURE(in);
        const auto from = pool<Cuda>();
        const auto w = QuantizedWeight::make<T>(out, in, block, type);
        const auto x = numbers<T>(rows, in, 1);
        const auto x_there = upload<T, Shape<dyn, dyn>>(x, from);
        const auto weight = Nf4Weight<Shape<dyn, dyn>, Cuda>(out, in, w.packed, w.absmax, block, type, from);
        const Nf4MatmulProblem problem{rows, in, out};
        kernel<Nf4MatmulOp, Cuda>::Variants::all(problem, machine(), [&](auto variant) {
            CAPTURE(std::string(decltype(variant)::name));
            const auto scratch = Buffer<std::byte, Cuda>(std::int64_t(variant.template workspace<T>(problem)), from);
            auto y = Acts<T, dyn, Cuda>(rows, out, from);
            variant.forward(y.view(), x_there.view(), weight.view(), scratch.data(), from->stream());
            CHECK(distance(download(y), times_transposed(x, w.values)) < tolerance<T>(in));
        });
    }
}

TEST_CASE("nf4_matmul: scratch never holds the whole weight, nor more than 8 MiB of it")
{
    const Nf4MatmulProblem problems[] = {{512, 2048, 2048}, {64, 14336, 4096}, {8, 64, 172}};
    for (const auto& p : problems) {
        const auto whole = std::size_t(p.in * p.out) * sizeof(bf16);
        const auto forward = gpu::Nf4Chunks::bytes<bf16>(gpu::Nf4Chunks::chunk<bf16>(p.out, p.in), p.in);
        const auto backward = gpu::Nf4Chunks::bytes<bf16>(p.out, gpu::Nf4Chunks::chunk<bf16>(p.in, p.out));
        for (const std::size_t bytes : {forward, backward}) {
            CHECK(bytes <= whole / 4 + 256);
            CHECK(bytes <= (std::size_t{8} << 20) + 256);
        }
    }
}
#endif
