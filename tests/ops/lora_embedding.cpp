#include "graft/ops/lora_embedding/cpu.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "graft/autograd/gradcheck.hpp"
#include "graft/ops/embedding/cpu.hpp"
#include "numbers.hpp"

using namespace graft;
using namespace graft_test;

namespace {

struct Size {
    std::int64_t rows, vocab, dim, rank;
};
const Size sizes[] = {{1, 3, 5, 1}, {9, 4, 16, 3}, {700, 31, 33, 8}};

std::vector<std::int32_t> some_ids(const Size& s)
{
    std::vector<std::int32_t> ids;
    for (std::int64_t n = 0; n < s.rows; ++n) { ids.push_back(std::int32_t(n * 7 % (s.vocab - 1))); }  // not the last
    return ids;
}

}  // namespace

TEST_CASE_TEMPLATE("lora_embedding: rows of the table plus s A^T B^T, gradients by the formula, added twice", T, double,
                   float, bf16)
{
    for (const Size& s : sizes) {
        CAPTURE(s.rows);
        const auto ids = some_ids(s);
        const Frozen<T, Shape<dyn, dyn>, Cpu> table(filled<T>(s.vocab, s.dim, 1));
        const auto a = param<T>(s.rank, s.vocab, 2, 0.5), b = param<T>(s.dim, s.rank, 3, 0.5);
        const double scale = 0.75;
        Matrix picked(s.rows, s.rank), onehot(s.rows, s.vocab);
        for (std::int64_t n = 0; n < s.rows; ++n) {
            onehot(n, ids[std::size_t(n)]) = 1;
            for (std::int64_t k = 0; k < s.rank; ++k) {
                picked(n, k) = scale * double(a.working().view().row(k)[ids[std::size_t(n)]]);
            }
        }
        const auto seed = filled<T>(s.rows, s.dim, 4);
        const double near = 16 * epsilon<acc<T>>() * std::sqrt(double(s.rows + s.dim));
        for (int time = 1; time <= 2; ++time) {
            Tape tape;
            const auto y = lora_embedding(embedding(tape, ids_of(ids), table), tape, ids_of(ids), a, b, scale);
            const auto base = matrix(embedding(no_tape, ids_of(ids), table));
            auto wanted = times(picked, matrix(b.working()), false, true);
            for (std::size_t i = 0; i < wanted.at.size(); ++i) { wanted.at[i] += base.at[i]; }
            CHECK(difference(matrix(y), wanted) <= near + 2 * epsilon<T>());
            y.grad().adopt(seed.memory());
            tape.run();
            auto db = times(matrix(seed), picked, true);
            auto da = times(times(matrix(seed), matrix(b.working())), onehot, true);
            for (double& each : db.at) { each *= time; }
            for (double& each : da.at) { each *= time * scale; }
            CHECK(difference(matrix(b.grad()), db) <= near);
            CHECK(difference(matrix(a.grad()), da) <= near);
        }
        const auto grad = matrix(a.grad());
        for (std::int64_t k = 0; k < s.rank; ++k) { CHECK(grad(k, s.vocab - 1) == 0); }
    }
}

TEST_CASE("lora_embedding: gradients against differences; ids and shapes that do not fit")
{
    const Size s{9, 4, 6, 3};
    const auto ids = ids_of(some_ids(s));
    const Frozen<double, Shape<dyn, dyn>, Cpu> table(filled<double>(s.vocab, s.dim, 1));
    auto a = param<double>(s.rank, s.vocab, 2), b = param<double>(s.dim, s.rank, 3);
    const auto found = gradcheck(
        [&](TapeRef tape) { return probe(lora_embedding(embedding(tape, ids, table), tape, ids, a, b, 1.5)); },
        {{"A", a}, {"B", b}});
    CHECK_MESSAGE(found.right(), found.text());
    const auto narrow = param<double>(s.rank, 2, 2), other = param<double>(s.dim, 2, 3);
    CHECK_THROWS_AS(lora_embedding(embedding(no_tape, ids, table), no_tape, ids, narrow, b, 1), Error);
    CHECK_THROWS_AS(lora_embedding(embedding(no_tape, ids, table), no_tape, ids, a, other, 1), Error);
    CHECK_THROWS_AS(lora_embedding(embedding(no_tape, ids, table), no_tape, ids_of({1}), a, b, 1), Error);
}
