#include "graft/fwd.hpp"

// Somebody's header, which knows names only.
namespace {

struct Mine {
    const graft::Tensor<float, graft::Shape<graft::dyn, 8>, graft::Cpu>* rows;
    graft::AdamW<float, graft::Cpu>* adamw;
    const graft::Tokenizer* tokenizer;
    const graft::Dataset* data;
};
float first(const Mine& mine);
bool same(const graft::Batch& batch, const graft::ModelConfig& config);

}  // namespace

#include <doctest/doctest.h>

#include <type_traits>

#include "graft/checkpoint/audit.hpp"
#include "graft/checkpoint/load_model.hpp"
#include "graft/cpu.hpp"
#include "graft/io/hash.hpp"
#include "graft/text/dataset.hpp"
#include "graft/train/memory_plan.hpp"
#include "graft/train/preference_step.hpp"
#include "graft/train/run_state.hpp"

namespace {

float first(const Mine& mine) { return mine.rows->view().row(0)[0]; }
bool same(const graft::Batch& batch, const graft::ModelConfig& config) { return batch.targets == config.vocab; }

}  // namespace

TEST_CASE("fwd: the names are those of the definitions")
{
    graft::Tensor<float, graft::Shape<graft::dyn, 8>, graft::Cpu> rows(2);
    rows.view().row(0)[0] = 3;
    CHECK(first({.rows = &rows, .adamw = nullptr, .tokenizer = nullptr, .data = nullptr}) == 3);
    graft::Batch batch;
    graft::ModelConfig config;
    batch.targets = config.vocab = 5;
    CHECK(same(batch, config));
    // A name that nothing defines would be incomplete.
    CHECK(std::is_class_v<graft::Tokenizer>);
    const std::size_t sizes[] = {sizeof(graft::Error),
                                 sizeof(graft::Tape),
                                 sizeof(graft::TapeRef),
                                 sizeof(graft::AdapterConfig),
                                 sizeof(graft::GenerateOptions),
                                 sizeof(graft::ModelConfig),
                                 sizeof(graft::ModelOptions),
                                 sizeof(graft::RopeSettings),
                                 sizeof(graft::AdamWOptions),
                                 sizeof(graft::StepInfo),
                                 sizeof(graft::AtomicFile),
                                 sizeof(graft::Checkpoint),
                                 sizeof(graft::SafetensorsFile),
                                 sizeof(graft::Sha256),
                                 sizeof(graft::Audit),
                                 sizeof(graft::Loaded),
                                 sizeof(graft::LoadOptions),
                                 sizeof(graft::ChatTemplate),
                                 sizeof(graft::JinjaTemplate),
                                 sizeof(graft::Tokenizer),
                                 sizeof(graft::Dataset),
                                 sizeof(graft::Example),
                                 sizeof(graft::Batches),
                                 sizeof(graft::Batch),
                                 sizeof(graft::MemoryPlan),
                                 sizeof(graft::PreferenceData),
                                 sizeof(graft::RunState),
                                 sizeof(graft::StepMetrics),
                                 sizeof(graft::StepSettings),
                                 sizeof(graft::Pool<graft::Cpu>),
                                 sizeof(graft::Buffer<float, graft::Cpu>),
                                 sizeof(graft::View<float, 8>),
                                 sizeof(graft::Grad<float, graft::Cpu>),
                                 sizeof(graft::Frozen<float, graft::Shape<8>, graft::Cpu>),
                                 sizeof(graft::Param<float, graft::Shape<8>, graft::Cpu>),
                                 sizeof(graft::Context<float, graft::Cpu>),
                                 sizeof(graft::KvCache<float, graft::Cpu>),
                                 sizeof(graft::RopeTable<float, graft::Cpu>),
                                 sizeof(graft::TrainedTensor<float, graft::Cpu>),
                                 sizeof(graft::Nf4Weight<graft::Shape<8, 8>, graft::Cpu>),
                                 sizeof(graft::AdamW<float, graft::Cpu>)};
    for (const std::size_t size : sizes) { CHECK(size > 0); }
}
