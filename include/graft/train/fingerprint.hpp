#pragma once
#include <filesystem>
#include <span>
#include <string>

#include "graft/checkpoint/checkpoint.hpp"
#include "graft/core/inline.hpp"
#include "graft/text/dataset/example.hpp"

// What a run was trained on and over, as one SHA-256 each: two that are equal train alike.
//
//   data_fingerprint(examples)      tokens and labels of every example, in their order; not names of files, so that the
//                                   template, the tokeniser, the task and cut rows count, and a moved file does not
//   base_fingerprint(checkpoint)    config.json, and name in the model, element type, shape and bytes of every tensor,
//                                   in the order of names: sharded another way, or with prefixes, it is the same base
//   adapter_fingerprint(folder)     adapter_config.json and adapter_model.safetensors
//
// Every byte is read. Loading reads them all anyway, and headers or samples would miss a base that was trained a little
// further in place, which is just what must not go unseen. It takes about a second for each GB and thread.
// Throws: Error that names the file that cannot be read.
namespace graft {

std::string data_fingerprint(std::span<const Example> examples);

std::string base_fingerprint(const Checkpoint& checkpoint);

std::string adapter_fingerprint(const std::filesystem::path& folder);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/train/fingerprint.ipp"
#endif
