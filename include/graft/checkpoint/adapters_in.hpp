#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "graft/core/inline.hpp"

// The adapters that a folder holds, so that nobody trains beside one unawares.
//
//   holds_adapter(folder)      adapter_config.json or adapter_model.safetensors is in it
//   adapters_in(folder)        the folder itself, where it does, and the folders directly in it that hold both, by name
//   same_folder(a, b)          whether two paths mean one folder, through links too
//
// Folders next to it are not looked at: a base beside its adapters is how everybody keeps them. Folders that cannot be
// read count as holding nothing. Throws: nothing.
namespace graft {

bool holds_adapter(const std::filesystem::path& folder);

std::vector<std::filesystem::path> adapters_in(const std::filesystem::path& folder);

bool same_folder(const std::filesystem::path& a, const std::filesystem::path& b);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/checkpoint/adapters_in.ipp"
#endif
