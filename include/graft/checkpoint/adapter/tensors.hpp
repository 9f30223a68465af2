#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "graft/checkpoint/adapter_config/saved_modules.hpp"
#include "graft/checkpoint/load.hpp"
#include "graft/io/safetensors.hpp"

// adapter_model.safetensors by the names in the model, compared as a whole before a value is read.
//
//   AdapterTensors file(folder, tied);      tied: the model's head is its embedding, whichever name the file has for it
//   file.expect(name, shape); …             each tensor that must be there
//   const AdapterTypes types = file.check();    throws where one is missing, of another shape, or not expected
//   file.read(name, view);
//
// Throws: Error that names the file and the tensors.
namespace graft {

using AdapterTypes = std::map<std::string, StoredType>;    // by the name in the model

namespace detail {

inline constexpr std::string_view peft_prefix = "base_model.model.";

inline const std::string embedding_weight = std::string(embedding_module) + ".weight";
inline const std::string head_weight      = std::string(head_module) + ".weight";

inline std::string without_prefix(std::string_view name)
{
    if (name.starts_with(peft_prefix)) { name.remove_prefix(peft_prefix.size()); }
    if (name.starts_with(peft_prefix)) { name.remove_prefix(peft_prefix.size()); }
    return std::string(name);
}

// The name in the model of a tensor in the file. PEFT wraps what has an adapter, and stores a targeted embedding or
// head whole beside it as ….base_layer.weight.
inline std::string name_in_model(std::string_view stored)
{
    std::string name = without_prefix(stored);
    for (const char* part : {".modules_to_save.default.", ".modules_to_save.", ".base_layer."}) {
        const auto at = name.find(part);
        if (at != std::string::npos) { name.erase(at, std::string_view(part).size() - 1); }    // all but a dot
    }
    return name;
}

class AdapterTensors {
public:
    explicit AdapterTensors(const std::filesystem::path& folder, bool tied = false)
        : file_(open(folder)), where_(printable(file_.path().string(), 1000))
    {
        for (const StoredTensor& t : file_.tensors()) {
            require(stored_.emplace(name_in_model(t.name), &t).second,
                    [&] { return where_ + ": " + printable(t.name) + " is there twice under different prefixes"; });
        }
        if (tied) { join_tied(); }
    }

    AdapterTensors(const AdapterTensors&) = delete;
    AdapterTensors& operator=(const AdapterTensors&) = delete;

    bool has(const std::string& name) const { return stored_.contains(name); }

    void expect(const std::string& name, const std::vector<std::int64_t>& shape)
    {
        const auto at = stored_.find(name);
        if (at == stored_.end()) {
            report_.missing.push_back(name);
            return;
        }
        const StoredTensor& t = *at->second;
        if (t.shape != shape || !is_float(t.type)) {
            report_.misshaped.push_back(name + " (" + std::string(stored_name(t.type)) + " " + shape_text(t.shape) +
                                        ", expected " + shape_text(shape) + ")");
        }
        types_[name] = t.type;
    }
    // The type of each tensor, where all are there, as expected, and none besides.
    AdapterTypes check()
    {
        for (const auto& [name, tensor] : stored_) {
            if (!types_.contains(name)) { report_.extra.push_back(tensor->name); }
        }
        report_.check(where_);
        return types_;
    }
    template <class T> void read(const std::string& name, View<T> to) const { read_dense(*stored_.at(name), to); }

private:
    static SafetensorsFile open(const std::filesystem::path& folder)
    {
        const auto path = folder / "adapter_model.safetensors";
        require(std::filesystem::exists(path), [&] {
            const bool pickled = std::filesystem::exists(folder / "adapter_model.bin");
            return printable(folder.string(), 1000) + ": no adapter_model.safetensors" +
                   (pickled ? "; adapter_model.bin is a pickle, which is not read: save the adapter as safetensors"
                            : "");
        });
        return SafetensorsFile::open(path);
    }
    void join_tied()
    {
        const auto head = stored_.find(head_weight);
        if (head == stored_.end()) { return; }
        const auto put = stored_.emplace(embedding_weight, head->second);
        require(put.second || same_values(*put.first->second, *head->second), [&] {
            return where_ + ": lm_head.weight differs from model.embed_tokens.weight, but the model's head is its "
                            "embedding";
        });
        types_[head_weight] = head->second->type;
        stored_.erase(head);
    }

    SafetensorsFile                            file_;
    std::string                                where_;
    std::map<std::string, const StoredTensor*> stored_;
    LoadReport                                 report_;
    AdapterTypes                               types_;
};

}  // namespace detail

}  // namespace graft
