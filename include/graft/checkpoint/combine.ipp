#pragma once
#include "graft/checkpoint/combine.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "graft/checkpoint/adapter_config.hpp"
#include "graft/checkpoint/merge/stored_adapter.hpp"
#include "graft/checkpoint/modules.hpp"
#include "graft/core/dtype.hpp"
#include "graft/core/tensor.hpp"
#include "graft/core/view.hpp"
#include "graft/io/safetensors/types.hpp"
#include "graft/io/safetensors/write.hpp"
#include "graft/models/adapter_config.hpp"
#include "graft/models/config.hpp"

namespace graft::detail {

inline void refuse_whole(const StoredAdapter& adapter)
{
    require(adapter.tables().empty() && adapter.whole().empty(), [&] {
        return printable(adapter.folder().string(), 1000) + ": holds "
               + (adapter.tables().empty() ? adapter.whole().begin()->first + " whole" : adapter.tables())
               + ": only branches of linears can be grown or joined; merge it into its base";
    });
}

GRAFT_INLINE std::optional<double> alpha_for(double scale, std::int64_t rank, bool rslora)
{
    const double by = rslora ? std::sqrt(double(rank)) : double(rank);
    double alpha = scale * by;
    for (int i = 0; i < 2; ++i) { alpha = std::nextafter(alpha, -INFINITY); }
    for (int i = 0; i < 5; ++i, alpha = std::nextafter(alpha, INFINITY)) {
        if (alpha / by == scale) { return alpha; }
    }
    return std::nullopt;
}

inline std::string as_pattern(const std::string& name)
{
    std::string out;
    for (const char c : name) { out += c == '.' ? "\\." : std::string(1, c); }
    return out;
}

// The settings that give every branch this rank and the scale it has; nothing where no alpha does.
inline std::optional<AdapterConfig> grown_config(const StoredAdapter& adapter, std::int64_t rank, bool rslora)
{
    AdapterConfig c = adapter.config();
    c.rank = rank, c.rslora = rslora;
    c.rank_pattern.clear(), c.alpha_pattern.clear();
    for (const StoredBranch& branch : adapter.branches()) {
        const auto alpha = alpha_for(branch.target.scale, rank, rslora);
        if (!alpha) { return std::nullopt; }
        if (&branch == &adapter.branches().front()) {
            c.alpha = *alpha;
        } else if (*alpha != c.alpha) {
            c.alpha_pattern.emplace_back(as_pattern(branch.target.name), *alpha);
        }
    }
    return c;
}

GRAFT_INLINE CombinedAdapter::Tensor padded(const StoredTensor& t, const std::string& name, std::int64_t rows,
                                            std::int64_t cols)
{
    const auto width = std::size_t(stored_bits(t.type) / 8);
    CombinedAdapter::Tensor out{name, t.type, {rows, cols}, std::vector<std::byte>(std::size_t(rows * cols) * width)};
    const std::size_t from = std::size_t(t.shape[1]) * width, to = std::size_t(cols) * width;
    for (std::size_t i = 0; i < std::size_t(t.shape[0]); ++i) {
        std::memcpy(out.bytes.data() + i * to, t.bytes.data() + i * from, from);
    }
    return out;
}

// What multiplying by s_i / s costs.
struct Scaling {
    double scale = 1;
    std::int64_t rounded = 0;
    double worst = 0;
};

GRAFT_INLINE ScaledValue scaled(double b, double from, double to)
{
    if (from == to) { return {float(b), double(float(b)) == b}; }
    const double factor = from / to, product = b * factor;
    const auto value = float(product);
    const bool exact =
        std::fma(factor, to, -from) == 0 && std::fma(b, factor, -product) == 0 && double(value) == product;
    return {value, exact || b == 0};
}

inline Scaling cost_of(double scale, std::span<const StoredAdapter* const> adapters)
{
    Scaling out{.scale = scale};
    for (const StoredAdapter* adapter : adapters) {
        for (const StoredBranch& branch : adapter->branches()) {
            for (const double b : all_values(branch.b)) {
                const auto [value, exact] = scaled(b, branch.target.scale, scale);
                if (exact) { continue; }
                const double wanted = b * branch.target.scale;
                out.rounded += 1;
                out.worst = std::max(out.worst, std::abs(double(value) * scale - wanted) / std::abs(wanted));
            }
        }
    }
    return out;
}

}  // namespace graft::detail

