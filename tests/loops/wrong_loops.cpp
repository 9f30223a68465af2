#include "../checkpoint/checkpoint_support.hpp"
#include "../numbers.hpp"

#include "graft/checkpoint/load_model.hpp"
#include "graft/cpu.hpp"
#include "graft/models/generate.hpp"
#include "graft/nn/clone.hpp"
#include "graft/train/preference_step.hpp"
#include "graft/train/run_state.hpp"
#include "graft/train/step.hpp"

// Loops that somebody might write, each with one mistake: every one is stopped, with a sentence that says what was
// meant, before a value is wrong. The same loops put right train.
using namespace graft_test;
using graft::item;
using graft::no_tape;
using graft::Tape;

namespace {

const graft::AdapterConfig settings{.rank = 2, .alpha = 4, .targets = {.kind = graft::ModuleChoice::Kind::all_linear}};
const std::vector<std::int32_t> tokens{1, 4, 2, 7, 3}, next{4, 2, 7, 3, graft::ignore};

graft::AnyModel<float> adapted(const graft::AdapterConfig& config = settings)
{
    auto model = tiny_model<float>();
    graft::add_adapter(model, config, 1);
    return model;
}
graft::AnyModel<float> whole() { return tiny_model<float>(graft::Base::trained); }

template <class Model> auto loss_of(const Model& model, graft::TapeRef tape, double scale = 0.25)
{
    const auto context = graft::context_for<float, graft::Cpu>({5}, model.positions(5));
    return model.loss(tape, ids_of(tokens), context, next, scale);
}
template <class Model> double backward(const Model& model, double scale = 0.25)
{
    Tape tape;
    const auto loss = loss_of(model, tape, scale);
    tape.backward(loss);
    return item(loss);
}
// Some steps, and whether they trained.
template <class Model, class AdamW> bool trains(Model& model, AdamW& adamw)
{
    const double before = backward(model);
    adamw.clear_gradients();
    for (int step = 0; step < 30; ++step) {
        backward(model);
        adamw.step().check();
    }
    const double after = item(loss_of(model, no_tape));
    CAPTURE(before);
    CAPTURE(after);
    CHECK(after < before);
    return after < before - 1e-3;
}
template <class Model> bool trains(Model& model)
{
    graft::AdamW adamw(model, {.lr = 0.05});
    return trains(model, adamw);
}

}  // namespace

TEST_CASE("loops: a loss of no tape, of another tape, gone back from twice, or of a tape that has run")
{
    auto model = adapted();
    Tape tape, other;
    CHECK(says(refusal_of([&] { tape.backward(loss_of(model, no_tape)); }),
               {"no_tape", "call the model with this tape"}));
    const auto loss = loss_of(model, tape);
    CHECK(says(refusal_of([&] { other.backward(loss); }), {"another tape"}));
    tape.backward(loss);
    CHECK(says(refusal_of([&] { tape.backward(loss); }), {"gone back from before", "form the loss again"}));
    const auto first = loss_of(model, tape), second = loss_of(model, tape);
    tape.backward(first);
    CHECK(says(refusal_of([&] { tape.backward(second); }), {"the tape has run since", "add losses"}));
    const auto third = loss_of(model, tape);
    CHECK(says(refusal_of([&] { tape.backward(second); }), {"the tape has run since"}));
    tape.backward(third);
    graft::clear_gradients(model);
    CHECK(trains(model));
}

TEST_CASE("loops: losses of two tapes do not add; of one tape, and with one of no tape, they do")
{
    auto model = adapted();
    Tape tape, other;
    const auto one = loss_of(model, tape), two = loss_of(model, other);
    CHECK(says(refusal_of([&] { one + two; }), {"add: ", "two tapes", "the same tape"}));
    graft::AdamW adamw(model, {.lr = 0.05});
    tape.backward(one), other.backward(two);  // each alone: both gradients are there
    const double both = adamw.step(0).check().grad_norm;
    Tape third;
    third.backward(loss_of(model, third) + loss_of(model, third));
    CHECK(adamw.step(0).check().grad_norm == doctest::Approx(both).epsilon(1e-5));
    for (const bool first : {false, true}) {
        Tape fourth;
        const auto with = loss_of(model, fourth), without = loss_of(model, no_tape);
        fourth.backward(first ? without + with : with + without);
        CHECK(adamw.step(0).check().grad_norm == doctest::Approx(both / 2).epsilon(1e-5));
    }
    // What any op takes from two models.
    Tape fifth;
    const auto context = graft::context_for<float, graft::Cpu>({5}, model.positions(5));
    const auto here = model.embed(fifth, ids_of(tokens)), there = model.embed(other, ids_of(tokens));
    CHECK(says(refusal_of([&] { graft::silu_mul(here, there); }), {"silu_mul: ", "two tapes"}));
    CHECK(says(refusal_of([&] { graft::attention(here, here, there, 8, context); }), {"attention: ", "two tapes"}));
    fifth.clear(), other.clear();
    CHECK(trains(model, adamw));
}

