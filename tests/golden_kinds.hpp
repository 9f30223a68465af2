#pragma once
#include <filesystem>
#include <string>

#include "graft/checkpoint/hf_config.hpp"
#include "graft/core/error.hpp"
#include "graft/io/json_file.hpp"

// Recorded adapters are of many families of models.
namespace graft_test {

// Whether the base of a recorded adapter is of a family that graft reads.
inline bool of_known_family(const std::filesystem::path& kind)
{
    const auto expected = graft::read_json(kind / "expected.json");
    try {
        graft::read_config(kind / graft::json_string(expected, "base", kind.string()));
    } catch (const graft::Error&) {
        return false;
    }
    return true;
}

}  // namespace graft_test
