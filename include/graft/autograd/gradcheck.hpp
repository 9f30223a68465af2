#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "graft/autograd/param.hpp"
#include "graft/autograd/tape.hpp"
#include "graft/core/random.hpp"

// Finite differences against the tape: is the backward of an op, a layer or a model the derivative of its forward?
//
//   auto x = Acts<f64, 8, Cpu>(3);                          // filled with something
//   const auto result = gradcheck([&](TapeRef) { return probe(my_op(x, w)); }, {{"x", x}, {"w", w}});
//   if (result.worst > 1e-6) { std::puts(result.text().c_str()); }
//
//   loss      called as loss(tape) with a tape once, then with no_tape; returns a scalar in f64. It must be a pure
//             function of the inputs (a fixed random key, say), and must not work in place on them: hand such an op a
//             result of another op. A result that is no scalar becomes one by probe()
//   inputs    f64 tensors and Params, by name. A tensor is told to want its gradient and is put on the tape; all must
//             outlive the call. Their values are moved and put back to the bit, their gradients are cleared
//   probe     sum of c y over all elements of y, c uniform in [-1, 1), keyed by the seed alone
//
// The derivative f'(0) along a line is (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h: in f64, wrong by h^4 f'''''
// and by rounding / h. It is taken along random directions through all inputs together, which sees every element, and
// for some elements of each input alone, which says where.
//   direction v    error |g v - f'| / max(|g v|, |f'|, |g|)         v standard normal: |g| is what g v is like
//   element i      error |g_i - f'| / max(|g_i|, |f'|, rms of g over this input)
// An input without a gradient counts as one of zeros: a forgotten branch is seen. NaN counts as infinitely wrong.
//
// On the CPU only. Does not compile: an input that is Frozen, not in f64, or const. Throws: what the loss throws.
namespace graft {

struct GradcheckOptions {
    double        step = 1e-3;        // h
    int           directions = 3;
    std::int64_t  elements = 16;      // of each input, at most: spread evenly over it; 0: none
    std::uint64_t seed = 1;
};

// Something to differentiate by: a tensor or a Param.
class GradcheckInput {
public:
    template <class S> GradcheckInput(std::string called, Tensor<f64, S, Cpu>& x)
        : name(std::move(called)), value(x.view()), tensor_(&x),
          attach_([](void* tensor, Tape* tape) { static_cast<Tensor<f64, S, Cpu>*>(tensor)->on(tape); })
    {
        grad = x.want_grad().grad();
    }
    template <class S> GradcheckInput(std::string called, Param<f64, S, Cpu>& w)
        : name(std::move(called)), value(w.value().view()), grad(w.grad()) {}
    template <class W> GradcheckInput(std::string, W&)
    {
        static_assert(detail::never<W>, "gradcheck: an input must be a Tensor or a Param in f64 on the CPU: a Frozen "
                                        "weight has no gradient.");
    }

    void put_on(Tape* tape) const
    {
        if (attach_ != nullptr) { attach_(tensor_, tape); }
    }
    std::int64_t size() const { return value.rows * value.cols(); }
    double&      at(std::int64_t i) const { return value.row(i / value.cols())[i % value.cols()]; }

    std::string    name;
    View<f64>      value;
    Grad<f64, Cpu> grad;

private:
    void* tensor_ = nullptr;
    void (*attach_)(void*, Tape*) = nullptr;
};

struct GradcheckResult {
    double      worst = 0;                       // the largest error
    std::string where;                           // of which direction or element
    double      formed = 0, differences = 0;     // what the tape gave there, and what finite differences gave

