#include "../checkpoint/checkpoint_support.hpp"

#include "graft/checkpoint/load.hpp"
#include "graft/cpu.hpp"
#include "graft/train/probe.hpp"
#include "graft/train/trained_set.hpp"

// What changed is what was declared: tensors that were changed by hand are found.
using namespace graft_test;

namespace {

const graft::AdapterConfig all_linear{
    .rank = 2, .alpha = 4, .targets = {.kind = graft::ModuleChoice::Kind::all_linear}};

template <class T> graft::AnyModel<T> made(graft::Base base)
{
    auto model = tiny_model<T>(base);
    if (base == graft::Base::nf4) {
        const TempFolder temp;
        graft::load_weights(model, graft::Checkpoint::open(tiny_checkpoint(temp.path())));
    }
    if (base != graft::Base::trained) {
        graft::add_adapter(model, graft::adapter_targets(all_linear, model.config, "test"), all_linear, 7);
    }
    for (const auto& tensor : graft::trained_tensors(model)) { graft::refresh(tensor); }
    return model;
}

template <class Model, class AdamW> void step(Model& model, AdamW& adamw)
{
    const graft::Example example{.ids = {1, 4, 2, 7, 3}, .labels = {graft::ignore, 4, 2, 7, 3}, .source = "x"};
    const auto batch = graft::collate(std::span(&example, 1), std::vector<std::int64_t>{0});
    graft::forward_backward(model, batch, model.positions(8), 0, 0.25, {});
    adamw.step().check();
}

template <class Model, class AdamW>
graft::TrainedSet set_of(const graft::TensorHashes& before, Model& model, AdamW& adamw)
{
    return graft::trained_set(before, graft::tensor_hashes(model), graft::names_of(adamw), graft::with_gradient(adamw));
}

}  // namespace

TEST_CASE_TEMPLATE("trained set: steps of LoRA, QLoRA and full training change what they declare, nothing else", T,
                   float, graft::bf16)
{
    for (const auto base : {graft::Base::frozen, graft::Base::nf4, graft::Base::trained}) {
        CAPTURE(int(base));
        auto model = made<T>(base);
        const auto before = graft::tensor_hashes(model);
        graft::AdamW<T> adamw(model, {.lr = 0.01});
        const auto declared = std::int64_t(adamw.trained().size());

        auto none = set_of(before, model, adamw);
        CHECK(none.changed.empty());
        CHECK(std::int64_t(none.without_gradient.size()) == declared);
        CHECK_NOTHROW(none.check(true));

        step(model, adamw);
        auto one = set_of(before, model, adamw);
        CHECK_NOTHROW(one.check(true));
        const bool full = base == graft::Base::trained;
        if (!full) { CHECK(std::int64_t(one.changed.size()) <= declared / 2); }  // B is zero: A has no gradient
        CHECK(one.unchanged.empty());
        CHECK(one.declared() == declared);
        CHECK(one.frozen == std::int64_t(before.size()) - declared);
        CHECK((one.frozen == 0) == full);

        step(model, adamw);
        auto two = set_of(before, model, adamw);
        CHECK_NOTHROW(two.check(true));
        CHECK(two.stray.empty());
        if constexpr (std::is_same_v<T, float>) {  // in bf16 a gradient of this small model may round to zero
            CHECK(std::int64_t(one.changed.size()) == (full ? declared : declared / 2));
            CHECK(std::int64_t(two.changed.size()) == declared);
        }
    }
}

TEST_CASE("trained set: a frozen tensor that changed is an error that names it, whatever its kind")
{
    for (const auto base : {graft::Base::frozen, graft::Base::nf4}) {
        auto model = made<float>(base);
        const auto before = graft::tensor_hashes(model);
        graft::AdamW<float> adamw(model, {.lr = 0.01});
        std::vector<std::string> names;
        graft::leaves(model, [&](const std::string& name, auto& leaf) {
            if constexpr (!std::remove_cvref_t<decltype(leaf)>::trainable) { names.push_back(name); }
        });
        CHECK(names.size() > 10);
        for (const auto& wanted : names) {
            CAPTURE(wanted);
            // One bit of the last value, there and back.
            const auto flip = [&] {
                graft::leaves(model, [&](const std::string& name, auto& leaf) {
                    if (name != wanted) { return; }
                    if constexpr (requires { leaf.value(); }) {
                        auto view = leaf.value().view();
                        auto& value = view.row(view.rows - 1)[view.cols() - 1];
                        reinterpret_cast<unsigned char*>(&value)[0] ^= 1;
                    } else {
                        leaf.memory_of([](std::span<const std::byte> bytes) {
                            if (!bytes.empty()) { const_cast<std::byte&>(bytes.back()) ^= std::byte{1}; }
                        });
                    }
                });
            };
            flip();
            const auto set = set_of(before, model, adamw);
            CHECK((set.stray == std::vector<std::string>{wanted}));
            CHECK_THROWS_WITH_AS(set.check(true), doctest::Contains(wanted.c_str()), graft::Error);
            CHECK_THROWS_AS(set.check(false), graft::Error);
            flip();
            CHECK(set_of(before, model, adamw).stray.empty());
        }
    }
}

TEST_CASE("trained set: a rate too small to change a value is an error; a rate of zero is not")
{
    auto model = made<float>(graft::Base::trained);
    const auto before = graft::tensor_hashes(model);
    graft::AdamW<float> adamw(model, {.lr = 1e-30});
    step(model, adamw);
    const auto set = set_of(before, model, adamw);
    CHECK(set.unchanged.size() > 10);  // values of zero may take it
    CHECK(set.declared() == std::int64_t(adamw.trained().size()));
    CHECK_THROWS_WITH_AS(set.check(true), doctest::Contains("learning rate is too small"), graft::Error);
    CHECK_NOTHROW(set.check(false));
    CHECK_THROWS_WITH_AS(graft::trained_set(before, before, {"no.such"}, {}), doctest::Contains("no.such"),
                         graft::Error);
}

TEST_CASE("trained set: a combined hash is that of its tensors alone")
{
    auto model = made<float>(graft::Base::frozen);
    const auto hashes = graft::tensor_hashes(model);
    graft::AdamW<float> adamw(model, {.lr = 0.01});
    const auto names = graft::names_of(adamw);
    const auto before = graft::combined(hashes, names);
    CHECK(graft::combined(graft::tensor_hashes(model), names) == before);
    step(model, adamw);
    CHECK(graft::combined(graft::tensor_hashes(model), names) != before);
    CHECK(graft::combined(graft::tensor_hashes(model), {"model.norm.weight"})
          == graft::combined(hashes, {"model.norm.weight"}));
}

TEST_CASE("probe: the same ids for a model of this size, and a loss that an adapter changes")
{
    auto model = made<float>(graft::Base::frozen);
    const auto example = graft::probe_example(model.config);
    CHECK(example.ids == graft::probe_example(model.config).ids);
    CHECK(std::int64_t(example.ids.size()) == std::min<std::int64_t>(64, model.config.max_positions));
    CHECK(graft::targets(example) == std::int64_t(example.ids.size()) - 1);
    for (const auto id : example.ids) { CHECK((id >= 0 && id < model.config.vocab)); }
    const double loss = graft::probe_loss(model);
    CHECK(loss > 0);
    CHECK(graft::probe_loss(model) == loss);
    graft::AdamW<float> adamw(model, {.lr = 0.01});
    step(model, adamw);
    CHECK(graft::probe_loss(model) != loss);
}
