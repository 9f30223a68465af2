#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/io/json_file.hpp"
#include "graft/io/safetensors.hpp"
#include "graft/io/text.hpp"

// The tensors of a checkpoint folder: model.safetensors, or the shards that model.safetensors.index.json names.
//
// Checked on opening: every shard lies in the folder, every tensor of the index is in the shard that it names, and no
// shard holds a tensor that the index does not name there. Files stay mapped as long as the object lives.
//
// Throws: Error naming the file and the tensor. Source: specs of huggingface/transformers, checkpoint sharding.
namespace graft {

class Checkpoint {
public:
    static Checkpoint open(const std::filesystem::path& folder)
    {
        namespace fs = std::filesystem;
        Checkpoint out;
        out.folder_ = folder;
        const auto single = folder / "model.safetensors", index = folder / "model.safetensors.index.json";
        if (fs::exists(index)) {
            out.read_index(index);
        } else {
            require(fs::exists(single), [&] {
                const bool pickled = fs::exists(folder / "pytorch_model.bin");
                return printable(folder.string(), 1000) + ": no model.safetensors and no model.safetensors.index.json" +
                       (pickled ? "; pytorch_model.bin is a pickle, which is not read: convert it to safetensors" : "");
            });
            out.files_.push_back(SafetensorsFile::open(single));
            for (const StoredTensor& t : out.files_.back().tensors()) { out.tensors_.emplace(t.name, &t); }
        }
        return out;
    }

    const StoredTensor* find(const std::string& name) const
    {
        const auto at = tensors_.find(name);
        return at == tensors_.end() ? nullptr : at->second;
    }
    const std::map<std::string, const StoredTensor*>& tensors() const { return tensors_; }
    const std::filesystem::path&                      folder() const { return folder_; }

private:
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
            const std::string& file = entry.first;    // named: clang 14 cannot capture structured bindings
            const auto&        names = entry.second;
            require(!file.empty() && file.find('/') == std::string::npos && file != "." && file != ".." &&
                        file.find('\0') == std::string::npos,
                    [&] { return where + ": shard " + printable(file) + " is not a file of this folder"; });
            const auto shard = folder_ / file;
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
                else { tensors_.emplace(t.name, &t); }
            }
            require(unnamed.empty(), [&] {
                return printable(shard.string(), 1000) + ": holds tensors that the index does not place there: " +
                       name_list(unnamed);
            });
        }
    }

    std::filesystem::path                      folder_;
    std::vector<SafetensorsFile>               files_;
    std::map<std::string, const StoredTensor*> tensors_;
};

}  // namespace graft
