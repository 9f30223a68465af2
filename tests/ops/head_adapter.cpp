#include "graft/ops/head_adapter.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "graft/autograd/gradcheck.hpp"
#include "graft/ops/linear_cross_entropy/cpu.hpp"
#include "graft/ops/linear_log_probs/cpu.hpp"
#include "numbers.hpp"

using namespace graft;
using namespace graft_test;

namespace {

using Dense = Shape<dyn, dyn>;
enum Parts { rows_alone = 1, low_rank = 2, both = 3 };

// A head, what is added to it, and the dense head that they amount to.
template <class T> struct Adapted {
    static constexpr double scale = 0.75;
    std::int64_t rows, dim, vocab, rank = 2;
    Parts parts;
    Acts<T, dyn, Cpu> h;
    Frozen<T, Dense, Cpu> w;
    Param<T, Dense, Cpu> a, b;
    TokenRows<T, dyn, Cpu> own;

    Adapted(std::int64_t n, std::int64_t d, std::int64_t v, Parts which)
        : rows(n), dim(d), vocab(v), parts(which), h(filled<T>(n, d, 1)), w(filled<T>(v, d, 2, 0.5)),
          a(param<T>(rank, d, 3, 0.5)), b(param<T>(v, rank, 4, 0.5))
    {
        const std::vector<std::int32_t> ids{std::int32_t(v - 1), 0, std::int32_t(v / 2)};
        std::vector<std::int32_t> slots(std::size_t(v), -1);
        for (std::size_t s = 0; s < ids.size(); ++s) { slots[std::size_t(ids[s])] = std::int32_t(s); }
        own = {param<T>(3, d, 5), ids_of(ids), ids_of(slots)};
    }
    HeadAdapter<T, dyn, dyn, Cpu> with(const Acts<T, dyn, Cpu>& x) const
    {
        HeadAdapter<T, dyn, dyn, Cpu> out;
        if (parts & rows_alone) { out.rows = own; }
        if (parts & low_rank) { out.u = matmul(x, a), out.b = b, out.scale = scale; }
        return out;
    }
    Matrix dense() const
    {
        Matrix out = matrix(w.working());
        if (parts & low_rank) {
            const Matrix update = times(matrix(b.working()), matrix(a.working()));
            for (std::size_t i = 0; i < out.at.size(); ++i) { out.at[i] += scale * update.at[i]; }
        }
        if (parts & rows_alone) {
            const Matrix r = matrix(own.value.working());
            for (std::int64_t s = 0; s < r.rows; ++s) {
                for (std::int64_t j = 0; j < dim; ++j) { out(own.ids.data()[s], j) = r(s, j); }
            }
        }
        return out;
    }
    std::vector<std::int32_t> labels() const
    {
        std::vector<std::int32_t> out;
        for (std::int64_t n = 0; n < rows; ++n) { out.push_back(n % 5 == 3 ? ignore : std::int32_t(n * 7 % vocab)); }
        return out;
    }
    ScoredRows scored() const
    {
        ScoredRows out{.count = 2};
        const auto targets = labels();
        for (std::int32_t n = 0; n < std::int32_t(rows); ++n) {
            const auto target = targets[std::size_t(n)];
            if (target == ignore) { continue; }
            out.rows.push_back(n), out.targets.push_back(target), out.sums.push_back(n % 2);
            if (n % 4 == 0) {  // scored again, for the other sum
                out.rows.push_back(n), out.targets.push_back((target + 1) % std::int32_t(vocab));
                out.sums.push_back(1 - n % 2);
            }
        }
        return out;
    }
};

// The sum of the two, the second twice.
double weighed(const Tensor<double, Shape<dyn>, Cpu>& sums) { return sums.data()[0] + 2 * sums.data()[1]; }

}  // namespace

TEST_CASE_TEMPLATE("head_adapter: losses and log-probabilities are those of the dense head it amounts to", T, double,
                   float)
{
    for (const Parts parts : {rows_alone, low_rank, both}) {
        for (const std::int64_t rows : {std::int64_t{1}, std::int64_t{9}, std::int64_t{2500}}) {
            CAPTURE(parts);
            CAPTURE(rows);
            const Adapted<T> at(rows, 6, 13, parts);
            auto whole = filled<T>(13, 6, 0);
            const Matrix dense = at.dense();
            for (std::int64_t i = 0; i < 13; ++i) {
                for (std::int64_t j = 0; j < 6; ++j) { whole.view().row(i)[j] = T(dense(i, j)); }
            }
            const Frozen<T, Dense, Cpu> head(whole);
            const double near = 64 * epsilon<T>();
            const double loss = double(item(linear_cross_entropy(at.h, head, at.labels(), 0.1)));
            const double ours = double(item(linear_cross_entropy(at.h, at.w, at.labels(), 0.1, at.with(at.h))));
            CHECK(std::abs(ours - loss) <= near * (1 + std::abs(loss)));
            const double sum = weighed(linear_log_probs(at.h, head, at.scored()));
            CHECK(std::abs(weighed(linear_log_probs(at.h, at.w, at.scored(), at.with(at.h))) - sum)
                  <= near * (1 + std::abs(sum)));
        }
    }
}

