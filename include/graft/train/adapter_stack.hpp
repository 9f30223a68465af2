#pragma once
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "graft/core/inline.hpp"

// An adapter that was trained over other adapters means nothing without them: which they were stays with its tensors.
//
//   stack_metadata(folders)           what save_adapter is to write: {"graft.over": "HASH,HASH"}, or nothing without
//                                     folders; HASH is adapter_fingerprint, in the order given
//   stack_fingerprint(folders)        one hash for all of them, in their order; of a single one, its own
//   trained_over(folder)              those of an adapter; none where the key is absent, as in adapters of others
//   require_stack(folder, given)      that each of them is among the folders given, whatever their names
//
// Throws: Error that names the adapter and, by its hash, each one that is not given; for a value that is no list of
// SHA-256 in hex.
namespace graft {

inline constexpr const char* trained_over_key = "graft.over";

std::map<std::string, std::string> stack_metadata(std::span<const std::filesystem::path> folders);

std::string stack_fingerprint(std::span<const std::filesystem::path> folders);

std::vector<std::string> trained_over(const std::filesystem::path& folder);

// how: what to do, for the end of the message.
void require_stack(const std::filesystem::path& folder, std::span<const std::filesystem::path> given,
                   const std::string& how);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/train/adapter_stack.ipp"
#endif
