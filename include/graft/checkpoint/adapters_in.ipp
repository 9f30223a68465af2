#pragma once
#include "graft/checkpoint/adapters_in.hpp"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <vector>

namespace graft {

GRAFT_INLINE bool holds_adapter(const std::filesystem::path& folder)
{
    std::error_code code;
    return std::filesystem::exists(folder / "adapter_config.json", code)
           || std::filesystem::exists(folder / "adapter_model.safetensors", code);
}

GRAFT_INLINE std::vector<std::filesystem::path> adapters_in(const std::filesystem::path& folder)
{
    namespace fs = std::filesystem;
    std::vector<fs::path> out;
    std::error_code code;
    for (auto at = fs::directory_iterator(folder, code); !code && at != fs::directory_iterator(); at.increment(code)) {
        std::error_code ignored;
        if (at->is_directory(ignored) && fs::exists(at->path() / "adapter_config.json", ignored)
            && fs::exists(at->path() / "adapter_model.safetensors", ignored)) {
            out.push_back(at->path());
        }
    }
    std::sort(out.begin(), out.end());
    if (holds_adapter(folder)) { out.insert(out.begin(), folder); }
    return out;
}

GRAFT_INLINE bool same_folder(const std::filesystem::path& a, const std::filesystem::path& b)
{
    std::error_code code;
    return std::filesystem::equivalent(a, b, code) && !code;
}

}  // namespace graft
