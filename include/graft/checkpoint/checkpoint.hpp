#pragma once
#include <algorithm>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "graft/checkpoint/tensor_names.hpp"
#include "graft/core/error.hpp"
#include "graft/io/file_kind.hpp"
#include "graft/io/json_file.hpp"
#include "graft/io/safetensors.hpp"
#include "graft/io/text.hpp"

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

namespace detail {

// What a folder without model.safetensors holds.
inline std::string no_weights_text(const std::filesystem::path& folder)
{
    std::vector<std::string> pickles, shards, others;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
        const std::string name = entry.path().filename().string();
        const std::string extension = lower(entry.path().extension().string());
        const auto is = [&](std::initializer_list<std::string_view> list) {
            return std::find(list.begin(), list.end(), extension) != list.end();
        };
        if (is({".bin", ".pt", ".pth", ".ckpt"})) { pickles.push_back(name); }
        if (is({".safetensors"}) && !name.starts_with("adapter_")) { shards.push_back(name); }
        if (is({".gguf", ".h5", ".msgpack", ".onnx"})) { others.push_back(name); }
    }
    for (auto* list : {&pickles, &shards, &others}) { std::sort(list->begin(), list->end()); }
    std::string out = printable(folder.string(), 1000) + ": no model.safetensors and no model.safetensors.index.json";
    if (!shards.empty()) {
        out += ", but " + name_list(shards, 3)
               + ": fetch the index of these shards too, or rename a file that holds all "
                 "to model.safetensors";
    } else if (!pickles.empty()) {
        out += "; " + name_list(pickles, 3) + (pickles.size() == 1 ? " is a pickle" : " are pickles")
               + ", which is not read because reading one can run code: convert it to safetensors (from_pretrained and "
                 "save_pretrained of transformers do)";
    } else if (!others.empty()) {
        out += ", but " + name_list(others, 3) + ", which is not read: take the model's checkpoint in safetensors";
    }
    return out;
}

// Whether config.json ties the head to the embedding; what is wrong with the file is for read_config to say.
inline bool says_tied(const std::filesystem::path& folder)
{
    const auto path = folder / "config.json";
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) { return false; }
    try {
        return json_bool_or(read_json(path, std::size_t(1) << 20), "tie_word_embeddings", false, "config.json");
    } catch (const Error&) {
        return false;
    }
}

}  // namespace detail

class Checkpoint {
public:
    static Checkpoint open(const std::filesystem::path& folder)
    {
        namespace fs = std::filesystem;
        Checkpoint out;
        out.folder_ = folder;
        const auto single = folder / "model.safetensors", index = folder / "model.safetensors.index.json";
        for (const auto* path : {&single, &index}) {
            if (const auto link = broken_link(*path); !link.empty()) { throw Error(link); }
        }
        if (fs::exists(single)) {
            out.files_.push_back(SafetensorsFile::open(single));
        } else {
            require(fs::exists(index), [&] { return detail::no_weights_text(folder); });
            out.read_index(index);
        }
        out.name_tensors();
        return out;
    }
    Checkpoint(Checkpoint&&) = default;
    Checkpoint& operator=(Checkpoint&&) = default;

    const StoredTensor* find(const std::string& name) const
    {
        const auto at = tensors_.find(name);
        return at == tensors_.end() ? nullptr : at->second;
    }
    const std::map<std::string, const StoredTensor*>& tensors() const { return tensors_; }
    const std::map<std::string, const StoredTensor*>& passed_over() const { return passed_over_; }
    const std::filesystem::path& folder() const { return folder_; }

    struct Renamed {
        std::int64_t count = 0;
        std::string from{}, to{};
    };
    const Renamed& renamed() const { return renamed_; }

    // Of all tensors that the files hold.
    std::int64_t stored_count() const
    {
        return total([](const StoredTensor&) { return 1; });
    }
    std::int64_t stored_bytes() const
    {
        return total([](const StoredTensor& t) { return t.bytes.size(); });
    }

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
    void name_tensors()
    {
        std::map<std::string, std::string> spelled;
        for (const auto& file : files_) {
            for (const StoredTensor& t : file.tensors()) {
                const std::string name = model_name(t.name);
                const auto first = spelled.emplace(name, t.name);
                require(first.second, [&] {
                    return printable(folder_.string(), 1000) + ": " + printable(first.first->second) + " and "
                           + printable(t.name) + " both mean " + printable(name)
                           + ": which of the two is the model's cannot be known; take one of them out";
                });
                const bool buffer = is_buffer(name, t.shape.size(), t.type == StoredType::boolean);
                auto& to = buffer || is_other_head(name) ? passed_over_ : tensors_;
                if (name == t.name) {
                    to.emplace(name, &t);
                } else {
                    if (renamed_.count++ == 0) { renamed_.from = t.name, renamed_.to = name; }
                    to.emplace(name, with_name(t, name));
                }
            }
        }
        for (const auto& file : files_) {
            for (const auto& entry : file.metadata()) { add_alias(file, entry.first, entry.second); }
        }
        if (detail::says_tied(folder_)) { join_tied(); }
    }