TEST_CASE("loops: several backwards before one step add up, as micro-batches must")
{
    auto one = adapted(), two = adapted();
    graft::AdamW a(one, {.lr = 0.05}), b(two, {.lr = 0.05});
    for (int step = 0; step < 5; ++step) {
        backward(one, 0.25);
        backward(two, 0.125), backward(two, 0.0625), backward(two, 0.0625);
        const auto info = a.step(), other = b.step();
        CHECK(info.grad_norm == doctest::Approx(other.grad_norm).epsilon(1e-4));
        CHECK(info.tensors == 28);
        CHECK(info.applied);
    }
    CHECK(item(loss_of(one, no_tape)) == doctest::Approx(item(loss_of(two, no_tape))).epsilon(1e-4));
}

TEST_CASE("loops: a step between forward and backward, or a load")
{
    for (const bool recompute : {false, true}) {
        auto model = recompute ? whole() : adapted();
        graft::AdamW adamw(model, {.lr = 0.05});
        Tape tape;
        const auto old = loss_of(model, tape);
        backward(model);
        adamw.step().check();
        CHECK(says(refusal_of([&] { tape.backward(old); }), {"changed since this loss was formed", "only then step"}));
        adamw.clear_gradients();
        CHECK(trains(model, adamw));
    }
    const TempFolder temp;
    const auto folder = tiny_checkpoint(temp.path());
    auto model = whole();
    Tape tape;
    const auto old = loss_of(model, tape);
    graft::load_weights(model, graft::Checkpoint::open(folder));
    CHECK(says(refusal_of([&] { tape.backward(old); }), {"changed since this loss was formed"}));
}

TEST_CASE("loops: step without a gradient, twice, or with gradients of other values")
{
    auto model = whole();
    graft::AdamW adamw(model, {.lr = 0.05});
    CHECK(says(refusal_of([&] { adamw.step().check(); }), {"step() without a gradient", "go backward first"}));
    backward(model);
    adamw.step().check();
    CHECK(says(refusal_of([&] { adamw.step().check(); }), {"step() without a gradient"}));
    const TempFolder temp;
    const auto folder = tiny_checkpoint(temp.path());
    backward(model);
    graft::load_weights(model, graft::Checkpoint::open(folder));
    CHECK(says(refusal_of([&] { adamw.step().check(); }), {"formed before its values changed", "clear_gradients()"}));
    adamw.clear_gradients();
    CHECK(trains(model, adamw));
}

TEST_CASE("loops: gradients from before the optimiser was made")
{
    auto model = adapted();
    backward(model);
    CHECK(says(refusal_of([&] { graft::AdamW adamw(model); }), {"has a gradient already", "clear_gradients(model)"}));
    graft::clear_gradients(model);
    CHECK(trains(model));
}

