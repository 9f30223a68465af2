#pragma once
#include "graft/train/run_state.hpp"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/io/checkpoint_folders.hpp"
#include "graft/io/safetensors/types.hpp"
#include "graft/train/run_state/record.hpp"

namespace graft::detail {

GRAFT_INLINE const StoredTensor* Expected::take(const std::string& name, StoredType type,
                                                const std::vector<std::int64_t>& shape)
{
    const StoredTensor* tensor = file_.find(name);
    ++taken_;
    if (tensor == nullptr) {
        report_.missing.push_back(name);
    } else if (tensor->type != type || tensor->shape != shape) {
        report_.misshaped.push_back(name + " (" + std::string(stored_name(tensor->type)) + " "
                                    + shape_text(tensor->shape) + ", expected " + std::string(stored_name(type)) + " "
                                    + shape_text(shape) + ")");
    } else {
        names_.push_back(name);
    }
    return tensor;
}

GRAFT_INLINE void Expected::pass(const std::string& name)
{
    taken_ += has(name);
    names_.push_back(name);
}

GRAFT_INLINE void Expected::check()
{
    if (taken_ != file_.tensors().size() && report_.missing.empty() && report_.misshaped.empty()) {
        for (const StoredTensor& tensor : file_.tensors()) {
            if (std::find(names_.begin(), names_.end(), tensor.name) == names_.end()) {
                report_.extra.push_back(tensor.name);
            }
        }
    }
    report_.check(printable(file_.path().string(), 1000));
}

}  // namespace graft::detail

namespace graft {

GRAFT_INLINE FoundRunState newest_run_state(const std::filesystem::path& run)
{
    FoundRunState found;
    for (const CheckpointFolder& checkpoint : checkpoints_of(run)) {
        try {
            found.state = read_run_state(checkpoint.path);
            require(found.state.step() == checkpoint.step, [&] {
                return printable(checkpoint.path.string(), 1000) + ": is the state after "
                       + std::to_string(found.state.step()) + " steps: it was renamed";
            });
            found.folder = checkpoint.path;
            return found;
        } catch (const Error& error) {
            found.damaged.push_back(checkpoint.path);
            found.reasons.emplace_back(error.what());
        }
    }
    found.state = {};
    return found;
}

}  // namespace graft