TEST_CASE("head_adapter: gradients against differences, of the loss and of log-probabilities")
{
    for (const Parts parts : {rows_alone, low_rank, both}) {
        for (const std::int64_t rows : {1, 11}) {
            CAPTURE(parts);
            CAPTURE(rows);
            Adapted<double> at(rows, 4, 9, parts);
            const auto loss = [&](TapeRef) {
                return linear_cross_entropy(at.h, at.w, at.labels(), 0.3, at.with(at.h));
            };
            ScoredRows one = at.scored();
            one.count = 1;
            for (auto& sum : one.sums) { sum = 0; }
            const auto score = [&](TapeRef) {
                return linear_log_probs(at.h, at.w, one, at.with(at.h)).template as<Shape<1>>();
            };
            const auto check = [](const auto& found) { CHECK_MESSAGE(found.right(), found.text()); };
            switch (parts) {
            case rows_alone:
                check(gradcheck(loss, {{"h", at.h}, {"R", at.own.value}}));
                check(gradcheck(score, {{"h", at.h}, {"R", at.own.value}}));
                break;
            case low_rank:
                check(gradcheck(loss, {{"h", at.h}, {"A", at.a}, {"B", at.b}}));
                check(gradcheck(score, {{"h", at.h}, {"A", at.a}, {"B", at.b}}));
                break;
            case both:
                check(gradcheck(loss, {{"h", at.h}, {"A", at.a}, {"B", at.b}, {"R", at.own.value}}));
                check(gradcheck(score, {{"h", at.h}, {"A", at.a}, {"B", at.b}, {"R", at.own.value}}));
                break;
            }
        }
    }
}

TEST_CASE_TEMPLATE("head_adapter: several chunks, several micro-batches, the same gradients from both ops", T, double,
                   float)
{
    Adapted<T> one(2500, 5, 11, both), two(2500, 5, 11, both);
    ScoredRows scored{.count = 1};
    const auto labels = one.labels();
    for (std::int32_t n = 0; n < 2500; ++n) {
        if (labels[std::size_t(n)] == ignore) { continue; }
        scored.rows.push_back(n), scored.targets.push_back(labels[std::size_t(n)]), scored.sums.push_back(0);
    }
    for (int time = 0; time < 2; ++time) {
        Tape tape, other;
        auto h = one.h.detached(), g = two.h.detached();
        h.on(&tape).want_grad(), g.on(&other).want_grad();
        tape.backward(linear_cross_entropy(h, one.w, labels, 1.0, one.with(h)));
        const auto sums = linear_log_probs(g, two.w, scored, two.with(g));
        *sums.grad().sink().view.data = -1;
        other.run();
        const double near = 32 * epsilon<T>() * 50 * (1 + time);  // sums over 2000 rows of values near 1
        CHECK(difference(matrix(h.grad()), matrix(g.grad())) <= 32 * epsilon<T>());
        CHECK(difference(matrix(one.a.grad()), matrix(two.a.grad())) <= near);
        CHECK(difference(matrix(one.b.grad()), matrix(two.b.grad())) <= near);
        CHECK(difference(matrix(one.own.value.grad()), matrix(two.own.value.grad())) <= near);
        double largest = 0;
        for (const double each : matrix(one.a.grad()).at) { largest = std::max(largest, std::abs(each)); }
        CHECK(largest > 1);
    }
}

TEST_CASE("head_adapter: no label at all leaves every gradient unwritten; the bits do not depend on threads")
{
    Adapted<float> at(7, 5, 11, both);
    Tape tape;
    at.h.on(&tape).want_grad();
    const std::vector<std::int32_t> none(7, ignore);
    const auto loss = linear_cross_entropy(at.h, at.w, none, 1.0, at.with(at.h.detached()));
    CHECK(item(loss) == 0);
    tape.backward(loss);
    CHECK_FALSE(at.b.grad().written());
    CHECK_FALSE(at.own.value.grad().written());

    const auto gradients = [] {
        Adapted<float> big(300, 24, 77, both);
        Tape record;
        big.h.on(&record).want_grad();
        record.backward(linear_cross_entropy(big.h, big.w, big.labels(), 1.0, big.with(big.h)));
        auto all = matrix(big.b.grad()).at;
        for (const auto& more : {matrix(big.own.value.grad()), matrix(big.a.grad()), matrix(big.h.grad())}) {
            all.insert(all.end(), more.at.begin(), more.at.end());
        }
        return all;
    };
    const int before = threads();
    set_threads(1);
    const auto one = gradients();
    set_threads(3);
    CHECK(gradients() == one);
    set_threads(before);
}
