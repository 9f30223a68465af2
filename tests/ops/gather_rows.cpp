#include "graft/ops/gather_rows/cpu.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "graft/autograd/gradcheck.hpp"
#include "numbers.hpp"

using namespace graft;
using namespace graft_test;

namespace {

const std::vector<std::int32_t> some = {4, 0, 1, 1, 4, 4, 2};  // row 3 by nobody, row 4 three times

}  // namespace

TEST_CASE_TEMPLATE("gather_rows: rows as they are, gradients summed where rows meet, for any number of threads", T,
                   double, float, bf16)
{
    const auto pool = Pool<Cpu>::create({.poison = true});
    auto x = Acts<T, dyn, Cpu>(5, 150, pool);
    fill(x, 1);
    auto up = Acts<T, dyn, Cpu>(std::int64_t(some.size()), 150, pool);
    fill(up, 2);
    for (const bool twice : {false, true}) {
        for (const int threads_now : {1, 3}) {
            const int before = threads();
            set_threads(threads_now);
            Tape tape;
            auto in = x.detached();
            in.on(&tape).want_grad();
            // A second reader writes the gradient first.
            const auto first = gather_rows(in, ids_of(some)), second = gather_rows(in, ids_of({0, 1, 2, 3, 4}));
            CHECK(first.rows() == std::int64_t(some.size()));
            Matrix want(5, 150);
            const auto put = [&](const auto& y, std::int64_t rows) {
                const auto sink = y.grad().sink();
                for (std::int64_t i = 0; i < rows; ++i) { std::copy_n(up.view().row(i), 150, sink.view.row(i)); }
            };
            for (std::size_t i = 0; i < some.size(); ++i) {
                for (std::int64_t j = 0; j < 150; ++j) {
                    CHECK(double(first.view().row(std::int64_t(i))[j]) == double(x.view().row(some[i])[j]));
                    want(some[i], j) += double(up.view().row(std::int64_t(i))[j]);
                }
            }
            put(first, std::int64_t(some.size()));
            if (twice) {
                put(second, 5);
                for (std::int64_t i = 0; i < 5; ++i) {
                    for (std::int64_t j = 0; j < 150; ++j) { want(i, j) += double(up.view().row(i)[j]); }
                }
            }
            tape.run();
            CHECK(difference(matrix(in.grad()), want) < 8 * epsilon<T>());
            set_threads(before);
        }
    }
}

TEST_CASE("gather_rows: gradient against differences; a row outside is refused")
{
    auto x = filled<double>(5, 3, 1);
    const auto found = gradcheck([&](TapeRef) { return probe(gather_rows(x, ids_of(some))); }, {{"x", x}});
    CHECK_MESSAGE(found.right(), found.text());
    CHECK_THROWS_AS(gather_rows(x, ids_of({5})), Error);
    CHECK_THROWS_AS(gather_rows(x, ids_of({-1})), Error);
}
