#pragma once
#include "graft/checkpoint/adapter.hpp"

#include <fcntl.h>
#include <filesystem>
#include <string>

#include "graft/checkpoint/adapter/tensors.hpp"
#include "graft/io/safetensors.hpp"
#include "graft/io/safetensors/write.hpp"

namespace graft {

GRAFT_INLINE std::string adapter_scaling(const std::filesystem::path& folder)
{
    const auto path = folder / "adapter_model.safetensors";
    if (!std::filesystem::exists(path)) { return ""; }
    const auto file = SafetensorsFile::open(path);
    const auto at = file.metadata().find("graft.rope");
    return at == file.metadata().end() ? "" : at->second;
}

GRAFT_INLINE Metadata adapter_metadata(const std::filesystem::path& folder)
{
    return detail::open_adapter_file(folder).metadata();
}

}  // namespace graft
