#pragma once
#include "graft/checkpoint/merge/stored_adapter.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fcntl.h>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "graft/checkpoint/adapter/tensors.hpp"
#include "graft/checkpoint/adapter_config.hpp"
#include "graft/checkpoint/load.hpp"
#include "graft/io/safetensors/types.hpp"
#include "graft/models/config.hpp"

namespace graft {

GRAFT_INLINE StoredAdapter StoredAdapter::open(const std::filesystem::path& folder, const ModelConfig& model)
{
    StoredAdapter out;
    out.folder_ = folder;
    out.config_ = read_adapter_config(folder);
    out.file_ = detail::open_adapter_file(folder);
    const std::string where = printable(out.file_.path().string(), 1000);
    detail::NamedTensors stored = detail::named_tensors(out.file_, where);

    detail::LoadReport report;
    const auto take = [&](const std::string& name, std::vector<std::int64_t> shape) {
        const auto at = stored.find(name);
        if (at == stored.end()) {
            report.missing.push_back(name);
            return StoredTensor();
        }
        const StoredTensor found = *at->second;
        stored.erase(at);
        if (found.shape != shape || !detail::is_float(found.type)) {
            report.misshaped.push_back(name + " (" + std::string(stored_name(found.type)) + " "
                                       + shape_text(found.shape) + ", expected " + shape_text(shape) + ")");
        }
        return found;
    };
    const auto targets = adapter_targets(out.config_, model, printable(folder.string(), 1000));
    out.unties_ = targets.saved.untie;
    out.take_whole(targets.saved, model, stored, where, take);
    for (const auto& target : targets.modules) {
        auto a = take(target.a(), {target.rank, target.in});
        auto b = take(target.b(), {target.out, target.rank});
        out.branches_.push_back({target, std::move(a), std::move(b)});
    }
    out.tokens_ = targets.tokens;
    if (!out.tokens_.empty()) { out.rows_ = take(token_rows_tensor, {std::int64_t(out.tokens_.size()), model.dim}); }
    out.tables_ = targets.on_tables() ? detail::tables_text(targets) : "";
    for (const auto& [name, tensor] : stored) { report.extra.push_back(tensor->name); }
    report.check(where, detail::adapter_hint(report));
    return out;
}

GRAFT_INLINE const StoredTensor* StoredAdapter::whole(const std::string& name) const
{
    const auto at = whole_.find(name);
    return at == whole_.end() ? nullptr : &at->second;
}

GRAFT_INLINE std::int64_t StoredAdapter::rank() const
{
    std::int64_t most = 0;
    for (const StoredBranch& branch : branches_) { most = std::max(most, branch.target.rank); }
    return most;
}

GRAFT_INLINE const StoredBranch* StoredAdapter::find(const std::string& module) const
{
    for (const StoredBranch& branch : branches_) {
        if (branch.target.name == module) { return &branch; }
    }
    return nullptr;
}

GRAFT_INLINE std::string StoredAdapter::metadata(const std::string& key) const
{
    const auto at = file_.metadata().find(key);
    return at == file_.metadata().end() ? std::string() : at->second;
}

GRAFT_INLINE bool unties(std::span<const StoredAdapter> adapters)
{
    return std::any_of(adapters.begin(), adapters.end(), [](const StoredAdapter& one) { return one.unties(); });
}

}  // namespace graft

namespace graft::detail {

GRAFT_INLINE std::vector<double> all_values(const StoredTensor& t)
{
    const auto width = std::size_t(stored_bits(t.type) / 8);
    std::vector<double> out(t.bytes.size() / width);
    read_elements<double>(t, 0, std::int64_t(out.size()), out.data());
    return out;
}

}  // namespace graft::detail