TEST_CASE("loops: what is trained changes under the optimiser")
{
    const auto refused = [](auto& model, auto& adamw) {
        backward(model);
        const auto text = refusal_of([&] { adamw.step().check(); });
        graft::clear_gradients(model);
        CHECK(trains(model));  // with an optimiser of its own
        return text;
    };
    {
        auto model = graft::make_model<float>(tiny_config(), {.trained = {"model.norm"}});
        graft::init(model, 1, 0.3);
        graft::AdamW adamw(model, {.lr = 0.05});
        graft::add_adapter(model, settings, 1);
        CHECK(
            says(refused(model, adamw), {"trains model.layers.0.", "lora_A", "it did not when", "make the optimiser"}));
    }
    {
        auto model = adapted();
        graft::AdamW adamw(model, {.lr = 0.05});
        graft::remove_adapter(model);
        graft::add_adapter(model, settings, 2);
        CHECK(says(refused(model, adamw), {"does not train model.layers.0.", "any more"}));
    }
    {
        auto model = whole();
        graft::AdamW adamw(model, {.lr = 0.05});
        model.norm.become(graft::Base::frozen);
        std::fill_n(const_cast<float*>(model.norm.with([](const auto& w) { return w.working().data(); })), 8, 1.0f);
        CHECK(says(refused(model, adamw), {"does not train model.norm.weight any more", "frozen"}));
        graft::AdamW later(model, {.lr = 0.05});
        model.norm.train();
        CHECK(says(refused(model, later), {"trains model.norm.weight", "unfrozen"}));
    }
    {
        auto model = whole();
        graft::AdamW adamw(model, {.lr = 0.05});
        model = whole();
        CHECK(says(refused(model, adamw), {"does not train ", "replaced"}));
    }
}

TEST_CASE("loops: a model that moves is the same model, and one that is copied another")
{
    auto first = std::make_unique<graft::AnyModel<float>>(adapted());
    graft::AdamW adamw(*first, {.lr = 0.05});
    auto model = std::move(*first);
    first.reset();
    CHECK(trains(model, adamw));
    std::vector<graft::AnyModel<float>> list;
    list.push_back(std::move(model));
    list.reserve(20);
    backward(list[0]);
    CHECK(adamw.step().tensors == 28);
    graft::remove_adapter(list[0]);
    graft::add_adapter(list[0], settings, 2);
    backward(list[0]);
    CHECK(says(refusal_of([&] { adamw.step().check(); }), {"any more"}));
}

TEST_CASE("loops: a second adapter over the first one")
{
    auto model = adapted();
    const auto before = values_of(model);
    CHECK(says(refusal_of([&] { graft::add_adapter(model, settings, 2); }),
               {"carries an adapter already", "remove_adapter", "stack_adapter"}));
    CHECK(values_of(model) == before);
    CHECK(model.adapter->alpha == 4);
    graft::remove_adapter(model);
    CHECK(!model.adapter);
    graft::add_adapter(model, settings, 2);
    CHECK(trains(model));
}

TEST_CASE("loops: positions beyond what the model covers, and documents beyond the table")
{
    auto model = adapted();
    CHECK(says(refusal_of([&] { model.positions(17); }), {"positions(17)", "covers 16 positions"}));
    const auto short_table = model.positions(4);
    CHECK(says(refusal_of([&] {
                   graft::context_for<float, graft::Cpu>({3, 5}, short_table);
               }),
               {"document 1 has 5 tokens", "4 rows"}));
    const graft::Example example{.ids = tokens, .labels = tokens, .source = "x"};
    const auto batch = graft::collate(std::span(&example, 1), std::vector<std::int64_t>{0});
    CHECK(says(refusal_of([&] { graft::forward_backward(model, batch, short_table, 0, 1.0, {}); }),
               {"document 0 of the batch has 5 tokens", "4 rows"}));
    CHECK_NOTHROW(graft::forward_backward(model, batch, model.positions(16), 0, 1.0, {}));
}

TEST_CASE("loops: a table of no positions is empty, one of fewer is refused")
{
    auto model = adapted();
    CHECK(model.positions(0)->cos.rows() == 0);
    CHECK(says(refusal_of([&] { model.positions(-1); }), {"-1 positions", "at least 0"}));
    CHECK(says(refusal_of([&] { graft::context_for<float, graft::Cpu>({5}, model.positions(0)); }), {"0 rows"}));
}

TEST_CASE("loops: settings of an adapter, and of what is generated, that are no numbers")
{
    const auto refused = [](auto change) {
        auto config = settings;
        change(config);
        return refusal_of([&] { adapted(config); });
    };
    for (const double bad : {std::nan(""), HUGE_VAL}) {
        CHECK(says(refused([&](auto& c) { c.alpha = bad; }), {"alpha of model.layers.0.", "finite"}));
        CHECK(says(refused([&](auto& c) { c.alpha_pattern = {{"up_proj", bad}}; }), {"up_proj", "finite"}));
        CHECK(says(refused([&](auto& c) { c.dropout = bad; }), {"dropout must be"}));
    }
    for (const double bad : {1.0, -0.5}) {
        CHECK(says(refused([&](auto& c) { c.dropout = bad; }), {"dropout must be at least 0 and below 1"}));
    }
    const auto model = adapted();
    for (const double bad : {std::nan(""), HUGE_VAL, -1.0}) {
        CHECK(says(refusal_of([&] { graft::generate(model, tokens, {.max_tokens = 2, .temperature = bad}); }),
                   {"temperature must be"}));
        const graft::GenerateOptions cut{.max_tokens = 2, .temperature = 1, .top_p = bad};
        CHECK(says(refusal_of([&] { graft::generate(model, tokens, cut); }), {"top_p"}));
    }
    CHECK(graft::generate(model, tokens, {.max_tokens = 2, .temperature = 1, .top_p = 0.5}).size() == 2);
}

