#pragma once
#include "graft/train/trained_set.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "graft/io/hash.hpp"
#include "graft/io/text.hpp"

namespace graft {

GRAFT_INLINE void TrainedSet::check(bool any_rate) const
{
    require(stray.empty(), [&] {
        return "the run changed " + name_list(stray) + ", which it declared frozen: this is an error of the program";
    });
    require(unchanged.empty() || !any_rate, [&] {
        return "the run left " + name_list(unchanged)
               + " as it was, though it has a gradient: the learning rate is too small to change a value";
    });
}

GRAFT_INLINE TrainedSet trained_set(const TensorHashes& before, const TensorHashes& after,
                                    const std::vector<std::string>& declared,
                                    const std::vector<std::string>& with_gradient)
{
    const auto in = [](const std::vector<std::string>& names, const std::string& name) {
        return std::find(names.begin(), names.end(), name) != names.end();
    };
    const std::map<std::string, int> asked = [&] {
        std::map<std::string, int> out;
        for (const auto& name : declared) { out[name] = in(with_gradient, name) ? 2 : 1; }
        return out;
    }();
    TrainedSet out;
    for (const auto& [name, hash] : after) {
        const auto old = before.find(name);
        const bool same = old != before.end() && old->second == hash;
        const auto trained = asked.find(name);
        if (trained == asked.end()) {
            if (same) {
                ++out.frozen;
            } else {
                out.stray.push_back(name);
            }
        } else {
            (!same ? out.changed : trained->second == 2 ? out.unchanged : out.without_gradient).push_back(name);
        }
    }
    for (const auto& name : declared) {
        require(after.contains(name), [&] { return "trained_set: the model has no tensor " + printable(name); });
    }
    return out;
}

GRAFT_INLINE std::string combined(const TensorHashes& hashes, const std::vector<std::string>& names)
{
    Sha256 out;
    for (const auto& [name, hash] : hashes) {
        if (std::find(names.begin(), names.end(), name) != names.end()) { out.add(name + " " + hash + "\n"); }
    }
    return out.hex();
}

}  // namespace graft
