#include "graft/ops/linear_log_probs/cpu.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <vector>

#include "graft/autograd/gradcheck.hpp"
#include "numbers.hpp"

using namespace graft;
using namespace graft_test;

namespace {

// Every row but the multiples of `skip` is scored once, dealt to the sums in turn; every fifth of them once more.
ScoredRows scored_for(std::int64_t rows, std::int64_t vocab, std::int64_t sums, std::int64_t skip)
{
    ScoredRows out{.count = sums};
    const auto score = [&](std::int64_t n, std::int64_t target, std::int64_t sum) {
        out.rows.push_back(std::int32_t(n)), out.targets.push_back(std::int32_t(target % vocab));
        out.sums.push_back(std::int32_t(sum % sums));
    };
    for (std::int64_t n = 0; n < rows; ++n) {
        if (skip != 0 && n % skip == 0) { continue; }
        score(n, n * 37, n);
        if (n % 5 == 0) { score(n, n * 11 + 3, n + 1); }
    }
    return out;
}

struct Expected {
    std::vector<double> sums;
    Matrix dh, dw;
};

Expected formula(const Matrix& h, const Matrix& w, const ScoredRows& scored, const std::vector<double>& slopes)
{
    Expected out{std::vector<double>(std::size_t(scored.count)), Matrix(h.rows, h.cols), Matrix(w.rows, w.cols)};
    const Matrix z = times(h, w, false, true);
    Matrix dz(z.rows, z.cols);
    for (std::size_t i = 0; i < scored.rows.size(); ++i) {
        const auto n = scored.rows[i];
        double top = z(n, 0), sum = 0;
        for (std::int64_t j = 0; j < z.cols; ++j) { top = std::fmax(top, z(n, j)); }
        for (std::int64_t j = 0; j < z.cols; ++j) { sum += std::exp(z(n, j) - top); }
        out.sums[std::size_t(scored.sums[i])] += z(n, scored.targets[i]) - top - std::log(sum);
        for (std::int64_t j = 0; j < z.cols; ++j) {
            dz(n, j) +=
                slopes[std::size_t(scored.sums[i])] * (double(j == scored.targets[i]) - std::exp(z(n, j) - top) / sum);
        }
    }
    out.dh = times(dz, w);
    out.dw = times(dz, h, true);
    return out;
}

void backward(Tape& tape, const Tensor<double, Shape<dyn>, Cpu>& sums, const std::vector<double>& slopes)
{
    const auto sink = sums.grad().sink();
    std::copy(slopes.begin(), slopes.end(), sink.view.data);
    tape.run();
}

struct Size {
    std::int64_t rows, dim, vocab, sums, skip;
};
const Size sizes[] = {{1, 5, 7, 1, 0}, {9, 16, 65, 2, 4}, {40, 33, 130, 6, 3}, {2500, 4, 11, 3, 7}};

}  // namespace

TEST_CASE_TEMPLATE("linear_log_probs: sums and gradients by the formula, frozen and trained head", T, double, float,
                   bf16)
{
    const auto pool = Pool<Cpu>::create({.poison = true});
    for (const Size& s : sizes) {
        CAPTURE(s.rows);
        const auto scored = scored_for(s.rows, s.vocab, s.sums, s.skip);
        std::vector<double> slopes;
        for (std::int64_t i = 0; i < s.sums; ++i) { slopes.push_back(i % 2 == 0 ? -0.7 : 0.25 * double(i)); }
        auto h = Acts<T, dyn, Cpu>(s.rows, s.dim, pool);
        fill(h, 1);
        const double each = 16 * epsilon<acc<T>>() * std::sqrt(double(std::max(s.dim, s.vocab)));
        const auto check = [&](const auto& w) {
            auto x = h.detached();
            Tape tape;
            x.on(&tape).want_grad();
            const auto sums = linear_log_probs(x, w, scored);
            const auto silent = linear_log_probs(h, w, scored);
            const auto expected = formula(matrix(h), matrix(w.working()), scored, slopes);
            for (std::size_t i = 0; i < expected.sums.size(); ++i) {
                CHECK(sums.data()[i] == silent.data()[i]);
                CHECK(std::abs(sums.data()[i] - expected.sums[i]) <= each * (1 + std::abs(expected.sums[i])));
            }
            backward(tape, sums, slopes);
            CHECK(difference(matrix(x.grad()), expected.dh) < each + 4 * epsilon<T>());
            return expected;
        };
        check(Frozen<T, Shape<dyn, dyn>, Cpu>(filled<T>(s.vocab, s.dim, 2, 0.5)));
        const auto w = param<T>(s.vocab, s.dim, 2, 0.5);
        const auto once = check(w);
        const double near = each + 16 * epsilon<acc<T>>() * std::sqrt(double(s.rows));
        CHECK(difference(matrix(w.grad()), once.dw) < near);
        // A second micro-batch adds to what is there.
        check(w);
        Matrix twice = once.dw;
        for (double& value : twice.at) { value *= 2; }
        CHECK(difference(matrix(w.grad()), twice) < near);
    }
}

