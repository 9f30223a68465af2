#include "graft/ops/embedding/cpu.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "graft/autograd/gradcheck.hpp"
#include "numbers.hpp"

using namespace graft;
using namespace graft_test;

TEST_CASE_TEMPLATE("embedding: rows of the table, and a gradient that sums over all places of an id", T, double, float,
                   bf16)
{
    for (std::int64_t dim : {1, 7, 64, 65, 1024}) {
        const std::vector<std::int32_t> ids = {4, 0, 4, 2, 0, 4, 4, 1};
        auto table = param<T>(6, dim, 1);
        Tape tape;
        const auto y = embedding(tape, ids_of(ids), table);
        Matrix expected(8, dim), gradient(6, dim);
        const auto up = filled<T>(8, dim, 2);
        for (std::int64_t n = 0; n < 8; ++n) {
            for (std::int64_t j = 0; j < dim; ++j) {
                expected(n, j) = double(table.working().view().row(ids[std::size_t(n)])[j]);
                gradient(ids[std::size_t(n)], j) += double(up.view().row(n)[j]);
            }
        }
        CHECK(difference(matrix(y), expected) == 0);
        y.grad().adopt(up.memory());
        tape.run();
        CHECK(difference(matrix(table.grad()), gradient) < 4 * epsilon<acc<T>>());
        for (std::int64_t j = 0; j < dim; ++j) {  // ids that do not occur: written, and zero
            CHECK(matrix(table.grad())(3, j) == 0);
            CHECK(matrix(table.grad())(5, j) == 0);
        }
    }
}

TEST_CASE("embedding: gradients against differences")
{
    auto table = param<double>(5, 6, 1);
    const auto ids = ids_of({1, 3, 1, 0});
    const auto result = gradcheck([&](TapeRef tape) { return probe(embedding(tape, ids, table)); }, {{"E", table}});
    CHECK_MESSAGE(result.right(), result.text());
}

TEST_CASE("embedding: trap: pad = eos: no row is exempt from the gradient, id 0 and the last one neither")
{
    auto table = param<float>(3, 4, 1);
    Tape tape;
    tape.backward(probe(embedding(tape, ids_of({0, 1, 2}), table)));
    const Matrix gradient = matrix(table.grad());
    for (double each : gradient.at) { CHECK(each != 0); }
}

TEST_CASE("embedding: a second micro-batch adds, poisoned memory or not")
{
    const auto pool = Pool<Cpu>::create({.poison = true});
    auto table = Param<float, Shape<dyn, dyn>, Cpu>(Tensor<float, Shape<dyn, dyn>, Cpu>(4, 3, pool));
    fill(table.value(), 1);
    Matrix once;
    for (int step = 1; step <= 2; ++step) {
        Tape tape;
        tape.backward(probe(embedding(tape, ids_of({2, 0, 2}), table)));
        if (step == 1) { once = matrix(table.grad()); }
    }
    for (double& each : once.at) { each *= 2; }
    CHECK(difference(matrix(table.grad()), once) < 4 * epsilon<float>());  // id 2 occurs twice: another order
}

TEST_CASE("embedding: a frozen table records nothing; without a tape neither")
{
    const auto frozen = Frozen<float, Shape<dyn, dyn>, Cpu>(filled<float>(4, 3, 1));
    Tape tape;
    const auto y = embedding(tape, ids_of({2, 0}), frozen);
    CHECK(tape.size() == 0);
    CHECK(y.tape() == &tape);
    CHECK_FALSE(y.needs_grad());
    CHECK_FALSE(embedding(no_tape, ids_of({1}), param<float>(4, 3, 1)).needs_grad());
}

TEST_CASE_TEMPLATE("embedding: equal to the bit for 1, 2, 3 and 5 threads", T, float, bf16)
{
    CHECK(same_for_threads([](Bits& bits) {
        std::vector<std::int32_t> ids;
        for (int n = 0; n < 300; ++n) { ids.push_back(n * n % 7); }
        auto table = param<T>(9, 200, 1);
        Tape tape;
        const auto y = embedding(tape, ids_of(ids), table);
        bits.add(y);
        tape.backward(probe(y));
        bits.add(table.grad());
    }));
}

TEST_CASE("embedding: an id outside the vocabulary is an Error that names it and its place; no ids are fine")
{
    const auto table = param<float>(4, 3, 1);
    CHECK_THROWS_WITH_AS(embedding(no_tape, ids_of({0, 4}), table),
                         "embedding: id 4 at position 1 is outside the vocabulary of 4", Error);
    CHECK_THROWS_AS(embedding(no_tape, ids_of({-1}), table), Error);
    CHECK(embedding(no_tape, ids_of({}), table).rows() == 0);
}
