#include "../checkpoint/checkpoint_support.hpp"

#include "graft/checkpoint/load_model.hpp"
#include "graft/cpu.hpp"
#include "graft/io/sealed_json.hpp"
#include "graft/train/fingerprint.hpp"
#include "graft/train/run_state.hpp"
#include "graft/train/step.hpp"

// checkpoint-N: a run that goes on from one is the run that was never interrupted; damage is seen.
using namespace graft_test;

namespace {

std::vector<graft::Example> rows()
{
    std::vector<graft::Example> out;
    for (std::int32_t i = 0; i < 7; ++i) {
        graft::Example example{.ids = {}, .labels = {}, .row = i + 1, .source = "rows"};
        for (std::int32_t t = 0; t < 3 + i % 4; ++t) {
            example.ids.push_back((3 * i + 2 * t) % 11);
            example.labels.push_back(t < 1 + i % 2 ? graft::ignore : example.ids.back());
        }
        out.push_back(example);
    }
    return out;
}

const graft::AdapterConfig adapter_config{
    .rank = 2, .alpha = 4, .dropout = 0.25, .targets = {.kind = graft::ModuleChoice::Kind::all_linear}};

// A run in f32 or bf16, of an adapter or of everything.
template <class T> struct Run {
    graft::Base base;
    std::vector<graft::Example> examples = rows();
    graft::AnyModel<T> model;
    graft::AdamW<T> adamw;
    std::vector<graft::StepMetrics> steps;

    Run(graft::Base b, std::uint64_t seed) : base(b), model(made(b, seed)), adamw(model, {.lr = 0.02, .clip = 1.0}) {}

    static graft::AnyModel<T> made(graft::Base base, std::uint64_t seed)
    {
        auto model = tiny_model<T>(base);
        if (base != graft::Base::trained) { graft::add_adapter(model, adapter_config, seed); }
        for (const auto& tensor : graft::trained_tensors(model)) { graft::refresh(tensor); }
        return model;
    }
    bool full() const { return base == graft::Base::trained; }
    graft::Batches plan() const { return {examples, {.batch = 2, .accumulate = 2, .epochs = 3, .seed = 5}}; }

    void train(std::int64_t last, const fs::path& saves = {})
    {
        auto batches = plan();
        const auto rope = model.positions(16);
        for (auto step = std::int64_t(steps.size()); step < last; ++step) {
            graft::StepMetrics m{.step = step,
                                 .lr = 0.02 * graft::factor(graft::Schedule::cosine, step, batches.steps(), 2)};
            const auto micro = batches.micro_batches(step);
            m.targets = graft::targets(micro);
            std::uint32_t sample = 0;
            for (const auto& batch : micro) {
                m.loss += graft::forward_backward(model, batch, rope, sample, 1.0 / double(m.targets),
                                                  {{5, std::uint32_t(step)}});
                m.tokens += batch.tokens();
                sample += std::uint32_t(batch.documents());
            }
            m.grad_norm = adamw.step(m.lr / 0.02).grad_norm;
            CHECK(std::isfinite(m.grad_norm));
            steps.push_back(m);
            if (!saves.empty()) { save(saves, 100); }
        }
    }
    fs::path save(const fs::path& run, std::int64_t keep)
    {
        return graft::save_run_state(run, {.steps = steps, .settings = {{"lr", "0.02"}, {"data", "rows", "ab"}}}, model,
                                     adamw, {.keep = keep});
    }
    void load(const fs::path& folder)
    {
        steps = graft::read_run_state(folder).steps;
        graft::load_run_state(folder, model, adamw);
    }
};

template <class T> void cut_everywhere(graft::Base base)
{
    const TempFolder temp;
    Run<T> whole(base, 1);
    const auto total = whole.plan().steps();
    REQUIRE(total >= 6);
    whole.save(temp.path(), 100);
    whole.train(total, temp.path());
    const auto values = values_of(whole.model);
    for (std::int64_t cut = 0; cut <= total; ++cut) {
        CAPTURE(cut);
        graft::set_threads(cut % 2 == 0 ? 1 : 3);
        graft::share_work_from(0);
        Run<T> resumed(base, 77 + std::uint64_t(cut));  // other starting values: they must all come from the file
        resumed.load(temp / graft::checkpoint_name(cut));
        CHECK(std::int64_t(resumed.steps.size()) == cut);
        resumed.train(total);
        CHECK((values_of(resumed.model) == values));
        CHECK(graft::metrics_text(resumed.steps) == graft::metrics_text(whole.steps));
        // Saved again without a step it is the same files.
        if (cut % 3 == 0) {
            Run<T> again(base, 5);
            again.load(temp / graft::checkpoint_name(cut));
            again.save(temp / "", 100);
        }
    }
    graft::set_threads(1);
    graft::share_work_from(graft::default_shared_work);
}

// A run with checkpoints of steps 1, 2 and 3.
void three(const fs::path& run)
{
    Run<float> some(graft::Base::frozen, 1);
    some.train(3, run);
}

void expect_passed_over(const fs::path& run, const fs::path& file, const char* what)
{
    CAPTURE(file.string());
    CAPTURE(what);
    const auto found = graft::newest_run_state(run);
    CHECK(found.folder == run / "checkpoint-2");
    CHECK(found.state.step() == 2);
    REQUIRE(found.damaged.size() == 1);
    CHECK(found.damaged[0] == run / "checkpoint-3");
    CHECK(found.reasons[0].find(file.string()) != std::string::npos);
    CHECK(found.reasons[0].find('\n') == std::string::npos);
}

}  // namespace