namespace graft {

GRAFT_INLINE CombinedAdapter grow_rank(const StoredAdapter& adapter, std::int64_t rank, const ModelConfig& model)
{
    detail::refuse_whole(adapter);
    const std::string where = printable(adapter.folder().string(), 1000);
    bool larger = false;
    for (const StoredBranch& branch : adapter.branches()) {
        require(branch.target.rank <= rank, [&] {
            return where + ": " + branch.target.name + " has rank " + std::to_string(branch.target.rank)
                   + ", which cannot grow to " + std::to_string(rank) + ": name a larger rank";
        });
        larger = larger || branch.target.rank < rank;
    }
    require(larger, [&] { return where + ": has rank " + std::to_string(rank) + " already"; });
    const bool rslora = adapter.config().rslora;
    auto config = detail::grown_config(adapter, rank, rslora);
    if (!config) { config = detail::grown_config(adapter, rank, !rslora); }
    require(config.has_value(), [&] {
        return where + ": no alpha gives rank " + std::to_string(rank) + " exactly the scale "
               + nlohmann::json(adapter.branches().front().target.scale).dump() + " that rank "
               + std::to_string(adapter.rank()) + " has; take a power of two or a multiple of "
               + std::to_string(adapter.rank());
    });
    CombinedAdapter out{.config = *config, .tensors = {}, .metadata = {}};
    const auto targets = adapter_targets(out.config, model, where).modules;
    for (std::size_t i = 0; i < adapter.branches().size(); ++i) {
        const auto& [target, a, b] = adapter.branches()[i];
        require(i < targets.size() && targets[i].name == target.name && targets[i].rank == rank
                    && targets[i].scale == target.scale,
                [&] { return where + ": the settings of rank " + std::to_string(rank) + " would not mean the same"; });
        out.tensors.push_back(detail::padded(a, target.name + ".lora_A.weight", rank, target.in));
        out.tensors.push_back(detail::padded(b, target.name + ".lora_B.weight", target.out, rank));
    }
    for (const auto& [key, value] : adapter.metadata()) {
        if (key.starts_with("graft.")) { out.metadata.emplace(key, value); }
    }
    return out;
}

GRAFT_INLINE CombinedAdapter concat_adapters(const StoredAdapter& first, const StoredAdapter& second,
                                             const ModelConfig& model)
{
    detail::refuse_whole(first), detail::refuse_whole(second);
    const StoredAdapter* const both[] = {&first, &second};
    const std::int64_t rank = first.rank() + second.rank();
    require(rank <= detail::most_rank, [&] {
        return "the ranks " + std::to_string(first.rank()) + " and " + std::to_string(second.rank())
               + " add up to more than " + std::to_string(detail::most_rank);
    });

    std::vector<double> scales;
    const auto propose = [&](double scale) {
        const bool known = std::find(scales.begin(), scales.end(), scale) != scales.end();
        if (!known && scales.size() < 8 && scale != 0 && detail::alpha_for(scale, rank, false)) {
            scales.push_back(scale);
        }
    };
    propose(first.branches().front().target.scale);
    propose(second.branches().front().target.scale);
    propose(1);
    for (const StoredAdapter* adapter : both) {
        for (const StoredBranch& branch : adapter->branches()) { propose(branch.target.scale); }
    }
    std::optional<detail::Scaling> best;
    for (const double scale : scales) {
        const auto cost = detail::cost_of(scale, both);
        if (!best || cost.rounded < best->rounded) { best = cost; }
        if (best->rounded == 0) { break; }
    }

    CombinedAdapter out{.config = {}, .tensors = {}, .rounded = best->rounded, .worst = best->worst, .metadata = {}};
    AdapterConfig& c = out.config;
    c.rank = rank, c.alpha = *detail::alpha_for(best->scale, rank, false);
    if (first.config().dropout == second.config().dropout) { c.dropout = first.config().dropout; }
    c.targets.kind = ModuleChoice::Kind::list;
    c.base_model = first.config().base_model;
    for (const LinearInfo& linear : linear_modules(model)) {
        const StoredBranch* const branches[] = {first.find(linear.name), second.find(linear.name)};
        if (branches[0] == nullptr && branches[1] == nullptr) { continue; }
        c.targets.names.push_back(linear.name);
        std::vector<double> a(std::size_t(rank * linear.in)), b(std::size_t(linear.out * rank));
        std::optional<StoredType> type_a, type_b;
        const auto join = [](std::optional<StoredType>& type, StoredType with) {
            type = !type || *type == with ? with : StoredType::f32;
        };
        std::int64_t at = 0;
        for (std::size_t i = 0; i < 2; ++i) {
            if (const StoredBranch* branch = branches[i]) {
                const auto from_a = detail::all_values(branch->a), from_b = detail::all_values(branch->b);
                const auto r = branch->target.rank;
                std::copy(from_a.begin(), from_a.end(), a.begin() + at * linear.in);
                for (std::int64_t o = 0; o < linear.out; ++o) {
                    for (std::int64_t k = 0; k < r; ++k) {
                        b[std::size_t(o * rank + at + k)] =
                            detail::scaled(from_b[std::size_t(o * r + k)], branch->target.scale, best->scale).value;
                    }
                }
                join(type_a, branch->a.type);
                join(type_b, branch->target.scale == best->scale ? branch->b.type : StoredType::f32);
            }
            at += both[i]->rank();
        }
        const auto store = [&](const char* part, StoredType type, std::int64_t rows, std::int64_t cols,
                               const std::vector<double>& values) {
            type = type == StoredType::f64 ? StoredType::f32 : type;
            out.tensors.push_back(
                {linear.name + part,
                 type,
                 {rows, cols},
                 detail::stored_values(View<const double>{values.data(), rows, cols, cols}, type, linear.name + part)});
        };
        store(".lora_A.weight", *type_a, rank, linear.in, a);
        store(".lora_B.weight", *type_b, linear.out, rank, b);
    }
    return out;
}

GRAFT_INLINE void write_adapter(const CombinedAdapter& adapter, const std::filesystem::path& folder,
                                const ModelConfig& model)
{
    std::vector<TensorToWrite> tensors;
    for (const auto& t : adapter.tensors) {
        tensors.push_back({std::string(detail::peft_prefix) + t.name, t.type, t.shape, t.bytes});
    }
    write_safetensors(folder / "adapter_model.safetensors", tensors, adapter.metadata);
    write_adapter_config(folder / "adapter_config.json", adapter.config, model);
}

}  // namespace graft
