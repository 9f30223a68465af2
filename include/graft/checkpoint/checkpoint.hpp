#pragma once
#include <cstdint>
#include <deque>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/io/safetensors.hpp"
#include "graft/io/safetensors/types.hpp"

// The tensors of a checkpoint folder: model.safetensors, or the shards that model.safetensors.index.json names (where
// both are there, the single file counts, as in transformers).
//
//   checkpoint.tensors(), .find(name)    by the names in the model, however the file spells them (tensor_names.hpp)
//   checkpoint.passed_over()             buffers and tensors of other heads: no part of the model, never read
//   passed_over_text(checkpoint)         the same in words; empty where there is none
//   checkpoint.renamed()                 how many tensors have another name in the file, and the first of them;
//                                        renamed_text(…) in words
//
// One tensor under two names is stored once by many writers. Where config.json ties the head to the embedding, either
// name will do. Where the metadata of a file says that a name means a tensor of that file ("model.embed_tokens.weight":
// "lm_head.weight", as save_model of safetensors writes it), it does.
//
// Checked on opening: every shard lies in the folder, every tensor of the index is in the shard that it names, no shard
// holds a tensor that the index does not name there, no two tensors mean the same. Files stay mapped as long as the
// object lives.
//
// Throws: Error naming the file and the tensor; where there are no weights, what the folder holds instead. Source:
// specs of huggingface/transformers, checkpoint sharding.
namespace graft {

class Checkpoint {
public:
    static Checkpoint open(const std::filesystem::path& folder);
    Checkpoint(Checkpoint&&) = default;
    Checkpoint& operator=(Checkpoint&&) = default;

    const StoredTensor* find(const std::string& name) const;
    const std::map<std::string, const StoredTensor*>& tensors() const { return tensors_; }
    const std::map<std::string, const StoredTensor*>& passed_over() const { return passed_over_; }
    const std::filesystem::path& folder() const { return folder_; }

    struct Renamed {
        std::int64_t count = 0;
        std::string from{}, to{};
    };
    const Renamed& renamed() const { return renamed_; }

    // Of all tensors that the files hold.
    std::int64_t stored_count() const;
    std::int64_t stored_bytes() const;

private:
    Checkpoint() = default;

    template <class Count> std::int64_t total(const Count& count) const
    {
        std::int64_t sum = 0;
        for (const auto& file : files_) {
            for (const StoredTensor& t : file.tensors()) { sum += std::int64_t(count(t)); }
        }
        return sum;
    }

    // The tensors of all files by the names in the model.
    void name_tensors();

    // The metadata of a file says that `name` is one of its tensors.
    void add_alias(const SafetensorsFile& file, const std::string& name, const std::string& means);

    // Of a pair that is one tensor the embedding stays.
    void join_tied();

    const StoredTensor* with_name(const StoredTensor& t, const std::string& name);

    void read_index(const std::filesystem::path& path);

    std::filesystem::path folder_;
    std::vector<SafetensorsFile> files_;
    std::deque<StoredTensor> named_;  // copies of those whose names are not the file's
    std::map<std::string, const StoredTensor*> tensors_, passed_over_;
    Renamed renamed_;
};

// "32 tensors have other names in the file (module.model.norm.weight for model.norm.weight)".
std::string renamed_text(const Checkpoint::Renamed& renamed);

// "6 buffers (model.layers.0.self_attn.rotary_emb.inv_freq, …), score.weight of another head".
std::string passed_over_text(const Checkpoint& checkpoint);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/checkpoint/checkpoint.ipp"
#endif
