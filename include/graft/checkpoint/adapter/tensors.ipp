#pragma once
#include "graft/checkpoint/adapter/tensors.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fcntl.h>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "graft/checkpoint/load.hpp"
#include "graft/checkpoint/tensor_names.hpp"
#include "graft/core/error.hpp"
#include "graft/io/file_kind.hpp"
#include "graft/io/safetensors.hpp"
#include "graft/io/safetensors/types.hpp"

namespace graft::detail {

GRAFT_INLINE AdapterTensor adapter_tensor(std::string_view stored)
{
    AdapterTensor out{model_name(stored), ""};
    std::string& name = out.name;
    // The adapter's name stands behind these: a module's before .weight, a parameter's at the end.
    for (const std::string_view part : {".lora_A.", ".lora_B.", ".lora_embedding_A.", ".lora_embedding_B.",
                                        ".lora_magnitude_vector.", ".trainable_tokens_delta.", ".modules_to_save."}) {
        const auto at = name.rfind(part);
        if (at == std::string::npos) { continue; }
        const auto begin = at + part.size(), end = std::min(name.find('.', begin), name.size());
        const std::string word = name.substr(begin, end - begin);
        if (end == name.size() && (word == "weight" || word == "bias")) { break; }
        out.adapter = word;
        name.erase(begin - 1, end - begin + 1);
        break;
    }
    for (const std::string_view part : {".modules_to_save.", ".base_layer."}) {
        if (const auto at = name.find(part); at != std::string::npos) { name.erase(at, part.size() - 1); }  // but a dot
    }
    return out;
}

GRAFT_INLINE NamedTensors named_tensors(const SafetensorsFile& file, const std::string& where)
{
    NamedTensors out;
    std::set<std::string> adapters;
    for (const StoredTensor& t : file.tensors()) {
        const AdapterTensor tensor = adapter_tensor(t.name);
        if (!tensor.adapter.empty()) { adapters.insert(tensor.adapter); }
    }
    require(adapters.size() <= 1, [&] {
        return where + ": holds several adapters, "
               + name_list(std::vector<std::string>(adapters.begin(), adapters.end()))
               + ": save each to a folder of its own (save_pretrained of PEFT does)";
    });
    for (const StoredTensor& t : file.tensors()) {
        require(out.emplace(adapter_tensor(t.name).name, &t).second,
                [&] { return where + ": " + printable(t.name) + " is there twice under different names"; });
    }
    return out;
}

GRAFT_INLINE std::string adapter_hint(const LoadReport& report)
{
    std::size_t whole = 0;
    for (const std::string& name : report.extra) {
        if (name.find("lora_magnitude_vector") != std::string::npos) {
            return "it is a DoRA adapter, which is not read";
        }
        whole += name.ends_with(".base_layer.weight") ? 1 : 0;
    }
    if (whole == 0) { return ""; }
    return "the file holds the model beside the adapter: keep the tensors whose names have lora_ in them, as "
           "save_pretrained of PEFT does";
}

GRAFT_INLINE SafetensorsFile open_adapter_file(const std::filesystem::path& folder)
{
    const auto path = folder / "adapter_model.safetensors";
    if (const auto link = broken_link(path); !link.empty()) { throw Error(link); }
    require(std::filesystem::exists(path), [&] {
        const bool pickled = std::filesystem::exists(folder / "adapter_model.bin");
        return printable(folder.string(), 1000) + ": no adapter_model.safetensors"
               + (pickled
                      ? "; adapter_model.bin is a pickle, which is not read because reading one can run code: save the "
                        "adapter as safetensors (load and save_pretrained it with PEFT)"
                      : "");
    });
    return SafetensorsFile::open(path);
}

GRAFT_INLINE AdapterTensors::AdapterTensors(const std::filesystem::path& folder, bool tied)
    : file_(open_adapter_file(folder)), where_(printable(file_.path().string(), 1000)),
      stored_(named_tensors(file_, where_))
{
    if (tied) { join_tied(); }
}

GRAFT_INLINE void AdapterTensors::expect(const std::string& name, const std::vector<std::int64_t>& shape)
{
    const auto at = stored_.find(name);
    if (at == stored_.end()) {
        report_.missing.push_back(name);
        return;
    }
    const StoredTensor& t = *at->second;
    if (t.shape != shape || !is_float(t.type)) {
        report_.misshaped.push_back(name + " (" + std::string(stored_name(t.type)) + " " + shape_text(t.shape)
                                    + ", expected " + shape_text(shape) + ")");
    }
    types_[name] = t.type;
}

GRAFT_INLINE AdapterTypes AdapterTensors::check()
{
    for (const auto& [name, tensor] : stored_) {
        if (!types_.contains(name)) { report_.extra.push_back(tensor->name); }
    }
    report_.check(where_, adapter_hint(report_));
    return types_;
}

GRAFT_INLINE void AdapterTensors::join_tied()
{
    const auto head = stored_.find(head_weight);
    if (head == stored_.end()) { return; }
    const auto put = stored_.emplace(embedding_weight, head->second);
    require(put.second || same_values(*put.first->second, *head->second), [&] {
        return where_
               + ": lm_head.weight differs from model.embed_tokens.weight, but the model's head is its "
                 "embedding";
    });
    types_[head_weight] = head->second->type;
    stored_.erase(head);
}

}  // namespace graft::detail
