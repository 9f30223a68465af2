#pragma once
#include "graft/checkpoint/audit.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "graft/checkpoint/adapter_config/saved_modules.hpp"
#include "graft/checkpoint/adapter_config/targets.hpp"
#include "graft/checkpoint/modules.hpp"
#include "graft/checkpoint/rope_config.hpp"
#include "graft/core/dtype.hpp"
#include "graft/io/safetensors/types.hpp"
#include "graft/io/text.hpp"
#include "graft/models/config.hpp"

namespace graft::detail {

GRAFT_INLINE std::int64_t nf4_bytes(std::int64_t elements, bool double_quant)
{
    const std::int64_t blocks = (elements + 63) / 64;
    return (elements + 1) / 2 + (double_quant ? blocks + ((blocks + 255) / 256 + 256) * 4 : blocks * 4);
}

// Whether llm_int8_skip_modules leaves a module dense: an entry is the name or whole dotted parts of it.
inline bool is_skipped(const std::string& module, const std::vector<std::string>& skipped)
{
    const std::string dotted = "." + module + ".";
    return std::any_of(skipped.begin(), skipped.end(),
                       [&](const std::string& entry) { return dotted.find("." + entry + ".") != std::string::npos; });
}

// "14 modules (q_proj and v_proj), rank 8, scale 4"
inline std::string modules_text(const AdapterTargets& targets)
{
    std::vector<std::string> ends;
    std::int64_t low = targets.modules.at(0).rank, high = low;
    double small = targets.modules[0].scale, large = small;
    for (const AdapterTarget& target : targets.modules) {
        const std::string end = target.name.substr(target.name.rfind('.') + 1);
        if (std::find(ends.begin(), ends.end(), end) == ends.end()) { ends.push_back(end); }
        low = std::min(low, target.rank), high = std::max(high, target.rank);
        small = std::min(small, target.scale), large = std::max(large, target.scale);
    }
    char text[128];
    std::snprintf(text, sizeof text, small == large ? "%.6g" : "%.6g to %.6g", small, large);
    return with_commas(static_cast<std::int64_t>(targets.modules.size())) + " modules (" + name_list(ends, 9)
           + "), rank " + std::to_string(low) + (low == high ? "" : " to " + std::to_string(high)) + ", scale " + text;
}

inline void add_stacked(Audit& audit, const AuditSettings& settings)
{
    if (settings.stacked.empty()) { return; }
    AuditRow a{.part = "stacked A", .type = std::string(stored_name(settings.base_type))}, b = a;
    b.part = "stacked B";
    for (const AdapterTargets& targets : settings.stacked) {
        for (const AdapterTarget& target : targets.modules) {
            a.tensors += 1, b.tensors += 1;
            a.parameters += target.rank * target.in;
            b.parameters += target.rank * target.out;
        }
        const std::string number = std::to_string(audit.notes.size() + 1);
        audit.notes.push_back("stacked " + number + ", frozen: " + modules_text(targets));
    }
    for (AuditRow* row : {&a, &b}) {
        row->bytes = row->parameters * stored_bits(settings.base_type) / 8;
        audit.rows.push_back(*row);
    }
    audit.notes.push_back(with_commas(a.parameters + b.parameters) + " parameters of "
                          + std::to_string(settings.stacked.size())
                          + (settings.stacked.size() == 1 ? " stacked adapter, frozen" : " stacked adapters, frozen"));
}

}  // namespace graft::detail