    std::string text() const
    {
        char line[160];
        std::snprintf(line, sizeof line, ": the tape gives %.17g, differences give %.17g, relative error %.3g", formed,
                      differences, worst);
        return where + line;
    }
};

template <Float T, class S> Tensor<acc<T>, Shape<1>, Cpu> probe(const Tensor<T, S, Cpu>& y, std::uint64_t seed = 1)
{
    using A = acc<T>;
    const auto weight = [random = Philox{seed}](std::int64_t i, std::int64_t j) {
        return A(2.0 * double(random(std::uint64_t(i), std::uint64_t(j))[0]) * 0x1p-32 - 1.0);
    };
    auto loss = Tensor<A, Shape<1>, Cpu>(1, 1, y.pool());
    compute(y.pool(), [&] {
        double sum = 0;
        for (std::int64_t i = 0; i < y.rows(); ++i) {
            for (std::int64_t j = 0; j < y.cols(); ++j) { sum += double(weight(i, j)) * double(y.view().row(i)[j]); }
        }
        loss.data()[0] = A(sum);
    });
    loss.on(y.tape());
    if (Tape* tape = y.tape(); tape != nullptr && y.needs_grad()) {
        loss.want_grad();
        tape->record("probe", loss, [weight, dy = y.grad(), dloss = loss.grad(), rows = y.rows(), cols = y.cols()] {
            const auto sink = dy.sink();
            compute(dy.pool(), [&] {
                const A up = dloss.view().data[0];
                for (std::int64_t i = 0; i < rows; ++i) {
                    for (std::int64_t j = 0; j < cols; ++j) { sink.put(i, j, up * weight(i, j)); }
                }
            });
        });
    }
    return loss;
}

namespace detail {

// f'(0) of f(t) = the loss at the inputs moved by t along `direction`, one vector of elements an input.
template <class Loss>
double derivative(Loss& loss, const std::vector<GradcheckInput>& inputs,
                  const std::vector<std::vector<double>>& direction, double step)
{
    std::vector<std::vector<double>> kept(inputs.size());
    for (std::size_t k = 0; k < inputs.size(); ++k) {
        for (std::int64_t i = 0; i < inputs[k].size(); ++i) { kept[k].push_back(inputs[k].at(i)); }
    }
    const auto move_by = [&](double t) {
        for (std::size_t k = 0; k < inputs.size(); ++k) {
            if (direction[k].empty()) { continue; }
            for (std::int64_t i = 0; i < inputs[k].size(); ++i) {
                inputs[k].at(i) = kept[k][std::size_t(i)] + t * direction[k][std::size_t(i)];
            }
        }
    };
    const auto at = [&](double t) {
        move_by(t);
        return item(loss(TapeRef(no_tape)));
    };
    const double near = at(step) - at(-step), far = at(2 * step) - at(-2 * step);
    move_by(0);
    return (8 * near - far) / (12 * step);
}

}  // namespace detail

template <class Loss>
GradcheckResult gradcheck(Loss&& loss, const std::vector<GradcheckInput>& inputs, const GradcheckOptions& options = {})
{
    std::vector<std::vector<double>> gradient(inputs.size());
    {
        Tape tape;
        for (const auto& input : inputs) { input.grad.clear(), input.put_on(&tape); }
        tape.backward(loss(TapeRef(tape)));
    }
    double squares = 0;
    for (std::size_t k = 0; k < inputs.size(); ++k) {
        const auto& input = inputs[k];
        input.put_on(nullptr);
        for (std::int64_t i = 0; i < input.size(); ++i) {
            const auto view = input.grad.view();
            const std::int64_t cols = input.value.cols();
            gradient[k].push_back(view.data == nullptr ? 0.0 : view.row(i / cols)[i % cols]);
            squares += gradient[k].back() * gradient[k].back();
        }
        input.grad.clear();
    }

    GradcheckResult result;
    const auto note = [&](std::string where, double formed, double differences, double size) {
        const double off = std::abs(formed - differences);
        double error = off == 0 ? 0 : off / size;
        if (!(error < HUGE_VAL)) { error = HUGE_VAL; }
        if (error > result.worst || result.where.empty()) { result = {error, std::move(where), formed, differences}; }
    };

    const Philox random{options.seed};
    for (int d = 0; d < options.directions; ++d) {
        std::vector<std::vector<double>> direction(inputs.size());
        double along = 0;
        for (std::size_t k = 0; k < inputs.size(); ++k) {
            for (std::int64_t i = 0; i < inputs[k].size(); ++i) {
                const auto words = random((std::uint64_t(d) << 32) | k, std::uint64_t(i));
                direction[k].push_back(Philox::normal(words[0], words[1]));
                along += direction[k].back() * gradient[k][std::size_t(i)];
            }
        }
        const double f = detail::derivative(loss, inputs, direction, options.step);
        note("direction " + std::to_string(d), along, f,
             std::max({std::abs(along), std::abs(f), std::sqrt(squares)}));
    }
    for (std::size_t k = 0; k < inputs.size(); ++k) {
        double own = 0;
        for (double g : gradient[k]) { own += g * g; }
        const std::int64_t size = inputs[k].size(), count = std::min(size, options.elements);
        for (std::int64_t e = 0; e < count; ++e) {
            const std::int64_t i = count == 1 ? 0 : e * (size - 1) / (count - 1);
            std::vector<std::vector<double>> direction(inputs.size());
            direction[k].resize(std::size_t(size));
            direction[k][std::size_t(i)] = 1;
            const double g = gradient[k][std::size_t(i)];
            const double f = detail::derivative(loss, inputs, direction, options.step);
            note(inputs[k].name + "[" + std::to_string(i / inputs[k].value.cols()) + ", " +
                     std::to_string(i % inputs[k].value.cols()) + "]",
                 g, f, std::max({std::abs(g), std::abs(f), std::sqrt(own / double(size))}));
        }
    }
    return result;
}

}  // namespace graft
