#pragma once
#include <cstddef>
#include <cstdint>
#include <fcntl.h>
#include <filesystem>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "graft/checkpoint/adapter.hpp"
#include "graft/checkpoint/adapter/tensors.hpp"
#include "graft/checkpoint/load.hpp"
#include "graft/core/device.hpp"
#include "graft/core/dtype.hpp"
#include "graft/core/inline.hpp"
#include "graft/io/checkpoint_folders.hpp"
#include "graft/io/safetensors.hpp"
#include "graft/io/safetensors/types.hpp"
#include "graft/io/safetensors/write.hpp"
#include "graft/models/any.hpp"
#include "graft/nn/trained.hpp"
#include "graft/optim/adamw.hpp"
#include "graft/train/metrics_file.hpp"
#include "graft/train/run_state/record.hpp"

// The state of a run in a folder checkpoint-N, N being the steps done: a run that goes on from it is, bit for bit, the
// run that was never interrupted.
//
//   save_run_state(run, state, model, adamw, {.keep = 2})     run/checkpoint-N, by one rename
//   const FoundRunState found = newest_run_state(run);          the newest whole one
//   load_run_state(found.folder, model, adamw);                 masters, moments, step counts
//
// The folder holds
//   adapter_config.json, adapter_model.safetensors    of an adapter: the folder is itself one that PEFT reads
//   model.safetensors                                 without an adapter: every trained tensor, by its name
//   optimizer.safetensors                             NAME.m and NAME.v of each trained tensor, NAME.steps (I64, no
//                                                     extents); a tensor that was never stepped has steps 0 and no m, v
//   metrics.jsonl                                     a line for each step done (metrics.hpp)
//   run_state.json                                    last: step, settings, size and hash of all others (record.hpp)
// Values are in the type of the masters, f32 (f64 for a model in f64). Tensors are known by name, never by position.
// Nothing else is needed: the order of the data, rates and random numbers are functions of seed and step.
//
// keep: of the checkpoints up to this step, the newest that stay; the others go once this one is on disk.
//
// newest_run_state goes from the newest to older ones until each file of one has the size and hash that were written;
// the ones before it are listed with the reason. One whose record does not read, or that lacks a file, is damaged too.
// load_run_state compares all names, shapes and types of both files before it changes a value.
//
// Throws: Error that names folder or file: not whole, of another model, cannot be written (disk full). A failing save
// leaves the checkpoints as they were.
namespace graft {

struct SaveOptions {
    std::int64_t keep = 2;
    Metadata metadata{};  // of the adapter's file
    KeptTensors kept{};   // of the adapter's file: frozen ones
};

struct FoundRunState {
    std::filesystem::path folder;  // empty: none is whole
    RunState state{};
    std::vector<std::filesystem::path> damaged{};  // newer than folder, newest first
    std::vector<std::string> reasons{};            // of each of them
};

namespace detail {

template <class A> constexpr StoredType master_type = std::is_same_v<A, double> ? StoredType::f64 : StoredType::f32;

template <Float T, Device Dev> std::vector<std::int64_t> shape_in_file(const TrainedTensor<T, Dev>& tensor)
{
    if (tensor.vector) { return {tensor.value.cols()}; }
    return {tensor.value.rows(), tensor.value.cols()};
}

template <Float T, Device Dev> void save_optimizer(const std::filesystem::path& path, AdamW<T, Dev>& adamw)
{
    using A = acc<T>;
    const auto trained = adamw.trained();
    const auto states = adamw.state();
    std::vector<TensorHead> heads;
    std::vector<std::pair<std::size_t, char>> what;
    for (std::size_t i = 0; i < trained.size(); ++i) {
        heads.push_back({trained[i].name + ".steps", StoredType::i64, {}});
        what.emplace_back(i, 's');
        if (states[i].m.empty()) { continue; }
        for (const char moment : {'m', 'v'}) {
            heads.push_back({trained[i].name + "." + moment, master_type<A>, shape_in_file(trained[i])});
            what.emplace_back(i, moment);
        }
    }
    write_safetensors(path, heads, [&](std::size_t i, const WriteBytes& write) {
        auto& state = states[what[i].first];
        if (what[i].second == 's') {
            write(std::as_bytes(std::span(&state.steps, 1)));
        } else {
            const auto& moment = what[i].second == 'm' ? state.m : state.v;
            write(stored_values(std::as_const(moment).view(), heads[i].type, heads[i].name));
        }
    });
}

// Whether what is trained is an adapter, or the model's own weights.
template <class Model> bool carries_adapter(Model& model)
{
    if constexpr (requires { model.adapter.has_value(); }) {
        return model.adapter.has_value() || !laid_branches(model).empty();
    } else {
        return false;
    }
}

// What a file must hold, found by name and compared as a whole before anything is read from it.
class Expected {
public:
    explicit Expected(const std::filesystem::path& path) : file_(SafetensorsFile::open(path)) {}