TEST_CASE("loops: preference training with a beta or smoothing that cannot be")
{
    auto model = adapted();
    std::vector<graft::Example> rows;
    for (const std::int32_t answer : {7, 5}) {
        rows.push_back({.ids = {1, 4, answer}, .labels = {graft::ignore, graft::ignore, answer}, .source = "x"});
    }
    const std::vector<std::int64_t> prompts{2};
    graft::PreferenceData data{.examples = rows, .prompts = prompts};
    const auto rope = model.positions(16);
    CHECK(says(refusal_of([&] { graft::evaluate_preference(model, data, 1, rope); }), {"reference of every answer"}));
    data.reference = graft::reference_log_probs(model, data, 1, rope);
    const auto batch = graft::collate_pairs(data, std::vector<std::int64_t>{0});
    const auto go = [&](graft::PreferenceOptions options) {
        data.options = options;
        graft::PreferenceMetrics sums;
        const auto said =
            refusal_of([&] { graft::preference_forward_backward(model, data, batch, rope, 1.0, false, sums); });
        CHECK(said == refusal_of([&] { graft::evaluate_preference(model, data, 1, rope); }));
        return said;
    };
    for (const double bad : {0.0, -0.1, std::nan(""), HUGE_VAL}) {
        CHECK(says(go({.beta = bad}), {"beta must be above 0"}));
    }
    CHECK(says(go({.label_smoothing = 0.5}), {"label smoothing must be"}));
    CHECK(go({}).empty());
}

TEST_CASE("loops: a base that nobody loaded or filled")
{
    const std::vector<graft::Example> rows(1, {.ids = tokens, .labels = tokens, .source = "rows.jsonl"});
    const auto batch = graft::collate(rows, std::vector<std::int64_t>{0});
    for (const auto base : {graft::Base::frozen, graft::Base::trained}) {
        auto model = graft::make_model<float>(tiny_config(false), {.base = base});
        if (base == graft::Base::frozen) { graft::add_adapter(model, settings, 1); }
        const std::string said =
            refusal_of([&] { graft::forward_backward(model, batch, model.positions(5), 0, 0.25, {}); });
        CHECK_MESSAGE(says(said, {"the loss is not finite", "never loaded or filled", "model."}), said);
    }
}

TEST_CASE("loops: what is not finite is not saved")
{
    const TempFolder temp;
    auto model = adapted();
    model.layers[0].attn.q.branch()->b.value().data()[1] = std::numeric_limits<float>::infinity();
    CHECK(says(refusal_of([&] { graft::save_adapter(model, temp.path()); }),
               {"layers.0.self_attn.q_proj.lora_B", "row 0, column 1", "not a finite number", "nothing was saved"}));
    CHECK(!fs::exists(temp / "adapter_model.safetensors"));
    CHECK(!fs::exists(temp / "adapter_config.json"));
}

TEST_CASE("loops: a clone has weights of its own; a copy has not")
{
    auto model = whole();
    const auto copy = model;
    const auto kept = graft::clone(model);
    const double before = item(loss_of(model, no_tape));
    CHECK(item(loss_of(kept, no_tape)) == before);
    REQUIRE(trains(model));
    CHECK(item(loss_of(kept, no_tape)) == before);
    CHECK(item(loss_of(copy, no_tape)) == item(loss_of(model, no_tape)));

    auto with = adapted();
    auto also = graft::clone(with);
    const double same = item(loss_of(also, no_tape));
    REQUIRE(trains(with));
    CHECK(item(loss_of(also, no_tape)) == same);
    CHECK(trains(also));
}

