#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graft/checkpoint/adapter_config/targets.hpp"
#include "graft/core/dtype.hpp"
#include "graft/core/inline.hpp"
#include "graft/io/safetensors/types.hpp"
#include "graft/models/config.hpp"

// The audit: what a model consists of, and what of it is trained, from config.json and the adapter's settings alone.
//
//   const Audit a = make_audit(model, {.method = TrainMethod::lora, .targets = adapter_targets(adapter, model)});
//   std::fputs(to_text(a).c_str(), stdout);
//
// One row for each kind of part: tensors, parameters (a tied head is counted once, with the embedding), bytes in
// memory, trainable or frozen. Whoever trains compares trainable_names with the tensors that got a gradient.
//
// base_parameters: what the checkpoint has, as its elements are counted in PyTorch: once for a tied pair, also where
// the run unties it (the copy is added then), and the numbers before they were packed for NF4. added_parameters: all
// that lies over it, trained or not: adapters, rows of tokens, an untied head.
//
// Bytes: trained values 4 an element (f32); frozen ones as base_type. NF4: half a byte an element and one f32 for each
// 64 (double_quant: one byte for each 64, one f32 for each 256 of these, and a map of 256 f32). Gradients and optimiser
// state are not counted. Modules that are trained whole beside an adapter are rows of their own, and groups by rate.
// The size of the adapter's file is known before a run: A and B in f32, modules in their types there.
// Methods: none (nothing is trained), lora, qlora (linears of the blocks in NF4), full. A
// checkpoint that is stored in NF4 counts as such with every method.
//
// Throws: Error for full training of a checkpoint that is stored in NF4.
namespace graft {

enum class TrainMethod : std::uint8_t { none, lora, qlora, full };

struct AuditSettings {
    TrainMethod method = TrainMethod::none;
    AdapterTargets targets{};  // lora, qlora; with none: an adapter that is loaded and frozen
    StoredType base_type = StoredType::f32;
    bool double_quant = false;                        // qlora
    std::vector<AdapterTargets> stacked{};            // adapters below the one that is trained: frozen, as base_type
    std::map<std::string, StoredType> saved_types{};  // of tensors saved whole, in the adapter's file; f32 otherwise
};

struct AuditRow {
    std::string part;
    std::string type;  // of an element
    std::int64_t tensors = 0, parameters = 0, bytes = 0;
    bool trainable = false;
};

// Trained tensors that share a rate.
struct AuditGroup {
    std::string name;
    std::int64_t tensors = 0, parameters = 0;
    std::optional<double> rate{};  // where one is known
};

struct Audit {
    std::vector<AuditRow> rows;
    std::int64_t base_parameters = 0, added_parameters = 0;
    std::int64_t trainable_parameters = 0, trainable_tensors = 0;
    std::int64_t tensors = 0, parameters = 0, bytes = 0;
    AdapterTargets targets;
    // MODULE.lora_A.weight (without PEFT's prefix), or the name in the checkpoint.
    std::vector<std::string> trainable_names;
    std::vector<AuditGroup> groups;  // where modules are trained whole beside an adapter; the adapter is the last
    std::int64_t file_tensors = 0, file_bytes = 0;  // of the adapter's file, without its header
    std::vector<std::string> notes;
};

namespace detail {

std::int64_t nf4_bytes(std::int64_t elements, bool double_quant);

}  // namespace detail

Audit make_audit(const ModelConfig& model, AuditSettings settings);

// A table for people: a line a part, totals, and which modules carry the adapter.
std::string to_text(const Audit& audit);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/checkpoint/audit.ipp"
#endif