    // The metadata of a file says that `name` is one of its tensors.
    void add_alias(const SafetensorsFile& file, const std::string& name, const std::string& means)
    {
        const StoredTensor* t = file.find(means);
        const std::string alias = model_name(name);
        const bool of_model = alias.starts_with("model.") || alias.starts_with("lm_head.");
        if (t == nullptr || !of_model || is_buffer(alias) || tensors_.contains(alias)) { return; }
        tensors_.emplace(alias, with_name(*t, alias));
    }

    // Of a pair that is one tensor the embedding stays.
    void join_tied()
    {
        const auto head = tensors_.find("lm_head.weight");
        if (head == tensors_.end()) { return; }
        const auto put = tensors_.emplace("model.embed_tokens.weight", head->second);
        if (put.second) { put.first->second = with_name(*head->second, put.first->first); }
        if (put.first->second->bytes.data() == head->second->bytes.data()) { tensors_.erase(head); }
    }

    const StoredTensor* with_name(const StoredTensor& t, const std::string& name)
    {
        named_.push_back(t);
        named_.back().name = name;
        return &named_.back();
    }

    void read_index(const std::filesystem::path& path)
    {
        const std::string where = printable(path.string(), 1000);
        const auto json = read_json<nlohmann::json>(path);
        require(json.is_object() && json.contains("weight_map") && json["weight_map"].is_object(),
                where + ": no \"weight_map\" object");
        std::map<std::string, std::vector<std::string>> by_file;
        for (const auto& entry : json["weight_map"].items()) {
            require(entry.value().is_string(),
                    [&] { return where + ": the file of tensor " + printable(entry.key()) + " is no text"; });
            by_file[entry.value().get<std::string>()].push_back(entry.key());
        }
        files_.reserve(by_file.size());
        for (const auto& entry : by_file) {
            const std::string& file = entry.first;  // named: clang 14 cannot capture structured bindings
            const auto& names = entry.second;
            require(!file.empty() && file.find('/') == std::string::npos && file != "." && file != ".."
                        && file.find('\0') == std::string::npos,
                    [&] { return where + ": shard " + printable(file) + " is not a file of this folder"; });
            const auto shard = folder_ / file;
            if (const auto link = broken_link(shard); !link.empty()) { throw Error(link); }
            require(std::filesystem::exists(shard), [&] {
                return where + ": shard " + printable(file) + " is missing; it should hold " + name_list(names);
            });
            files_.push_back(SafetensorsFile::open(shard));
            std::vector<std::string> absent, unnamed;
            for (const std::string& name : names) {
                if (files_.back().find(name) == nullptr) { absent.push_back(name); }
            }
            require(absent.empty(), [&] {
                return printable(shard.string(), 1000)
                       + ": not in this shard, though the index says so: " + name_list(absent);
            });
            for (const StoredTensor& t : files_.back().tensors()) {
                const auto& map = json["weight_map"];
                if (!map.contains(t.name) || map[t.name] != file) { unnamed.push_back(t.name); }
            }
            require(unnamed.empty(), [&] {
                return printable(shard.string(), 1000)
                       + ": holds tensors that the index does not place there: " + name_list(unnamed);
            });
        }
    }

    std::filesystem::path folder_;
    std::vector<SafetensorsFile> files_;
    std::deque<StoredTensor> named_;  // copies of those whose names are not the file's
    std::map<std::string, const StoredTensor*> tensors_, passed_over_;
    Renamed renamed_;
};

// "32 tensors have other names in the file (module.model.norm.weight for model.norm.weight)".
inline std::string renamed_text(const Checkpoint::Renamed& renamed)
{
    return std::to_string(renamed.count)
           + (renamed.count == 1 ? " tensor has another name" : " tensors have other names") + " in the file ("
           + printable(renamed.from) + " for " + printable(renamed.to) + ")";
}

// "6 buffers (model.layers.0.self_attn.rotary_emb.inv_freq, …), score.weight of another head".
inline std::string passed_over_text(const Checkpoint& checkpoint)
{
    std::vector<std::string> buffers, heads;
    for (const auto& entry : checkpoint.passed_over()) {
        (is_other_head(entry.first) ? heads : buffers).push_back(entry.first);
    }
    std::string out;
    if (!buffers.empty()) {
        out = std::to_string(buffers.size()) + (buffers.size() == 1 ? " buffer (" : " buffers (")
              + name_list(buffers, 1) + ")";
    }
    if (!heads.empty()) { out += (out.empty() ? "" : ", ") + name_list(heads, 4) + " of another head"; }
    return out;
}

}  // namespace graft