// Foret et al. 2021, arXiv:2010.01412: the gradient of a point a little uphill steps the weights where they are.
TEST_CASE("loops: sharpness-aware minimisation says that it means another point's gradient")
{
    auto model = whole();
    graft::AdamW adamw(model, {.lr = 0.01});
    const auto uphill = [&](double by) {
        for (const auto& tensor : graft::trained_tensors(model)) {
            auto value = tensor.value;
            for (std::int64_t i = 0; i < value.rows(); ++i) {
                for (std::int64_t j = 0; j < value.cols(); ++j) { value.view().row(i)[j] += float(by); }
            }
            graft::refresh(tensor);
        }
    };
    const double before = item(loss_of(model, no_tape));
    for (int step = 0; step < 20; ++step) {
        uphill(0.0078125);
        backward(model);
        uphill(-0.0078125);
        if (step == 0) {
            CHECK(says(refusal_of([&] { (void)adamw.step(); }), {"before its values changed", "accept_gradients"}));
        }
        graft::accept_gradients(model);
        adamw.step().check();
    }
    CHECK(item(loss_of(model, no_tape)) < before);
}

TEST_CASE("loops: rates that are no numbers")
{
    auto model = adapted();
    for (const double bad : {std::nan(""), HUGE_VAL, -1.0}) {
        CHECK(says(refusal_of([&] { graft::AdamW adamw(model, {.lr = bad}); }), {"lr must be a finite number"}));
        CHECK(says(refusal_of([&] { graft::AdamW adamw(model, {.clip = bad}); }), {"clip must be finite numbers"}));
    }
    graft::AdamW adamw(model);
    backward(model);
    CHECK(says(refusal_of([&] { adamw.step(std::nan("")).check(); }), {"finite number", "nan"}));
}

TEST_CASE("loops: a run that diverges is stopped by a sentence that names tensor and row")
{
    auto model = whole();
    graft::AdamW adamw(model, {.lr = 1e30});
    // With nothing but a tape: at the loss.
    const auto text = refusal_of([&] {
        for (int step = 0; step < 5; ++step) {
            backward(model);
            adamw.step().check();
        }
    });
    CHECK_MESSAGE((says(text, {"is not finite", "learning rate"})), text);
    // With forward_backward: as finetune says it.
    std::vector<graft::Example> rows(3, {.ids = tokens, .labels = tokens, .source = "rows.jsonl"});
    auto fine = whole();
    fine.embed.with([](const auto& w) { const_cast<float*>(w.working().data())[2 * 8] = std::nanf(""); });
    rows[0].ids = rows[0].labels = {1, 4, 3};
    rows[2].ids = rows[2].labels = {5, 6, 3};
    const auto batch = graft::collate(rows, std::vector<std::int64_t>{0, 1, 2});
    const auto sentence = refusal_of([&] { graft::forward_backward(fine, batch, fine.positions(16), 0, 1.0, {}); });
    CHECK_MESSAGE(says(sentence, {"the loss is not finite", "first bad tensor: weight model.embed_tokens.weight",
                                  "sample: row "}),
                  sentence);
    CHECK(sentence == refusal_of([&] { graft::check_model(fine, batch, fine.positions(16)); }));
    CHECK_NOTHROW(graft::check_model(adapted(), batch, fine.positions(16)));
    // Nothing was written.
    for (const auto& tensor : graft::trained_tensors(fine)) { CHECK(!tensor.grad.written()); }
    const auto named = refusal_of([&] {
        const auto name = [](std::int64_t row) { return "rows.jsonl row " + std::to_string(row + 1); };
        graft::forward_backward(fine, batch, fine.positions(16), 0, 1.0, {.sample = name});
    });
    CHECK_MESSAGE(says(named, {"sample: rows.jsonl row "}), named);
}

