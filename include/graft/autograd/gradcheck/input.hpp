#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "graft/autograd/param.hpp"
#include "graft/autograd/tape.hpp"

// What gradcheck (autograd/gradcheck.hpp) differentiates by: a tensor or a Param in f64, behind one face.
namespace graft {

class GradcheckInput {
public:
    template <class S, Device Dev> GradcheckInput(std::string called, Tensor<f64, S, Dev>& x) : name(std::move(called))
    {
        x.want_grad();
        put_on_ = [&x](Tape* tape) { x.on(tape); };
        hold(x, x.grad());
    }
    template <class S, Device Dev> GradcheckInput(std::string called, Param<f64, S, Dev>& w) : name(std::move(called))
    {
        hold(w.value(), w.grad());
    }
    template <class W> GradcheckInput(std::string, W&)
    {
        static_assert(detail::never<W>, "gradcheck: an input must be a Tensor or a Param in f64: a Frozen weight has "
                                        "no gradient.");
    }

    void put_on(Tape* tape) const
    {
        if (put_on_) { put_on_(tape); }
    }
    std::int64_t size() const { return rows_ * cols_; }
    std::vector<double> values() const { return get_(); }
    void set(const double* values) const { set_(values); }
    std::vector<double> gradient() const { return gradient_(); }  // zeros where there is none
    void clear() const { clear_(); }
    std::shared_ptr<void> poison() const { return poison_(); }
    std::string element(std::int64_t i) const
    {
        return name + "[" + std::to_string(i / cols_) + ", " + std::to_string(i % cols_) + "]";
    }

    std::string name;

private:
    template <Device Dev>
    static std::vector<double> rows_of(const double* from, std::int64_t rows, std::int64_t stride, std::int64_t cols,
                                       const std::shared_ptr<Pool<Dev>>& pool)
    {
        std::vector<double> values(std::size_t(rows * cols));
        for (std::int64_t i = 0; i < rows; ++i) {
            memory<Dev>::copy(values.data() + i * cols, from + i * stride, std::size_t(cols) * sizeof(double),
                              pool->stream());
        }
        return values;
    }
    template <class S, Device Dev> void hold(Tensor<f64, S, Dev>& x, const Grad<f64, Dev>& grad)
    {
        rows_ = x.rows(), cols_ = x.cols();
        // Row by row: what lies between rows is nobody's.
        get_ = [&x] { return rows_of<Dev>(x.data(), x.rows(), x.stride(), x.cols(), x.pool()); };
        set_ = [&x](const double* values) {
            for (std::int64_t i = 0; i < x.rows(); ++i) {
                memory<Dev>::copy(x.data() + i * x.stride(), values + i * x.cols(),
                                  std::size_t(x.cols()) * sizeof(double), x.pool()->stream());
            }
        };
        gradient_ = [grad, rows = rows_, cols = cols_] {
            if (!grad.written()) { return std::vector<double>(std::size_t(rows * cols), 0.0); }
            return rows_of<Dev>(grad.view().data, rows, grad.view().stride, cols, grad.pool());
        };
        clear_ = [grad] { grad.clear(); };
        poison_ = [pool = grad.pool()] {
            using Both = std::pair<std::shared_ptr<void>, std::shared_ptr<void>>;
            return std::make_shared<Both>(Pool<Dev>::poisoned(pool), Pool<Dev>::poisoned(Pool<Dev>::common()));
        };
    }

    std::int64_t rows_ = 0, cols_ = 0;
    std::function<void(Tape*)> put_on_;
    std::function<std::vector<double>()> get_, gradient_;
    std::function<void(const double*)> set_;
    std::function<void()> clear_;
    std::function<std::shared_ptr<void>()> poison_;
};

}  // namespace graft