    bool has(const std::string& name) const { return file_.find(name) != nullptr; }
    const StoredTensor* take(const std::string& name, StoredType type, const std::vector<std::int64_t>& shape);
    // A tensor that is not looked at.
    void pass(const std::string& name);
    void check();

private:
    SafetensorsFile file_;
    LoadReport report_;
    std::vector<std::string> names_;
    std::size_t taken_ = 0;
};

}  // namespace detail

// Returns the folder.
template <class Model, Float T, Device Dev>
std::filesystem::path save_run_state(const std::filesystem::path& run, const RunState& state, Model& model,
                                     AdamW<T, Dev>& adamw, const SaveOptions& options = {})
{
    using A = acc<T>;
    NewCheckpoint save(run, state.step());
    const auto trained = adamw.trained();
    if (detail::carries_adapter(model)) {
        AdapterTypes types;
        for (const auto& tensor : trained) { types[tensor.name] = detail::master_type<A>; }
        save_adapter(model, save.path(), types, {.metadata = options.metadata, .kept = options.kept});
    } else {
        std::vector<TensorHead> heads;
        for (const auto& tensor : trained) {
            heads.push_back({tensor.name, detail::master_type<A>, detail::shape_in_file(tensor)});
        }
        write_safetensors(save.path() / "model.safetensors", heads, [&](std::size_t i, const WriteBytes& write) {
            write(detail::stored_values(std::as_const(trained[i].value).view(), heads[i].type, trained[i].name));
        });
    }
    detail::save_optimizer(save.path() / "optimizer.safetensors", adamw);
    write_file(save.path() / detail::metrics_name, metrics_text(state.steps));
    detail::write_record(save.path(), state);
    save.commit();
    keep_checkpoints(run, state.step(), options.keep);
    return run / checkpoint_name(state.step());
}

FoundRunState newest_run_state(const std::filesystem::path& run);

template <class Model, Float T, Device Dev>
void load_run_state(const std::filesystem::path& folder, Model& model, AdamW<T, Dev>& adamw)
{
    using A = acc<T>;
    struct Found {
        const StoredTensor *value, *steps, *m = nullptr, *v = nullptr;
    };
    const bool adapter = std::filesystem::exists(folder / "adapter_model.safetensors");
    const std::string prefix = adapter ? std::string(detail::peft_prefix) : std::string();
    detail::Expected weights(folder / (adapter ? "adapter_model.safetensors" : "model.safetensors"));
    detail::Expected optimizer(folder / "optimizer.safetensors");

    auto trained = trained_tensors(model);
    const auto states = adamw.state();
    require(trained.size() == states.size(), "load_run_state: the optimiser is not that of this model");
    std::vector<Found> found;
    for (const auto& tensor : trained) {
        const auto shape = detail::shape_in_file(tensor);
        const std::string m = tensor.name + ".m", v = tensor.name + ".v";
        Found one{weights.take(prefix + tensor.name, detail::master_type<A>, shape),
                  optimizer.take(tensor.name + ".steps", StoredType::i64, {})};
        if (optimizer.has(m) || optimizer.has(v)) {
            one.m = optimizer.take(m, detail::master_type<A>, shape);
            one.v = optimizer.take(v, detail::master_type<A>, shape);
        }
        found.push_back(one);
    }
    if (adapter) {  // beside what is trained: modules that are kept, the other name of a tied pair
        std::set<std::string> others{detail::embedding_weight, detail::head_weight};
        leaves(model, [&](const std::string& name, auto&) { others.insert(name); });
        for (const auto& tensor : trained) { others.erase(tensor.name); }
        for (const auto& name : others) { weights.pass(prefix + name); }
    }
    weights.check();
    optimizer.check();
    if constexpr (requires { model.config.tied; }) {
        if (adapter) { require_laid(model, read_adapter_config(folder), printable(folder.string(), 1000)); }
    }
    std::vector<std::int64_t> steps(found.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
        steps[i] = detail::element<std::int64_t, std::int64_t>(found[i].steps->bytes.data());
        require((steps[i] > 0) == (found[i].m != nullptr) && steps[i] >= 0, [&] {
            return printable(folder.string(), 1000) + ": optimizer.safetensors: " + printable(trained[i].name) + " has "
                   + std::to_string(steps[i]) + " steps and " + (found[i].m != nullptr ? "" : "no ") + "moments";
        });
    }

    for (std::size_t i = 0; i < found.size(); ++i) {
        auto& tensor = trained[i];
        auto& state = states[i];
        detail::read_dense(*found[i].value, tensor.value.view());
        refresh(tensor);
        state = {};
        state.steps = steps[i];
        if (found[i].m == nullptr) { continue; }
        state.m = {tensor.value.rows(), tensor.value.cols(), tensor.value.pool()};
        state.v = {tensor.value.rows(), tensor.value.cols(), tensor.value.pool()};
        detail::read_dense(*found[i].m, state.m.view());
        detail::read_dense(*found[i].v, state.v.view());
    }
}

#if !GRAFT_HEADER_ONLY  // compiled once: parts/models.hpp
#define GRAFT_EXTERN(T)                                                                                                \
    extern template std::filesystem::path save_run_state(const std::filesystem::path&, const RunState&, AnyModel<T>&,  \
                                                         AdamW<T, Cpu>&, const SaveOptions&);                          \
    extern template void load_run_state(const std::filesystem::path&, AnyModel<T>&, AdamW<T, Cpu>&);
GRAFT_EXTERN(float)
GRAFT_EXTERN(bf16)
GRAFT_EXTERN(double)
#undef GRAFT_EXTERN
#endif

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/train/run_state.ipp"
#endif
