// Chapter 6: an own op. Its comment is its specification, its front records the way back, its kernel sees only views.
#include <cmath>
#include <cstdio>

#include <graft/autograd/gradcheck.hpp>
#include <graft/cpu.hpp>

// Squared ReLU, an activation.
//
//   forward    y = max(0, x)^2
//   backward   dx += 2 max(0, x) dy
//
//   x, y    (N, D)   arithmetic in acc<T>, one rounding
//   saved   x
//
// Throws: nothing. Source: So et al. 2021, arXiv:2109.08668.
namespace own {

struct SquaredReluOp {};  // names the op in kernel<Op, Device>

template <graft::Float T, class S, graft::Device Dev>
graft::Tensor<T, S, Dev> squared_relu(const graft::Tensor<T, S, Dev>& x)
{
    using Kernel = graft::kernel<SquaredReluOp, Dev>;
    using graft::View;
    auto y = graft::empty_like(x);
    graft::compute(x.pool(), [&] { Kernel::forward(View<T>(y.view()), View<const T>(x.view())); });

    y.on(x.tape());
    if (graft::Tape* tape = x.tape(); tape != nullptr && x.needs_grad()) {
        y.want_grad();
        tape->record("squared_relu", y, [x = x.detached(), dx = x.grad(), dy = y.grad()] {
            const auto sink = dx.sink();  // the first writer assigns, later ones add
            graft::compute(x.pool(), [&] { Kernel::backward(sink, dy.view(), View<const T>(x.view())); });
        });
    }
    return y;
}

}  // namespace own

template <> struct graft::kernel<own::SquaredReluOp, graft::Cpu> {
    template <class T> static void forward(View<T> y, View<const T> x)
    {
        parallel_rows(x.rows, 16, 4 * x.cols(), [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) {
                for (std::int64_t j = 0; j < x.cols(); ++j) {
                    const acc<T> up = x.row(i)[j] > T(0.0f) ? acc<T>(x.row(i)[j]) : 0;
                    y.row(i)[j] = T(up * up);
                }
            }
        });
    }
    template <class T> static void backward(Sink<T> dx, View<const T> dy, View<const T> x)
    {
        parallel_rows(x.rows, 16, 4 * x.cols(), [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) {
                for (std::int64_t j = 0; j < x.cols(); ++j) {
                    const acc<T> up = x.row(i)[j] > T(0.0f) ? acc<T>(x.row(i)[j]) : 0;
                    dx.put(i, j, 2 * up * acc<T>(dy.row(i)[j]));
                }
            }
        });
    }
};

int main()
{
    graft::Acts<double, 5, graft::Cpu> x(3);
    for (std::int64_t i = 0; i < 15; ++i) { x.data()[i] = std::sin(double(i + 1)); }

    // Used twice, so that its gradient is written once and added once.
    const auto check = graft::gradcheck(
        [&](graft::TapeRef) { return graft::probe(own::squared_relu(x) + own::squared_relu(x + x)); }, {{"x", x}});
    std::printf("gradient of squared_relu: %s\n", check.text().c_str());

    // The same front in bf16: 3 and -3.
    graft::Acts<graft::bf16, graft::dyn, graft::Cpu> b(1, 2);
    b.data()[0] = graft::bf16(3.0f), b.data()[1] = graft::bf16(-3.0f);
    const auto y = own::squared_relu(b);
    std::printf("in bf16: 3 -> %g, -3 -> %g\n", double(y.data()[0]), double(y.data()[1]));
    return check.right() && y.data()[0] == 9.0f && y.data()[1] == 0.0f ? 0 : 1;
}
