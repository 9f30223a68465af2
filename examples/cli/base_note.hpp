#pragma once
#include <algorithm>
#include <string>

#include "graft/checkpoint/checkpoint.hpp"
#include "graft/checkpoint/tensor_names.hpp"

// What a person should know about the tensors of a base that is read: none where its names are those of the model and
// nothing but buffers is passed over.
namespace cli {

inline std::string base_note(const graft::Checkpoint& checkpoint)
{
    std::string out;
    const auto& over = checkpoint.passed_over();
    const bool head =
        std::any_of(over.begin(), over.end(), [](const auto& entry) { return graft::is_other_head(entry.first); });
    if (head) { out += "note: passed over " + graft::passed_over_text(checkpoint) + "\n"; }
    if (checkpoint.renamed().count > 0) { out += "note: " + graft::renamed_text(checkpoint.renamed()) + "\n"; }
    return out;
}

}  // namespace cli