namespace graft {

GRAFT_INLINE Audit make_audit(const ModelConfig& model, AuditSettings settings)
{
    require(settings.stacked.empty() || settings.method != TrainMethod::full,
            "a checkpoint is trained in full without adapters over it");
    const bool full = settings.method == TrainMethod::full;
    require(!(full && model.quantization),
            "a checkpoint stored in NF4 cannot be trained in full: use qlora, or a checkpoint that is not quantised");
    const bool nf4 = settings.method == TrainMethod::qlora || model.quantization.has_value();
    const bool twice = model.quantization ? model.quantization->double_quant : settings.double_quant;

    const std::array<const char*, 6> parts{"embedding", "attention", "mlp", "norms", "biases", "head"};
    const bool trains = settings.method == TrainMethod::lora || settings.method == TrainMethod::qlora;
    const SavedModules& saved = settings.targets.saved;
    std::array<AuditRow, 6> dense{}, packed{}, whole{};
    Audit audit;
    AuditGroup pair, others{.name = "other modules"};
    for (const TensorInfo& tensor : checkpoint_tensors(model)) {
        const std::int64_t elements = elements_of(tensor.shape);
        const bool linear = tensor.kind == TensorKind::attention || tensor.kind == TensorKind::mlp;
        const bool pack =
            nf4 && linear
            && !(model.quantization
                 && detail::is_skipped(tensor.name.substr(0, tensor.name.rfind('.')), model.quantization->skipped));
        const bool train = full || (trains && !saved.frozen && saved.has(tensor.name));
        AuditRow& row = (pack ? packed : train && !full ? whole : dense)[static_cast<std::size_t>(tensor.kind)];
        row.tensors += 1;
        row.parameters += elements;
        row.bytes +=
            pack ? detail::nf4_bytes(elements, twice) : elements * (train ? 4 : stored_bits(settings.base_type) / 8);
        if (train) { audit.trainable_names.push_back(tensor.name); }
        if (train && !full) {
            const bool norm = tensor.kind == TensorKind::norm;
            AuditGroup& group = norm ? others : pair;
            group.tensors += 1, group.parameters += elements;
            const std::string module = tensor.name.substr(0, tensor.name.rfind('.'));
            if (!norm) { group.name += (group.name.empty() ? "" : ", ") + module; }
        }
        if (trains && saved.has(tensor.name)) {
            for (const std::string& name : saved.tensors()) {
                const bool twin = saved.shared && tensor.kind == TensorKind::embedding && name == "lm_head.weight";
                if (name != tensor.name && !twin) { continue; }
                const auto type = settings.saved_types.find(name);
                audit.file_tensors += 1;
                audit.file_bytes += elements * (type == settings.saved_types.end() ? 4 : stored_bits(type->second) / 8);
            }
        }
    }
    const std::string dense_type = std::string(stored_name(full ? StoredType::f32 : settings.base_type));
    const std::string nf4_type = twice ? "NF4, double" : "NF4";
    for (std::size_t i = 0; i < parts.size(); ++i) {
        for (AuditRow* row : {&dense[i], &packed[i], &whole[i]}) {
            if (row->tensors == 0) { continue; }
            row->part = parts[i];
            row->type = row == &packed[i] ? nf4_type : row == &whole[i] ? "F32" : dense_type;
            row->trainable = full || row == &whole[i];
            audit.base_parameters += row->parameters;
            audit.rows.push_back(*row);
        }
    }

    detail::add_stacked(audit, settings);
    if (!full && !settings.targets.modules.empty()) {
        const bool trained = settings.method != TrainMethod::none;
        AuditRow a{.part = "lora A", .type = "F32", .trainable = trained}, b = a;
        b.part = "lora B";
        for (const AdapterTarget& target : settings.targets.modules) {
            a.tensors += 1;
            b.tensors += 1;
            a.parameters += target.rank * target.in;
            b.parameters += target.rank * target.out;
            if (trained) {
                audit.trainable_names.push_back(target.a());
                audit.trainable_names.push_back(target.b());
            }
        }
        a.bytes = 4 * a.parameters;
        b.bytes = 4 * b.parameters;
        audit.rows.push_back(a);
        audit.rows.push_back(b);
        audit.file_tensors += trained ? a.tensors + b.tensors : 0;
        audit.file_bytes += trained ? a.bytes + b.bytes : 0;
        AuditGroup some{.name = "rows of model.embed_tokens"};
        if (const auto count = std::int64_t(settings.targets.tokens.size()); count > 0) {
            AuditRow row{.part = "token rows",
                         .type = "F32",
                         .tensors = 1,
                         .parameters = count * model.dim,
                         .bytes = 4 * count * model.dim,
                         .trainable = trained};
            audit.rows.push_back(row);
            audit.file_tensors += trained ? 1 : 0;
            audit.file_bytes += trained ? row.bytes : 0;
            if (trained) { audit.trainable_names.emplace_back(token_rows_tensor); }
            if (trained) { some.tensors = 1, some.parameters = row.parameters; }
            some.name = with_commas(count) + " " + some.name;
        }
        if (trained && pair.tensors + some.tensors + others.tensors > 0) {
            for (const AuditGroup& group : {pair, some, others}) {
                if (group.tensors > 0) { audit.groups.push_back(group); }
            }
            audit.groups.push_back({"adapter", a.tensors + b.tensors, a.parameters + b.parameters});
        }
    }
    // Only a tied model is untied: its head is a copy that the checkpoint has not.
    if (saved.untie && !model.tied) { audit.base_parameters -= model.vocab * model.dim; }
    for (const AuditRow& row : audit.rows) {
        audit.tensors += row.tensors;
        audit.parameters += row.parameters;
        audit.bytes += row.bytes;
        audit.trainable_parameters += row.trainable ? row.parameters : 0;
        audit.trainable_tensors += row.trainable ? row.tensors : 0;
    }
    audit.added_parameters = audit.parameters - audit.base_parameters;
    if (model.tied) { audit.notes.push_back("the head is the embedding (tied), counted once"); }
    if (const auto scaling = scaling_text(model); !scaling.empty()) {
        audit.notes.push_back("rotary scaling: " + scaling);
    }
    if (saved.shared && !saved.frozen && trains) {
        audit.notes.emplace_back("it is trained as one tensor: the gradients of both uses are added, and the adapter's "
                                 "file holds it under both names");
    }
    if (!saved.empty() && (saved.frozen || !trains)) {
        audit.notes.push_back(name_list(saved.modules) + ": from the adapter's file, frozen");
    }
    if (!settings.targets.unmatched.empty()) {
        audit.notes.push_back("no module answers to " + name_list(settings.targets.unmatched));
    }
    audit.targets = std::move(settings.targets);
    return audit;
}

GRAFT_INLINE std::string to_text(const Audit& audit)
{
    std::string out;
    const auto line = [&](const std::string& part, const std::string& type, const std::string& tensors,
                          const std::string& parameters, const std::string& bytes, const std::string& state) {
        char text[256];
        std::snprintf(text, sizeof text, "%-10s %-11s %8s %15s %16s  %s", part.c_str(), type.c_str(), tensors.c_str(),
                      parameters.c_str(), bytes.c_str(), state.c_str());
        out += text;
        while (out.back() == ' ') { out.pop_back(); }
        out += '\n';
    };
    line("part", "type", "tensors", "parameters", "bytes", "state");
    for (const AuditRow& row : audit.rows) {
        line(row.part, row.type, with_commas(row.tensors), with_commas(row.parameters), with_commas(row.bytes),
             row.trainable ? "trainable" : "frozen");
    }
    line("total", "", with_commas(audit.tensors), with_commas(audit.parameters), with_commas(audit.bytes), "");
    char share[64];
    std::snprintf(share, sizeof share, "%.4g %% of all",
                  audit.parameters == 0 ? 0.0
                                        : 100.0 * static_cast<double>(audit.trainable_parameters)
                                              / static_cast<double>(audit.parameters));
    line("trainable", "", with_commas(audit.trainable_tensors), with_commas(audit.trainable_parameters), "", share);
    out += "base " + with_commas(audit.base_parameters) + " parameters; over it " + with_commas(audit.added_parameters)
           + " are added; " + with_commas(audit.trainable_parameters) + " are trained\n";

    if (!audit.targets.modules.empty()) { out += "adapter on " + detail::modules_text(audit.targets) + "\n"; }
    std::size_t width = 0;
    for (const AuditGroup& group : audit.groups) { width = std::max(width, group.name.size()); }
    for (const AuditGroup& group : audit.groups) {
        char rate[48] = "";
        if (group.rate) { std::snprintf(rate, sizeof rate, ", rate %.6g", *group.rate); }
        out += "group " + group.name + std::string(width - group.name.size(), ' ') + "  " + with_commas(group.tensors)
               + (group.tensors == 1 ? " tensor, " : " tensors, ") + with_commas(group.parameters) + " parameters"
               + rate + "\n";
    }
    if (!(audit.targets.saved.empty() && audit.targets.tokens.empty()) && audit.file_tensors > 0) {
        out += "the adapter's file will hold " + with_commas(audit.file_tensors) + " tensors, "
               + with_commas(audit.file_bytes) + " bytes\n";
    }
    for (const std::string& note : audit.notes) { out += note + "\n"; }
    return out;
}

}  // namespace graft
