#include "../checkpoint/checkpoint_support.hpp"

#include "graft/checkpoint/load_model.hpp"
#include "graft/cpu.hpp"
#include "graft/models/generate.hpp"
#include "graft/train/step.hpp"

// Models whose shape and adapters are types, over a checkpoint: begun, loaded, trained, saved, and asked again by the
// models that programs use.
using namespace graft_test;

namespace {

inline constexpr graft::LlamaShape shape{
    .vocab = 11, .dim = 8, .ffn = 12, .layers = 2, .heads = 2, .kv_heads = 1, .head_dim = 4};
const graft::Example row{.ids = {1, 4, 2, 7, 3}, .labels = {1, 4, 2, 7, 3}, .source = "x"};

template <class Model> double step(Model& model, bool train)
{
    const auto batch = graft::collate(std::span(&row, 1), std::vector<std::int64_t>{0});
    if (train) { return graft::forward_backward(model, batch, model.positions(16), 0, 0.25, {}); }
    return graft::evaluate(model, std::span(&row, 1), 1, model.positions(16));
}

template <class Kit> void over_a_checkpoint(graft::Base base)
{
    const TempFolder temp;
    const auto folder = tiny_checkpoint(temp.path());
    const auto plain = [&] { return graft::load_model<float>(folder, {.base = base}); };
    graft::Llama<shape, Kit> model(graft::read_config(folder));
    const auto loaded = graft::load_weights(model, graft::Checkpoint::open(folder));
    CHECK(loaded.filled.size() == 21);
    CHECK(loaded.drawn.size() == 28);
    CHECK(loaded.kept.empty());
    auto bare = plain();
    CHECK(step(model, false) == step(bare, false));  // B is zero: training starts at the base

    // A as add_adapter draws it.
    auto any = plain();
    graft::add_adapter(any, {.rank = 3, .alpha = 32, .targets = {.kind = graft::ModuleChoice::Kind::all_linear}}, 0);
    CHECK(values_of(any) == values_of(model));

    graft::AdamW adamw(model, {.lr = 0.05}), beside(any, {.lr = 0.05});
    const double before = step(model, false);
    for (int i = 0; i < 10; ++i) {
        CHECK(std::isfinite(step(model, true)));
        step(any, true);
        CHECK(adamw.step().check().grad_norm == doctest::Approx(beside.step().check().grad_norm).epsilon(1e-5));
    }
    CHECK(step(model, false) < before - 0.02);

    // Saved without a word about settings, and read back by what programs use.
    fs::create_directories(temp / "out");
    graft::save_adapter(model, temp / "out");
    const auto config = graft::read_adapter_config(temp / "out");
    CHECK((config.rank == 3 && config.alpha == 32));
    auto asked = plain();
    graft::add_adapter(asked, temp / "out");
    CHECK(step(asked, false) == doctest::Approx(step(model, false)).epsilon(1e-6));
    const std::vector<std::int32_t> prompt{1, 4};
    CHECK(graft::generate(asked, prompt, {.max_tokens = 6}) == graft::generate(model, prompt, {.max_tokens = 6}));

    // A base that is loaded again leaves the adapter alone, and says so.
    const double trained = step(model, false);
    const auto again = graft::load_weights(model, graft::Checkpoint::open(folder));
    CHECK(again.kept.size() == 28);
    CHECK(again.drawn.empty());
    CHECK(step(model, false) == trained);
    CHECK(says(refusal_of([&] { graft::add_adapter(model, config, 1); }), {"carries an adapter already"}));

    // Read into a static kit: its settings are those of the file, whatever the kit began with.
    auto quiet = plain();
    graft::add_adapter(quiet, {.rank = 3, .alpha = 6, .targets = {.kind = graft::ModuleChoice::Kind::all_linear}}, 4);
    graft::AdamW third(quiet, {.lr = 0.05});
    step(quiet, true);
    third.step().check();
    fs::create_directories(temp / "quiet");
    graft::save_adapter(quiet, temp / "quiet");
    graft::Llama<shape, Kit> reader(graft::read_config(folder));
    graft::load_weights(reader, graft::Checkpoint::open(folder));
    graft::load_adapter(reader, temp / "quiet");
    CHECK(reader.adapter->alpha == 6);
    CHECK(step(reader, false) == doctest::Approx(step(quiet, false)).epsilon(1e-6));
    CHECK(says(refusal_of([&] { graft::load_adapter(reader, temp / "out"); }), {"another function"}));
}

}  // namespace

TEST_CASE("static kits: LoRA over a checkpoint")
{
    over_a_checkpoint<graft::LoraKit<float, graft::Cpu, 3>>(graft::Base::frozen);
}

TEST_CASE("static kits: QLoRA over a checkpoint")
{
    over_a_checkpoint<graft::QloraKit<float, graft::Cpu, 3>>(graft::Base::nf4);
}

TEST_CASE("static kits: settings of one's own, before the base is loaded or after; others are refused")
{
    const TempFolder temp;
    const auto folder = tiny_checkpoint(temp.path());
    using Model = graft::Llama<shape, graft::LoraKit<float, graft::Cpu, 3>>;
    const graft::AdapterConfig all{
        .rank = 3, .alpha = 9, .dropout = 0.25, .targets = {.kind = graft::ModuleChoice::Kind::all_linear}};
    Model before(graft::read_config(folder)), after(graft::read_config(folder));
    graft::add_adapter(before, all, 5);
    graft::load_weights(before, graft::Checkpoint::open(folder));
    graft::load_weights(after, graft::Checkpoint::open(folder));
    graft::add_adapter(after, all, 5);
    CHECK(values_of(before) == values_of(after));
    CHECK(step(before, true) == step(after, true));
    CHECK(before.layers[1].mlp.up.branch.scale == 3);
    CHECK(before.layers[1].mlp.up.branch.dropout == 0.25);
    CHECK(before.layers[1].mlp.up.branch.module != before.layers[0].mlp.up.branch.module);
    Model fresh(graft::read_config(folder));
    auto rank = all, some = all;
    rank.rank = 4, some.targets = {};
    CHECK(says(refusal_of([&] { graft::add_adapter(fresh, rank, 1); }), {"rank 3", "the config 4"}));
    CHECK(says(refusal_of([&] { graft::add_adapter(fresh, some, 1); }), {"k_proj", "does not target"}));
    CHECK_NOTHROW(graft::add_adapter(fresh, all, 1));
}
