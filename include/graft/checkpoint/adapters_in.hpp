#pragma once
#include <algorithm>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

// The adapters that a folder holds, so that nobody trains beside one unawares.
//
//   holds_adapter(folder)      adapter_config.json or adapter_model.safetensors is in it
//   adapters_in(folder)        the folder itself, where it does, and the folders directly in it that hold both, by name
//   same_folder(a, b)          whether two paths mean one folder, through links too
//
// Folders next to it are not looked at: a base beside its adapters is how everybody keeps them. Folders that cannot be
// read count as holding nothing. Throws: nothing.
namespace graft {

inline bool holds_adapter(const std::filesystem::path& folder)
{
    std::error_code code;
    return std::filesystem::exists(folder / "adapter_config.json", code)
           || std::filesystem::exists(folder / "adapter_model.safetensors", code);
}

inline std::vector<std::filesystem::path> adapters_in(const std::filesystem::path& folder)
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

inline bool same_folder(const std::filesystem::path& a, const std::filesystem::path& b)
{
    std::error_code code;
    return std::filesystem::equivalent(a, b, code) && !code;
}

}  // namespace graft
