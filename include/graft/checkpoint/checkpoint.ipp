#pragma once
#include "graft/checkpoint/checkpoint.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fcntl.h>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "graft/checkpoint/tensor_names.hpp"
#include "graft/core/error.hpp"
#include "graft/io/file_kind.hpp"
#include "graft/io/json_file.hpp"
#include "graft/io/safetensors.hpp"
#include "graft/io/safetensors/types.hpp"
#include "graft/io/text.hpp"

namespace graft::detail {

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

}  // namespace graft::detail

namespace graft {

GRAFT_INLINE Checkpoint Checkpoint::open(const std::filesystem::path& folder)
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

GRAFT_INLINE const StoredTensor* Checkpoint::find(const std::string& name) const
{
    const auto at = tensors_.find(name);
    return at == tensors_.end() ? nullptr : at->second;
}

GRAFT_INLINE std::int64_t Checkpoint::stored_count() const
{
    return total([](const StoredTensor&) { return 1; });
}

GRAFT_INLINE std::int64_t Checkpoint::stored_bytes() const
{
    return total([](const StoredTensor& t) { return t.bytes.size(); });
}

GRAFT_INLINE void Checkpoint::name_tensors()
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

GRAFT_INLINE void Checkpoint::add_alias(const SafetensorsFile& file, const std::string& name, const std::string& means)
{
    const StoredTensor* t = file.find(means);
    const std::string alias = model_name(name);
    const bool of_model = alias.starts_with("model.") || alias.starts_with("lm_head.");
    if (t == nullptr || !of_model || is_buffer(alias) || tensors_.contains(alias)) { return; }
    tensors_.emplace(alias, with_name(*t, alias));
}

GRAFT_INLINE void Checkpoint::join_tied()
{
    const auto head = tensors_.find("lm_head.weight");
    if (head == tensors_.end()) { return; }
    const auto put = tensors_.emplace("model.embed_tokens.weight", head->second);
    if (put.second) { put.first->second = with_name(*head->second, put.first->first); }
    if (put.first->second->bytes.data() == head->second->bytes.data()) { tensors_.erase(head); }
}

GRAFT_INLINE const StoredTensor* Checkpoint::with_name(const StoredTensor& t, const std::string& name)
{
    named_.push_back(t);
    named_.back().name = name;
    return &named_.back();
}

GRAFT_INLINE void Checkpoint::read_index(const std::filesystem::path& path)
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

GRAFT_INLINE std::string renamed_text(const Checkpoint::Renamed& renamed)
{
    return std::to_string(renamed.count)
           + (renamed.count == 1 ? " tensor has another name" : " tensors have other names") + " in the file ("
           + printable(renamed.from) + " for " + printable(renamed.to) + ")";
}

GRAFT_INLINE std::string passed_over_text(const Checkpoint& checkpoint)
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
