#pragma once
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "graft/checkpoint/adapter.hpp"
#include "graft/checkpoint/adapter_config/saved_modules.hpp"
#include "graft/checkpoint/adapter_config/targets.hpp"
#include "graft/checkpoint/load.hpp"
#include "graft/checkpoint/modules.hpp"
#include "graft/core/inline.hpp"
#include "graft/io/safetensors.hpp"
#include "graft/io/safetensors/types.hpp"
#include "graft/io/safetensors/write.hpp"
#include "graft/models/adapter_config.hpp"
#include "graft/models/config.hpp"

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
    static StoredAdapter open(const std::filesystem::path& folder, const ModelConfig& model);

    const std::filesystem::path& folder() const { return folder_; }
    const AdapterConfig& config() const { return config_; }
    const std::vector<StoredBranch>& branches() const { return branches_; }
    const Metadata& metadata() const { return file_.metadata(); }

    const StoredTensor* whole(const std::string& name) const;
    const std::map<std::string, StoredTensor>& whole() const { return whole_; }
    bool unties() const { return unties_; }

    const std::vector<std::int32_t>& tokens() const { return tokens_; }
    const StoredTensor* rows() const { return tokens_.empty() ? nullptr : &rows_; }
    // What of it is not on linears, in words.
    const std::string& tables() const { return tables_; }

    // The largest rank of a module.
    std::int64_t rank() const;
    const StoredBranch* find(const std::string& module) const;
    std::string metadata(const std::string& key) const;

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

bool unties(std::span<const StoredAdapter> adapters);

namespace detail {

// The values of a tensor of a file, whole.
std::vector<double> all_values(const StoredTensor& t);

}  // namespace detail

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/checkpoint/merge/stored_adapter.ipp"
#endif
