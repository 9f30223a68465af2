#pragma once
// What is compiled once of models at run time, for one element type, GRAFT_T: the definitions of what the headers
// declare extern where GRAFT_HEADER_ONLY is 0. models_*.cpp say which.
#include "graft/checkpoint/load_model.hpp"
#include "graft/checkpoint/save.hpp"
#include "graft/cpu.hpp"
#include "graft/models/generate.hpp"
#include "graft/train/ending.hpp"
#include "graft/train/memory_plan.hpp"
#include "graft/train/preference_step.hpp"
#include "graft/train/run_state.hpp"
#include "graft/train/step.hpp"

namespace graft {

using T = GRAFT_T;

template class AdamW<T, Cpu>;
template class Llama<dynamic_shape, AnyKit<T, Cpu>>;
template AnyModel<T> make_model<T, Cpu>(const ModelConfig&, const ModelOptions&, const std::shared_ptr<Pool<Cpu>>&);
template void begin_adapters(AnyModel<T>&, std::uint64_t);
template void init(AnyModel<T>&, std::uint64_t, double);
template std::vector<TrainedTensor<T, Cpu>> trained_tensors(AnyModel<T>&);
template std::vector<std::int32_t> generate(const AnyModel<T>&, std::span<const std::int32_t>, const GenerateOptions&,
                                            const std::function<bool(std::int32_t)>&);
template Loaded load_weights(AnyModel<T>&, const Checkpoint&, const LoadOptions&);
template AnyModel<T> load_model<T, Cpu>(const std::filesystem::path&, ModelOptions, const LoadOptions&);
template void add_adapter(AnyModel<T>&, const AdapterConfig&, std::uint64_t);
template AdapterConfig add_adapter(AnyModel<T>&, const std::filesystem::path&);
template void add_adapter(AnyModel<T>&, const AdapterTargets&, const AdapterConfig&, std::uint64_t);
template void remove_adapter(AnyModel<T>&);
template AdapterTypes load_adapter(AnyModel<T>&, const std::filesystem::path&, const SavedModules&);
template KeptTensors kept_tensors(AnyModel<T>&, const std::filesystem::path&);
template AdapterConfig stack_adapter(AnyModel<T>&, const std::filesystem::path&);
template void save_adapter(AnyModel<T>&, const std::filesystem::path&, const AdapterTypes&, const SaveAdapterOptions&);
template void save_checkpoint(AnyModel<T>&, const std::filesystem::path&, const std::filesystem::path&, StoredType,
                              const BeforeLast&);
template AdamW<T, Cpu>::AdamW(AnyModel<T>&, AdamWOptions);
template std::string not_finite(const AnyModel<T>&);
template double forward_backward(const AnyModel<T>&, const Batch&, const std::shared_ptr<const RopeTable<acc<T>, Cpu>>&,
                                 std::uint32_t, double, const StepSettings&);
template void check_model(const AnyModel<T>&, const Batch&, const std::shared_ptr<const RopeTable<acc<T>, Cpu>>&,
                          const RowName&);
template double evaluate(const AnyModel<T>&, std::span<const Example>, std::int64_t,
                         const std::shared_ptr<const RopeTable<acc<T>, Cpu>>&);
template std::filesystem::path save_run_state(const std::filesystem::path&, const RunState&, AnyModel<T>&,
                                              AdamW<T, Cpu>&, const SaveOptions&);
template void load_run_state(const std::filesystem::path&, AnyModel<T>&, AdamW<T, Cpu>&);
template std::vector<double> reference_log_probs(const AnyModel<T>&, const PreferenceData&, std::int64_t,
                                                 const std::shared_ptr<const RopeTable<acc<T>, Cpu>>&);
template double preference_forward_backward(const AnyModel<T>&, const PreferenceData&, const Batch&,
                                            const std::shared_ptr<const RopeTable<acc<T>, Cpu>>&, double, bool,
                                            PreferenceMetrics&, const RowName&);
template double evaluate_preference(const AnyModel<T>&, const PreferenceData&, std::int64_t,
                                    const std::shared_ptr<const RopeTable<acc<T>, Cpu>>&);
template MemoryPlan plan_memory<T>(const ModelConfig&, const PlanOptions&);
template Ending measure_ending(const AnyModel<T>&, std::span<const Example>, std::span<const std::int64_t>,
                               const std::shared_ptr<const RopeTable<acc<T>, Cpu>>&);

}  // namespace graft