TEST_CASE("run state: cut after each step and resumed it is the whole run, bit for bit: adapter, f32")
{
    cut_everywhere<float>(graft::Base::frozen);
}
TEST_CASE("run state: cut after each step: adapter, bf16") { cut_everywhere<graft::bf16>(graft::Base::frozen); }
TEST_CASE("run state: cut after each step: full, f32") { cut_everywhere<float>(graft::Base::trained); }
TEST_CASE("run state: cut after each step: full, bf16") { cut_everywhere<graft::bf16>(graft::Base::trained); }

TEST_CASE("run state: the same state is the same bytes, settings come back, the folder is an adapter that loads")
{
    const TempFolder temp;
    three(temp.path());
    const auto before = contents(temp / "checkpoint-3");
    Run<float> again(graft::Base::frozen, 9);
    again.load(temp / "checkpoint-3");
    again.save(temp.path(), 100);
    CHECK(contents(temp / "checkpoint-3") == before);
    const auto state = graft::read_run_state(temp / "checkpoint-3");
    CHECK(state.settings[0].name == "lr");
    CHECK(state.settings[1].hash == "ab");
    CHECK(graft::setting_changes(state.settings, {{"lr", "0.02"}, {"data", "elsewhere", "ab"}}).empty());

    auto model = tiny_model<float>();
    CHECK(graft::add_adapter(model, temp / "checkpoint-3").rank == 2);
    CHECK((values_of(model) == values_of(again.model)));
}

TEST_CASE("run state: damage to any file of the newest checkpoint is seen, and the one before it taken")
{
    const TempFolder temp;
    three(temp.path());
    const auto newest = temp / "checkpoint-3";
    const auto files = contents(newest);
    CHECK(files.size() == 5);
    for (const auto& [name, bytes] : files) {
        const auto file = newest / name;
        fs::remove(file);
        expect_passed_over(temp.path(), file, "missing");
        write_text(file, bytes.substr(0, bytes.size() - 1));
        expect_passed_over(temp.path(), file, "shorter");
        write_text(file, bytes + "\n");
        expect_passed_over(temp.path(), file, "longer");
        write_text(file, "");
        expect_passed_over(temp.path(), file, "empty");
        for (std::size_t at = 0; at < bytes.size(); at += 1 + bytes.size() / 40) {
            std::string damaged = bytes;
            damaged[at] = char(damaged[at] ^ 1);
            write_text(file, damaged);
            expect_passed_over(temp.path(), file, "a bit");
        }
        fs::remove(file);
        fs::create_directory(file);
        expect_passed_over(temp.path(), file, "a folder");
        fs::remove(file);
        write_text(file, bytes);
    }
    CHECK(graft::newest_run_state(temp.path()).folder == newest);

    // All of them: none is taken, each is named.
    for (const int step : {1, 2, 3}) { fs::remove(temp / graft::checkpoint_name(step) / "optimizer.safetensors"); }
    const auto none = graft::newest_run_state(temp.path());
    CHECK(none.folder.empty());
    CHECK(none.reasons.size() == 3);
    CHECK(none.state.steps.empty());
}

TEST_CASE("run state: records that lie are refused with the reason")
{
    const TempFolder temp;
    three(temp.path());
    const auto folder = temp / "checkpoint-3";
    const auto record = folder / "run_state.json";
    const auto good = nlohmann::ordered_json::parse(read_text(record));
    const auto said = [&](auto&& change) {
        auto json = good;
        json.erase("sha256");
        change(json);
        graft::write_sealed(record, json);
        return refusal_of([&] { graft::read_run_state(folder); });
    };
    using Json = nlohmann::ordered_json;
    CHECK(said([](Json&) {}) == "");
    CHECK(said([](Json& j) { j["format"] = 2; }).find("format 2") != std::string::npos);
    CHECK(said([](Json& j) { j["step"] = 4; }).find("4 steps") != std::string::npos);
    CHECK(said([](Json& j) { j["settings"] = 4; }).find("settings") != std::string::npos);
    CHECK(said([](Json& j) { j.erase("files"); }).find("files") != std::string::npos);
    CHECK(said([](Json& j) { j["files"].erase("optimizer.safetensors"); }).find("optimizer") != std::string::npos);
    CHECK(said([](Json& j) { j["files"]["../checkpoint-2/metrics.jsonl"] = {}; }).find("not a file of this folder")
          != std::string::npos);
    write_text(record, read_text(temp / "checkpoint-2/run_state.json"));
    CHECK(refusal_of([&] { graft::read_run_state(folder); }).find("damaged") != std::string::npos);

    fs::rename(temp / "checkpoint-2", temp / "checkpoint-9");
    CHECK(graft::newest_run_state(temp.path()).reasons.at(0).find("it was renamed") != std::string::npos);
}

