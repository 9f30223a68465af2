#include <doctest/doctest.h>

#include "../files.hpp"
#include "../support.hpp"
#include "graft/checkpoint/combine.hpp"
#include "graft/checkpoint/grow_vocabulary.hpp"
#include "graft/checkpoint/load_model.hpp"
#include "graft/checkpoint/merge.hpp"
#include "graft/cpu.hpp"
#include "graft/text/dataset.hpp"
#include "graft/train/run_state.hpp"
#include "graft/train/step.hpp"

// The code of docs/guides/*.md that is in no chapter, run on the small model of the examples. A guide shows lines of
// this file as they stand here (tests/programs/guides.cpp); what stands around them is for the test.
using namespace graft_test;
namespace fs = std::filesystem;

namespace {

const fs::path examples = GRAFT_EXAMPLES_DIR, model_folder = examples / "data/stories260K";

bool there()
{
    const bool found = fs::exists(model_folder / "model.safetensors");
    if (!found) { skip("there is no examples/data/stories260K"); }
    return found;
}

// An adapter of this rank over the small model, as it begins.
fs::path new_adapter(const fs::path& folder, std::int64_t rank)
{
    auto model = graft::load_model<float>(model_folder);
    const graft::AdapterConfig config{.rank = rank, .alpha = 16};
    graft::add_adapter(model, config, 1);
    fs::create_directories(folder);
    graft::save_adapter(model, folder);
    return folder;
}

}  // namespace

TEST_CASE("check what is learnt, from C++")
{
    if (!there()) { return; }
    const std::vector<fs::path> files{examples / "data/conversations.jsonl"};
    const auto tokenizer = graft::Tokenizer::load(model_folder);
    const auto chat = graft::ChatTemplate::named("zephyr", tokenizer.special_tokens());

    const auto set = graft::load_dataset(files, &tokenizer, {.tmpl = &chat, .max_length = 2048});
    for (const auto& line : graft::mask_proof(set, &tokenizer)) { std::puts(line.c_str()); }

    CHECK(set.report.rows_used == 48);
    CHECK(graft::mask_proof(set, &tokenizer).size() > 5);
}

TEST_CASE("continue and resume, from C++")
{
    if (!there()) { return; }
    const TempFolder temp;
    const auto folder = temp.path();
    const graft::AdapterConfig config{.rank = 4, .alpha = 8};
    const std::uint64_t seed = 1;
    const graft::Example example{.ids = {1, 403, 407, 261, 378}, .labels = {-100, -100, 407, 261, 378}, .source = ""};
    // Steps `first` to `total`, as a program runs that is started again.
    const auto train = [&](std::int64_t first, std::int64_t total) {
        auto model = graft::load_model<float>(model_folder);
        graft::add_adapter(model, config, seed);
        graft::AdamW adamw(model, {.lr = 1e-3, .clip = 1.0});
        graft::Batches batches(std::span(&example, 1), {.batch = 1, .steps = total, .seed = seed});
        const auto rope = model.positions(16);
        CHECK(std::int64_t(graft::newest_run_state(folder).state.steps.size()) == first);

        std::vector<graft::StepMetrics> done;
        if (const auto found = graft::newest_run_state(folder); !found.folder.empty()) {
            graft::load_run_state(found.folder, model, adamw);
            done = found.state.steps;
        }
        for (auto step = std::int64_t(done.size()); step < total; ++step) {
            const auto batch = batches.micro_batches(step).front();
            graft::StepMetrics metrics{.step = step, .targets = batch.targets};
            metrics.loss = graft::forward_backward(model, batch, rope, 0, 1.0 / double(batch.targets),
                                                   {{seed, std::uint32_t(step)}});
            metrics.grad_norm = adamw.step(graft::factor(graft::Schedule::linear, step, total, 0)).check().grad_norm;
            done.push_back(metrics);
            if ((step + 1) % 100 == 0) { graft::save_run_state(folder, {.steps = done}, model, adamw, {.keep = 2}); }
        }
        return done.back().loss;
    };
    train(0, 120);
    CHECK(fs::exists(folder / "checkpoint-100"));
    CHECK(train(100, 120) < 1);
}

TEST_CASE("train embeddings and head, from C++")
{
    if (!there()) { return; }
    const auto folder = model_folder;
    const std::uint64_t seed = 1;

    graft::AdapterConfig config{.rank = 8, .alpha = 16};
    config.modules_to_save = {"embed_tokens", "lm_head"};
    auto model = graft::load_model<float>(folder);  // {}, {.untie = true} for two tensors of a tied model
    config.ensure_weight_tying = true;              // of a tied model: one tensor
    graft::add_adapter(model, config, seed);
    graft::AdamW adamw(model, {.lr = 2e-4, .rates = {{"model.embed_tokens.weight", 5e-6}}});

    CHECK(adamw.trained().size() == 21);
}

TEST_CASE("merge, from C++")
{
    if (!there()) { return; }
    const TempFolder temp;
    const fs::path base = model_folder, out = temp / "merged", other = temp / "wider";
    const auto folder = new_adapter(temp / "adapter", 8);

    const auto config = graft::read_config(base);
    const auto adapter = graft::StoredAdapter::open(folder, config);
    std::filesystem::create_directories(out);
    const auto receipt = graft::merge_adapter(base, {&adapter, 1}, out, {.type = graft::StoredType::bf16});
    const auto wider = graft::grow_rank(adapter, 32, config);
    std::filesystem::create_directories(other);
    graft::write_adapter(wider, other, config);

    CHECK(receipt.tensors == 47);
    CHECK(fs::exists(out / "model.safetensors"));
    CHECK(graft::StoredAdapter::open(other, config).config().rank == 32);
}

TEST_CASE("grow the vocabulary, from C++")
{
    if (!there()) { return; }
    const TempFolder temp;
    const auto base = model_folder, folder = temp / "grown";

    std::filesystem::create_directories(folder);
    const auto receipt = graft::grow_vocabulary(base, folder, {.tokens = {"<|im_start|>", "<|im_end|>"}});
    const auto first = receipt.tokens.front().id;

    CHECK(first == 512);
}