TEST_CASE("linear_log_probs: gradients against differences, with rows that are scored twice")
{
    const auto scored = scored_for(11, 23, 1, 3);
    auto h = filled<double>(11, 6, 1);
    auto w = param<double>(23, 6, 2, 0.5);
    const auto one = [&](const auto& head) {
        return [&](TapeRef) { return linear_log_probs(h, head, scored).template as<Shape<1>>(); };
    };
    const auto both = gradcheck(one(w), {{"h", h}, {"w", w}});
    CHECK_MESSAGE(both.right(), both.text());
    const Frozen<double, Shape<dyn, dyn>, Cpu> base(filled<double>(23, 6, 2, 0.5));
    const auto frozen = gradcheck(one(base), {{"h", h}});
    CHECK_MESSAGE(frozen.right(), frozen.text());
}

TEST_CASE("linear_log_probs: one sum of every label is minus the summed cross-entropy; the bits do not depend on "
          "threads")
{
    const auto h = filled<float>(300, 24, 1);
    const Frozen<float, Shape<dyn, dyn>, Cpu> w(filled<float>(77, 24, 2, 0.5));
    std::vector<std::int32_t> labels;
    ScoredRows scored{.count = 1};
    for (std::int32_t n = 0; n < 300; ++n) {
        labels.push_back(n % 4 == 0 ? ignore : n % 77);
        if (n % 4 == 0) { continue; }
        scored.rows.push_back(n), scored.targets.push_back(n % 77), scored.sums.push_back(0);
    }
    const double sum = linear_log_probs(h, w, scored).data()[0];
    CHECK(std::abs(sum + item(linear_cross_entropy(h, w, labels))) <= 1e-7 * std::abs(sum));
    const int before = threads();
    set_threads(3);
    CHECK(linear_log_probs(h, w, scored).data()[0] == sum);
    set_threads(before);
}

TEST_CASE("linear_log_probs: nothing scored, and what it refuses")
{
    Tape tape;
    auto h = filled<float>(3, 4, 1);
    h.on(&tape).want_grad();
    const Frozen<float, Shape<dyn, dyn>, Cpu> w(filled<float>(5, 4, 2));
    const auto sums = linear_log_probs(h, w, {.count = 2});
    CHECK(sums.data()[0] == 0);
    CHECK(sums.data()[1] == 0);
    CHECK_FALSE(sums.needs_grad());
    for (const ScoredRows& wrong :
         {ScoredRows{{3}, {0}, {0}, 1}, ScoredRows{{0}, {5}, {0}, 1}, ScoredRows{{0}, {0}, {1}, 1},
          ScoredRows{{-1}, {0}, {0}, 1}, ScoredRows{{0}, {}, {0}, 1}, ScoredRows{{}, {}, {}, 0}}) {
        CHECK_THROWS_AS(linear_log_probs(h, w, wrong), Error);
    }
}
