#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "graft/train/batches.hpp"

namespace {

std::vector<graft::Example> examples(std::int64_t count)
{
    std::vector<graft::Example> out;
    for (std::int64_t i = 0; i < count; ++i) {
        graft::Example example{.ids = {}, .labels = {}, .row = i + 1, .source = "f"};
        for (std::int32_t t = 0; t < 2 + std::int32_t(i % 3); ++t) {
            example.ids.push_back(std::int32_t(10 * i) + t);
            example.labels.push_back(t == 0 ? graft::ignore : std::int32_t(10 * i) + t);
        }
        out.push_back(example);
    }
    return out;
}

std::vector<std::int64_t> flat(const std::vector<std::vector<std::int64_t>>& groups)
{
    std::vector<std::int64_t> out;
    for (const auto& group : groups) { out.insert(out.end(), group.begin(), group.end()); }
    return out;
}

}  // namespace

TEST_CASE("batches: the order is a pure function of seed and epoch, and every example comes once")
{
    for (const std::int64_t count : {1, 2, 3, 17, 1000}) {
        auto order = graft::epoch_order(count, 0, 42, true);
        CHECK(order == graft::epoch_order(count, 0, 42, true));
        if (count >= 17) {
            CHECK(order != graft::epoch_order(count, 1, 42, true));
            CHECK(order != graft::epoch_order(count, 0, 43, true));
            CHECK(!std::is_sorted(order.begin(), order.end()));
        }
        std::sort(order.begin(), order.end());
        CHECK(order == graft::epoch_order(count, 5, 42, false));  // file order
    }
    // Every order of three about equally often: 6000 epochs, 1000 each, four standard deviations are 115.
    std::vector<int> seen(27);
    for (std::int64_t epoch = 0; epoch < 6000; ++epoch) {
        const auto order = graft::epoch_order(3, epoch, 7, true);
        ++seen[std::size_t(9 * order[0] + 3 * order[1] + order[2])];
    }
    for (const int count : seen) { CHECK((count == 0 || std::abs(count - 1000) < 116)); }
    CHECK(std::count_if(seen.begin(), seen.end(), [](int count) { return count > 0; }) == 6);
}

TEST_CASE("batches: short last batches and groups, none across an epoch")
{
    const auto data = examples(10);
    graft::Batches batches(data, {.batch = 3, .accumulate = 3, .epochs = 2, .shuffle = false});
    CHECK(batches.steps_per_epoch() == 2);
    CHECK(batches.steps() == 4);
    using Groups = std::vector<std::vector<std::int64_t>>;
    CHECK(batches.rows(0) == Groups{{0, 1, 2}, {3, 4, 5}, {6, 7, 8}});
    CHECK(batches.rows(1) == Groups{{9}});
    CHECK(batches.rows(2) == batches.rows(0));
    CHECK(batches.rows(3) == batches.rows(1));
    CHECK(batches.epoch_of(3) == 1);

    graft::Batches wide(data, {.batch = std::int64_t{1} << 60, .accumulate = std::int64_t{1} << 60});
    CHECK(wide.steps() == 1);
    CHECK(flat(wide.rows(0)).size() == 10);
}

TEST_CASE("batches: steps decide over epochs, and go over as many epochs as it takes")
{
    const auto data = examples(5);
    graft::Batches batches(data, {.batch = 2, .epochs = 1, .steps = 7});
    CHECK(batches.steps() == 7);
    for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
        std::multiset<std::int64_t> seen;
        for (std::int64_t step = 3 * epoch; step < 3 * epoch + 3; ++step) {
            for (auto row : flat(batches.rows(step))) { seen.insert(row); }
        }
        CHECK(seen == std::multiset<std::int64_t>{0, 1, 2, 3, 4});  // the first one of every epoch too
    }
    // Any step can be asked for by itself, as a resumed run does.
    graft::Batches again(data, {.batch = 2, .epochs = 1, .steps = 7});
    CHECK(again.rows(6) == batches.rows(6));
    CHECK(again.rows(2) == batches.rows(2));
    CHECK(graft::Batches(data, {.steps = 0}).steps() == 0);
    CHECK(graft::Batches(data, {.batch = 1, .epochs = 0.5}).steps() == 3);
    CHECK(graft::Batches(data, {.batch = 1, .epochs = 1.5}).steps() == 8);
}

TEST_CASE("batches: documents back to back, labels shifted, nothing predicted across a seam")
{
    std::vector<graft::Example> data{{.ids = {1, 2, 3}, .labels = {graft::ignore, 2, 3}, .row = 1, .source = "f"},
                                     {.ids = {4}, .labels = {graft::ignore}, .row = 2, .source = "f"},
                                     {.ids = {5, 6, 7}, .labels = {5, graft::ignore, 7}, .row = 3, .source = "f"}};
    const std::vector<std::int64_t> rows{0, 1, 2};
    const auto batch = graft::collate(data, rows);
    const auto none = graft::ignore;
    CHECK(batch.ids == std::vector<std::int32_t>{1, 2, 3, 4, 5, 6, 7});
    CHECK(batch.labels == std::vector<std::int32_t>{2, 3, none, none, none, 7, none});
    CHECK(batch.positions == std::vector<std::int32_t>{0, 1, 2, 0, 0, 1, 2});
    CHECK(batch.bounds == std::vector<std::int64_t>{0, 3, 4, 7});
    CHECK(batch.rows == rows);
    CHECK(batch.targets == 3);  // the label of a first token is no target
    CHECK(batch.tokens() == 7);
    CHECK(batch.documents() == 3);

    graft::Batches batches(data, {.batch = 2, .accumulate = 2, .shuffle = false});
    const auto micro = batches.micro_batches(0);
    REQUIRE(micro.size() == 2);
    CHECK(graft::targets(micro) == 3);
    CHECK(micro[1].ids == std::vector<std::int32_t>{5, 6, 7});
}

TEST_CASE("batches: wrong sizes are refused")
{
    const auto data = examples(3);
    CHECK_THROWS_AS(graft::Batches({}, {}), graft::Error);
    CHECK_THROWS_AS(graft::Batches(data, {.batch = 0}), graft::Error);
    CHECK_THROWS_AS(graft::Batches(data, {.accumulate = 0}), graft::Error);
    CHECK_THROWS_AS(graft::Batches(data, {.epochs = -1}), graft::Error);
    std::vector<graft::Example> wrong{{.ids = {1, 2}, .labels = {1}, .row = 1, .source = "f"}};
    const std::vector<std::int64_t> rows{0};
    CHECK_THROWS_AS(graft::collate(wrong, rows), graft::Error);
}