TEST_CASE("run state: another model is refused by tensor, before a value changes")
{
    const TempFolder temp;
    three(temp.path());
    Run<float> full(graft::Base::trained, 1);
    const auto before = values_of(full.model);
    const auto said = refusal_of([&] { graft::load_run_state(temp / "checkpoint-3", full.model, full.adamw); });
    CHECK(said.find("adapter_model.safetensors") != std::string::npos);
    CHECK(said.find("missing") != std::string::npos);
    CHECK((values_of(full.model) == before));

    auto wide = tiny_model<float>();
    auto config = adapter_config;
    config.rank = 3;
    graft::add_adapter(wide, config, 1);
    graft::AdamW<float> adamw(wide);
    const auto start = values_of(wide);
    CHECK(refusal_of([&] { graft::load_run_state(temp / "checkpoint-3", wide, adamw); }).find("expected F32 [3, 8]")
          != std::string::npos);
    CHECK((values_of(wide) == start));

    // The optimiser's file of fewer tensors: the weights are not touched either.
    Run<float> same(graft::Base::frozen, 3);
    auto tensors = Tensors::read(temp / "checkpoint-3/optimizer.safetensors");
    tensors.erase(tensors.list.back().name);
    tensors.write(temp / "checkpoint-3/optimizer.safetensors");
    const auto kept = values_of(same.model);
    CHECK(refusal_of([&] { graft::load_run_state(temp / "checkpoint-3", same.model, same.adamw); }).find("missing")
          != std::string::npos);
    CHECK((values_of(same.model) == kept));
}

TEST_CASE("run state: the oldest go once the new one is whole; a failing save leaves them all")
{
    const TempFolder temp;
    Run<float> some(graft::Base::frozen, 1);
    for (int step = 1; step <= 4; ++step) {
        some.train(step);
        some.save(temp.path(), 2);
    }
    CHECK(graft::checkpoints_of(temp.path()).size() == 2);
    CHECK(graft::newest_run_state(temp.path()).state.step() == 4);
    const auto before = contents(temp.path());
    some.train(5);
    CHECK(with_full_disk(2000, [&] { some.save(temp.path(), 2); }) == 2);
    CHECK(contents(temp.path()) == before);
}

TEST_CASE("fingerprints: every token, label, weight and setting of the base counts; names of files do not")
{
    const auto data = rows();
    const auto whole = graft::data_fingerprint(data);
    auto other = data;
    other[6].source = "elsewhere";
    CHECK(graft::data_fingerprint(other) == whole);
    for (std::size_t i = 0; i < data.size(); ++i) {
        other = data;
        other[i].labels.back() = graft::ignore;
        CHECK(graft::data_fingerprint(other) != whole);
        other = data;
        other[i].ids[0] += 1;
        CHECK(graft::data_fingerprint(other) != whole);
        other = data;
        std::swap(other[i], other[(i + 1) % data.size()]);
        CHECK(graft::data_fingerprint(other) != whole);
    }
    const TempFolder temp;
    const auto folder = tiny_checkpoint(temp.path());
    const auto hash = [&] { return graft::base_fingerprint(graft::Checkpoint::open(folder)); };
    const auto base = hash();
    graft::set_threads(3);
    graft::share_work_from(0);
    CHECK(hash() == base);
    graft::set_threads(1);
    graft::share_work_from(graft::default_shared_work);
    const auto good = Tensors::read(folder / "model.safetensors");
    for (const std::size_t i : {std::size_t(0), good.list.size() / 2, good.list.size() - 1}) {
        auto changed = good;
        changed.list[i].bytes.back() = char(changed.list[i].bytes.back() ^ 1);
        changed.write(folder / "model.safetensors");
        CHECK(hash() != base);
    }
    auto turned = good;
    std::reverse(turned.list.begin(), turned.list.end());
    turned.write(folder / "model.safetensors");
    CHECK(hash() == base);
    write_text(folder / "config.json", read_text(folder / "config.json") + "\n");
    CHECK(hash() != base);
}
