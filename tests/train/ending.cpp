#include "graft/train/ending.hpp"

#include "../checkpoint/checkpoint_support.hpp"
#include "graft/checkpoint/load_model.hpp"
#include "graft/cpu.hpp"
#include "graft/optim/adamw.hpp"

// Why samples do not end, on a model of 11 tokens whose rows of the head are set by hand. Token 2 ends a text.
using namespace graft_test;

namespace {

const std::vector<std::int64_t> stops{2};

// Rows that end with token 2, or not.
std::vector<graft::Example> rows(bool ended)
{
    std::vector<graft::Example> out;
    for (std::int32_t i = 0; i < 10; ++i) {
        const std::int32_t last = ended ? 2 : 3, x = graft::ignore, a = 4 + i % 3, b = 7 + i % 4;
        out.push_back({.ids = {1, a, b, last}, .labels = {x, x, b, last}, .row = i + 1, .source = "rows"});
    }
    return out;
}

// Sets the rows of the head: `to` becomes `scale` times `from`.
template <class Model> void set_row(Model& model, std::int64_t to, std::int64_t from, double scale)
{
    using T = typename Model::T;
    graft::leaves(model, [&](const std::string& name, auto& leaf) {
        if constexpr (requires { leaf.value(); }) {
            if (name != "lm_head.weight") { return; }
            auto view = leaf.value().view();
            using Value = std::remove_pointer_t<decltype(view.data)>;
            for (std::int64_t j = 0; j < view.cols(); ++j) {
                view.row(to)[j] = Value(graft::acc<T>(view.row(from)[j]) * graft::acc<T>(scale));
            }
        }
    });
    for (const auto& tensor : graft::trained_tensors(model)) { graft::refresh(tensor); }
}

template <class Model> graft::Ending measured(const Model& model, bool ended = true)
{
    return graft::measure_ending(model, rows(ended), stops, model.positions(16));
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

const graft::EndlessOptions named{.token = "</s>", .stops = "</s> (2)"};

graft::EndlessOptions with(void (*change)(graft::EndlessOptions&))
{
    auto out = named;
    change(out);
    return out;
}

}  // namespace

TEST_CASE("ending: how long an answer is")
{
    const auto length = [](std::vector<std::int32_t> labels) {
        return graft::answer_length({.ids = labels, .labels = labels, .source = ""}, stops);
    };
    const std::int32_t x = graft::ignore;
    CHECK(length({x, x, 5, 6, 2, x}) == 3);
    CHECK(length({x, 5, 2, 7, 2}) == 2);
    CHECK(length({x, 5, 6, x, 7, 2}) == 2);  // without an end the targets break off
    CHECK(length({x, x}) == 0);
    CHECK(length({}) == 0);
}

TEST_CASE_TEMPLATE("ending: a row of the head that other tokens have too is named, with the option that trains it", T,
                   float, graft::bf16)
{
    auto model = tiny_model<T>();
    set_row(model, 2, 9, 1), set_row(model, 5, 9, 1), set_row(model, 2, 2, 0.5), set_row(model, 5, 5, 0.5);
    set_row(model, 10, 2, 1.004), set_row(model, 8, 2, 1.05);  // within 1 %; a row of its own
    const auto ending = measured(model);
    CHECK(ending.rows == 10);
    CHECK(ending.rows_ending == 10);
    CHECK(ending.token == 2);
    CHECK(ending.places == 8);
    CHECK(ending.twins == 2);
    CHECK(ending.untrained());
    const auto why = graft::why_endless(ending, with([](auto& o) { o.tied = true; }));
    CAPTURE(why);
    CHECK(has(why, "</s> (2) is a target in 10 of 10 examples, but its row of the head looks untrained"));
    CHECK(has(why, "2 other tokens have the same one, and nothing below the head can tell them apart (of 8 places"));
    CHECK(why.ends_with("train the row: --train-tokens 2"));
    CHECK(graft::why_endless(ending, named).ends_with("--modules-to-save lm_head or --target all-linear,lm_head"));
    CHECK(has(graft::why_endless(ending, with([](auto& o) { o.continued = true; })), "which takes a new adapter: "));
    // A row that the run trains is not to blame.
    CHECK(has(graft::why_endless(ending, with([](auto& o) { o.row_trained = true; })), "it is not learnt yet"));
}

TEST_CASE("ending: a row of next to nothing")
{
    auto model = tiny_model<float>();
    set_row(model, 2, 2, 0.01);
    const auto ending = measured(model);
    CHECK(ending.twins == 0);
    CHECK(ending.norm < 0.1 * ending.median_norm);
    CHECK(has(graft::why_endless(ending, named), "it is next to nothing, of length "));
    set_row(model, 2, 2, 0);
    CHECK(measured(model).untrained());
}

TEST_CASE("ending: data without an end, and no end that is known")
{
    const auto model = tiny_model<float>();
    const auto ending = measured(model, false);
    CHECK(ending.rows_ending == 0);
    CHECK(graft::why_endless(ending, named)
          == "none of the 10 examples has a token that ends a text (</s> (2)) among "
             "its targets, so nothing teaches the model to stop");
    CHECK(has(graft::why_endless(ending, {}), "no token is known that ends a text"));
    // A first token is given, not learnt.
    std::vector<graft::Example> first{{.ids = {2, 4}, .labels = {2, 4}, .source = "rows"}};
    CHECK(graft::measure_ending(model, first, stops, model.positions(4)).rows_ending == 0);
}

TEST_CASE("ending: from not learnt to learnt, by training")
{
    auto model = tiny_model<float>(graft::Base::trained);
    const auto before = measured(model);
    CHECK(!before.untrained());
    CHECK(2 * before.likeliest <= before.places);
    CHECK(before.probability < 0.5);
    CHECK(has(graft::why_endless(before, named), "it is not learnt yet (of 8 places of the data"));
    const auto data = rows(true);
    graft::AdamW<float> adamw(model, {.lr = 1e-2, .clip = 1.0});
    graft::Batches batches(data, {.batch = 10, .steps = 60});
    const auto rope = model.positions(16);
    for (std::int64_t step = 0; step < 60; ++step) {
        const auto batch = batches.micro_batches(step).front();
        graft::forward_backward(model, batch, rope, 0, 1.0 / double(batch.targets), {});
        (void)adamw.step(1.0);
    }
    const auto after = measured(model);
    CHECK(after.likeliest == 8);
    CHECK(after.probability > 0.9);
    CHECK(graft::why_endless(after, named).ends_with("the samples say something else than the data does"));
}