TEST_CASE("loops: a gradient that is not finite changes nothing; a loop that goes on regardless is stopped")
{
    auto model = adapted();
    graft::AdamW adamw(model, {.lr = 0.05});
    backward(model);
    adamw.trained()[3].grad.sink().view.data[0] = HUGE_VALF;
    const auto before = values_of(model);
    const auto info = adamw.step();
    CHECK(!info.applied);
    CHECK(!info.finite());
    CHECK(info.tensors == 0);
    CHECK(info.not_finite == adamw.trained()[3].name);
    CHECK(values_of(model) == before);
    const graft::Example example{.ids = tokens, .labels = tokens, .source = "x"};
    const auto batch = graft::collate(std::span(&example, 1), std::vector<std::int64_t>{0});
    CHECK(says(refusal_of([&] { graft::check_step(info, model, batch, model.positions(16)); }),
               {"a gradient is not finite", adamw.trained()[3].name, "row 0"}));
    backward(model);
    CHECK(says(refusal_of([&] { adamw.step().check(); }), {"of the step before are still there", "clear_gradients()"}));
    adamw.clear_gradients();
    CHECK(trains(model, adamw));
}

TEST_CASE("loops: settings of another adapter cannot be saved, nor loaded, nor resumed")
{
    const TempFolder temp;
    auto model = adapted();
    REQUIRE(trains(model));
    fs::create_directories(temp / "out"), fs::create_directories(temp / "other"), fs::create_directories(temp / "run");
    graft::save_adapter(model, temp / "out");
    const auto read = graft::read_adapter_config(temp / "out");
    CHECK((read.rank == 2 && read.alpha == 4));
    auto again = tiny_model<float>();
    CHECK(graft::add_adapter(again, temp / "out").rank == 2);
    CHECK(again.adapter->alpha == 4);
    CHECK(item(loss_of(again, no_tape)) == item(loss_of(model, no_tape)));

    const auto other = [](auto change) {
        auto config = settings;
        change(config);
        return config;
    };
    const auto with = [&](const graft::AdapterConfig& config) {
        auto wrong = model;  // its tensors are those of the model
        wrong.adapter = config;
        return refusal_of([&] { graft::save_adapter(wrong, temp / "other"); });
    };
    CHECK(says(with(other([](auto& c) { c.alpha = 1; })),
               {"rank 2 and scale 2", "rank 2 and scale 0.5", "another function"}));
    CHECK(says(with(other([](auto& c) { c.rank = 4, c.alpha = 8; })), {"rank 2 and scale 2", "rank 4 and scale 2"}));
    CHECK(says(with(other([](auto& c) { c.rslora = true; })), {"scale 2.82", "sqrt(rank)"}));
    CHECK(says(with(other([](auto& c) { c.dropout = 0.5; })), {"dropout"}));
    CHECK(says(with(other([](auto& c) { c.targets = {.kind = graft::ModuleChoice::Kind::list, .names = {"q_proj"}}; })),
               {"carries an adapter", "do not target it"}));
    CHECK(says(with(other([](auto& c) { c.modules_to_save = {"norm"}; })), {"modules_to_save", "not trained"}));
    CHECK(says(with(other([](auto& c) { c.alpha_pattern = {{"up_proj", 5}}; })), {"up_proj", "another function"}));
    CHECK(says(with(other([](auto& c) { c.trained_tokens = {3}; })), {"tokens"}));
    CHECK(!fs::exists(temp / "other/adapter_model.safetensors"));
    auto bare = tiny_model<float>();
    CHECK(says(refusal_of([&] { graft::save_adapter(bare, temp / "other"); }), {"carries no adapter"}));
    auto fewer = model;
    fewer.layers[1].attn.q.bare();
    CHECK(says(refusal_of([&] { graft::save_adapter(fewer, temp / "other"); }),
               {"layers.1.self_attn.q_proj", "carries no"}));
    auto more = adapted();
    more.norm.train();
    CHECK(says(refusal_of([&] { graft::save_adapter(more, temp / "other"); }), {"model.norm.weight is trained"}));

    // The same tensors under another scale.
    auto loud = adapted(other([](auto& c) { c.alpha = 32; }));
    const auto before = values_of(loud);
    CHECK(says(refusal_of([&] { graft::load_adapter(loud, temp / "out"); }),
               {"scale 16", "scale 2", "another function"}));
    CHECK(values_of(loud) == before);

    graft::AdamW adamw(model, {.lr = 0.05});
    const auto state = graft::save_run_state(temp / "run", {}, model, adamw);
    graft::AdamW theirs(loud, {.lr = 0.05});
    CHECK(says(refusal_of([&] { graft::load_run_state(state, loud, theirs); }), {"another function"}));
    CHECK(values_of(loud) == before);
    CHECK_NOTHROW(graft::load_run_state(state, model, adamw));
}
