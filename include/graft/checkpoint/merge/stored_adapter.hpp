#pragma once
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "graft/checkpoint/adapter.hpp"
#include "graft/checkpoint/adapter_config.hpp"
#include "graft/checkpoint/load.hpp"
#include "graft/checkpoint/modules.hpp"
#include "graft/io/safetensors.hpp"

// An adapter as it lies in its folder, without a model: for what works from files to files.
//
//   const auto adapter = StoredAdapter::open(folder, config);     config: of the model that it belongs to
//   adapter.branches()            A, B and scale of every module it sits on, in the order of the model
//   adapter.rows()                new rows of the embedding, of adapter.tokens(); nullptr where it has none
//   adapter.whole(name)           a tensor of the model that it holds whole (adapter_config/saved_modules.hpp), in
//                                 place of the base's; nullptr where it has none
//   adapter.unties()              whether it is for a model whose head, tied in the base, is a tensor of its own
//   unties(adapters)              whether one of them does
//   adapter.metadata("graft.base")    a text of the file's metadata; empty where there is none
//
// It is as strict as load_adapter: every tensor that the settings ask for, in the shape that they ask for, and no
// other. Values are read from the mapped file when they are used.
//
// Throws: Error of read_adapter_config and adapter_targets; one that lists tensors missing, unknown or of another
// shape.
namespace graft {

struct StoredBranch {
    AdapterTarget target;
    StoredTensor a, b;  // (R, In), (Out, R): bytes in the mapped file
};

class StoredAdapter {
public:
    static StoredAdapter open(const std::filesystem::path& folder, const ModelConfig& model)
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
        if (!out.tokens_.empty()) {
            out.rows_ = take(token_rows_tensor, {std::int64_t(out.tokens_.size()), model.dim});
        }
        out.tables_ = targets.on_tables() ? detail::tables_text(targets) : "";
        for (const auto& [name, tensor] : stored) { report.extra.push_back(tensor->name); }
        report.check(where, detail::adapter_hint(report));
        return out;
    }

    const std::filesystem::path& folder() const { return folder_; }
    const AdapterConfig& config() const { return config_; }
    const std::vector<StoredBranch>& branches() const { return branches_; }
    const Metadata& metadata() const { return file_.metadata(); }

    const StoredTensor* whole(const std::string& name) const
    {
        const auto at = whole_.find(name);
        return at == whole_.end() ? nullptr : &at->second;
    }
    const std::map<std::string, StoredTensor>& whole() const { return whole_; }
    bool unties() const { return unties_; }

    const std::vector<std::int32_t>& tokens() const { return tokens_; }
    const StoredTensor* rows() const { return tokens_.empty() ? nullptr : &rows_; }
    // What of it is not on linears, in words.
    const std::string& tables() const { return tables_; }

    // The largest rank of a module.
    std::int64_t rank() const
    {
        std::int64_t most = 0;
        for (const StoredBranch& branch : branches_) { most = std::max(most, branch.target.rank); }
        return most;
    }
    const StoredBranch* find(const std::string& module) const
    {
        for (const StoredBranch& branch : branches_) {
            if (branch.target.name == module) { return &branch; }
        }
        return nullptr;
    }
    std::string metadata(const std::string& key) const
    {
        const auto at = file_.metadata().find(key);
        return at == file_.metadata().end() ? std::string() : at->second;
    }

private:
    // Modules that the settings name, and embedding and head where PEFT has added them on its own. Of a tied pair the
    // embedding is kept, once both are seen to be the same.
    template <class Take>
    void take_whole(const SavedModules& saved, const ModelConfig& model,
                    const std::map<std::string, const StoredTensor*>& stored, const std::string& where, Take&& take)
    {
        ModelConfig apart = model;
        apart.tied = false;
        std::vector<std::string> names = saved.tensors();
        for (const std::string& name : {detail::embedding_weight, detail::head_weight}) {
            const bool named = std::find(names.begin(), names.end(), name) != names.end();
            if (!named && stored.contains(name)) { names.push_back(name); }
        }
        for (const TensorInfo& info : checkpoint_tensors(apart)) {
            if (std::find(names.begin(), names.end(), info.name) == names.end()) { continue; }
            const StoredTensor found = take(info.name, info.shape);
            if (!found.name.empty()) { whole_.emplace(info.name, found); }
        }
        if (!model.tied || unties_) { return; }
        const auto head = whole_.find(detail::head_weight);
        if (head == whole_.end()) { return; }
        const auto put = whole_.emplace(detail::embedding_weight, head->second);
        require(put.second || detail::same_values(put.first->second, head->second), [&] {
            return where
                   + ": lm_head.weight differs from model.embed_tokens.weight, but the model's head is its "
                     "embedding";
        });
        whole_.erase(detail::head_weight);
    }

    std::map<std::string, StoredTensor> whole_;
    bool unties_ = false;
    std::vector<std::int32_t> tokens_;
    StoredTensor rows_;
    std::string tables_;
    std::filesystem::path folder_;
    AdapterConfig config_;
    SafetensorsFile file_;
    std::vector<StoredBranch> branches_;
};

inline bool unties(std::span<const StoredAdapter> adapters)
{
    return std::any_of(adapters.begin(), adapters.end(), [](const StoredAdapter& one) { return one.unties(); });
}

namespace detail {

// The values of a tensor of a file, whole.
inline std::vector<double> all_values(const StoredTensor& t)
{
    const auto width = std::size_t(stored_bits(t.type) / 8);
    std::vector<double> out(t.bytes.size() / width);
    read_elements<double>(t, 0, std::int64_t(out.size()), out.data());
    return out;
}

}  // namespace detail

}  // namespace graft
