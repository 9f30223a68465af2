#include "graft/ops/token_rows/cpu.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "graft/autograd/gradcheck.hpp"
#include "graft/ops/embedding/cpu.hpp"
#include "graft/ops/linear_cross_entropy/cpu.hpp"
#include "numbers.hpp"

using namespace graft;
using namespace graft_test;

namespace {

// A frozen table of 9 tokens, and rows of three of them; `whole` is the table that the two amount to.
template <class T> struct Rows {
    static constexpr std::int64_t vocab = 9, dim = 5;
    std::vector<std::int32_t> tokens{7, 0, 4};
    Frozen<T, Shape<dyn, dyn>, Cpu> table{filled<T>(vocab, dim, 2, 0.5)};
    TokenRows<T, dyn, Cpu> rows;
    Frozen<T, Shape<dyn, dyn>, Cpu> whole{filled<T>(vocab, dim, 2, 0.5)};

    Rows()
    {
        rows.value = param<T>(3, dim, 6);
        rows.ids = ids_of(tokens);
        rows.slots = ids_of({1, -1, -1, -1, 2, -1, -1, 0, -1});
        for (std::size_t s = 0; s < tokens.size(); ++s) {
            const auto from = rows.value.working().view();
            std::copy_n(from.row(std::int64_t(s)), dim, whole.value().view().row(tokens[s]));
        }
    }
};

template <class T> HeadAdapter<T, dyn, dyn, Cpu> head_of(const Rows<T>& r) { return {.rows = r.rows}; }

const std::vector<std::int32_t> ids{0, 7, 3, 7, 1, 0, 8, 7};
const std::vector<std::int32_t> labels{7, ignore, 4, 1, 0, 7, ignore, 5};

}  // namespace

TEST_CASE_TEMPLATE("token_rows: values are those of a table that holds the rows", T, double, float, bf16)
{
    const Rows<T> r;
    const auto before = matrix(r.table.working());
    const auto e = embedding(no_tape, ids_of(ids), r.table, r.rows);
    CHECK(difference(matrix(e), matrix(embedding(no_tape, ids_of(ids), r.whole))) == 0);
    const auto h = filled<T>(8, r.dim, 3);
    const auto z = replace_logits(matmul(h, r.table), h, r.rows);
    CHECK(difference(matrix(z), matrix(matmul(h, r.whole))) <= 8 * epsilon<T>());
    const double own = double(item(linear_cross_entropy(h, r.table, labels, 0.25, head_of(r))));
    CHECK(own == doctest::Approx(double(item(linear_cross_entropy(h, r.whole, labels, 0.25)))).epsilon(1e-5));
    CHECK(difference(matrix(r.table.working()), before) == 0);
}

TEST_CASE("token_rows: gradients against differences, as embedding, as head, and as both at once")
{
    Rows<double> r;
    const auto buffer = ids_of(ids);
    const auto table =
        gradcheck([&](TapeRef tape) { return probe(embedding(tape, buffer, r.table, r.rows)); }, {{"R", r.rows.value}});
    CHECK_MESSAGE(table.right(), table.text());
    auto h = filled<double>(8, r.dim, 3);
    const auto head = gradcheck([&](TapeRef) { return linear_cross_entropy(h, r.table, labels, 0.3, head_of(r)); },
                                {{"h", h}, {"R", r.rows.value}});
    CHECK_MESSAGE(head.right(), head.text());
    const auto tied = gradcheck(
        [&](TapeRef tape) {
            return linear_cross_entropy(embedding(tape, buffer, r.table, r.rows), r.table, labels, 0.3, head_of(r));
        },
        {{"R", r.rows.value}});
    CHECK_MESSAGE(tied.right(), tied.text());
}

TEST_CASE("token_rows: a batch without these tokens leaves a gradient of zeros; logits on a tape are refused")
{
    Rows<double> r;
    Tape tape;
    const auto y = embedding(tape, ids_of({1, 2, 3}), r.table, r.rows);
    y.grad().adopt(filled<double>(3, r.dim, 4).memory());
    tape.run();
    CHECK(difference(matrix(r.rows.value.grad()), Matrix(3, r.dim)) == 0);
    auto h = filled<double>(3, r.dim, 3);
    h.on(&tape);
    CHECK_THROWS_AS(replace_logits(matmul(h.detached(), r.table), h, r.rows), Error);
}
