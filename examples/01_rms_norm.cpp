// Chapter 1: one op, what it records on the tape, and its gradient, checked against finite differences.
#include <cmath>
#include <cstdio>

#include <graft/autograd/gradcheck.hpp>
#include <graft/cpu.hpp>

using graft::Cpu, graft::Shape, graft::dyn;

int main()
{
    // Two rows of four. The width is in the type: a weight of five would not compile. f64, so that differences are
    // exact enough to compare with; the same op runs in f32 and bf16.
    graft::Tensor<double, Shape<dyn, 4>, Cpu> x(2);
    graft::Tensor<double, Shape<4>, Cpu> one(1, 4);
    for (int j = 0; j < 4; ++j) {
        x.view().row(0)[j] = j + 1;      // 1 2 3 4: root-mean-square 2.7386
        x.view().row(1)[j] = 7;          // 7 7 7 7: root-mean-square 7
        one.data()[j] = j == 3 ? 2 : 1;  // the weight doubles the last column
    }
    graft::Param<double, Shape<4>, Cpu> w(one);  // a Param is trained; a Frozen has no gradient, by type

    // A tape in x, and every op on it records how to go back.
    graft::Tape tape;
    x.on(&tape).want_grad();
    const auto y = graft::rms_norm(x, w);
    for (int i = 0; i < 2; ++i) {
        std::printf("x = ");
        for (int j = 0; j < 4; ++j) { std::printf("%7.4f ", x.view().row(i)[j]); }
        std::printf("   rms_norm(x) = ");
        for (int j = 0; j < 4; ++j) { std::printf("%7.4f ", y.view().row(i)[j]); }
        std::printf("\n");
    }
    std::printf("\non the tape:\n%s", tape.print().c_str());

    // A scalar to differentiate: probe(y) is a fixed random combination of all elements.
    const auto loss = graft::probe(y);
    tape.backward(loss);
    std::printf("\ngradient of the weight: ");
    for (int j = 0; j < 4; ++j) { std::printf("%8.5f ", w.grad().view().data[j]); }

    // The same by central differences, for every element and along random directions.
    const auto check =
        graft::gradcheck([&](graft::TapeRef) { return graft::probe(graft::rms_norm(x, w)); }, {{"x", x}, {"w", w}});
    std::printf("\nworst of all elements and directions: %s\n", check.text().c_str());

    const bool right = check.right() && std::abs(y.view().row(1)[0] - 1) < 1e-6;
    std::printf("%s\n", right ? "the gradient is right" : "THE GRADIENT IS WRONG");
    return right ? 0 : 1;
}
