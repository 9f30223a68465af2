#include <doctest/doctest.h>

#include <set>

#include "graft/train/row_count.hpp"

// Every row once an epoch, counted.

namespace {

std::vector<graft::Example> rows(int count)
{
    return std::vector<graft::Example>(std::size_t(count),
                                       {.ids = {1, 2, 3}, .labels = {graft::ignore, 2, 3}, .source = "rows"});
}

}  // namespace

TEST_CASE("row count: each row once an epoch, for batches that divide the rows or not")
{
    for (const int count : {1, 2, 5, 8, 13}) {
        for (const int batch : {1, 3, 4, 20}) {
            for (const int accumulate : {1, 2, 5}) {
                CAPTURE(count);
                CAPTURE(batch);
                CAPTURE(accumulate);
                const auto examples = rows(count);
                graft::Batches batches(examples, {.batch = batch, .accumulate = accumulate, .epochs = 3});
                graft::RowCount seen(batches, count);
                CHECK(seen.order() == "");
                std::set<std::string> orders;
                for (std::int64_t step = 0; step < batches.steps(); ++step) {
                    for (const auto& micro : batches.micro_batches(step)) { seen.add(micro.rows); }
                    seen.end_step();
                    orders.insert(seen.order());
                    CHECK(seen.most() - seen.least() <= 1);
                }
                CHECK(seen.least() == 3);
                CHECK(seen.most() == 3);
                CHECK(seen.total() == 3 * count);
                CHECK(std::int64_t(orders.size()) == batches.steps());
                // A part that was done before counts as if it were done here.
                graft::RowCount again(batches, count);
                again.done_before(batches.steps());
                CHECK(again.order() == seen.order());
                CHECK(again.total() == seen.total());
            }
        }
    }
}

TEST_CASE("row count: a row that is left out, or comes twice, is an error at the end of the epoch")
{
    const auto examples = rows(4);
    const graft::Batches batches(examples, {.batch = 2, .epochs = 2, .shuffle = false});
    using Rows = std::vector<std::int64_t>;
    for (const auto& [second, words] : {std::pair{Rows{1, 2}, "example 2 was trained on 2 times in 1 epochs"},
                                        std::pair{Rows{3}, "example 3 was trained on 0 times"}}) {
        graft::RowCount seen(batches, 4);
        seen.add(Rows{0, 1});
        CHECK_NOTHROW(seen.end_step());
        seen.add(second);
        CHECK_THROWS_WITH_AS(seen.end_step(), doctest::Contains(words), graft::Error);
    }
    graft::RowCount seen(batches, 4);
    CHECK_THROWS_AS(seen.add(Rows{4}), graft::Error);
    CHECK_THROWS_AS(seen.add(Rows{-1}), graft::Error);
    // Two orders of the same rows are two hashes.
    graft::RowCount a(batches, 4), b(batches, 4);
    a.add(Rows{0, 1}), b.add(Rows{1, 0});
    a.end_step(), b.end_step();
    CHECK(a.order() != b.order());
}
