#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "graft/core/device.hpp"
#include "graft/core/dtype.hpp"
#include "graft/core/inline.hpp"
#include "graft/core/parallel.hpp"
#include "graft/io/hash.hpp"
#include "graft/nn/trained.hpp"
#include "graft/optim/adamw.hpp"

// The proof of what a run trained: which tensors changed their bytes, held against those that were declared trainable.
//
//   const TensorHashes before = tensor_hashes(model);     SHA-256 of every tensor: masters, frozen values, NF4 parts
//   … the loop …
//   const TrainedSet set = trained_set(before, tensor_hashes(model), names_of(adamw), with_gradient(adamw));
//   set.check(any_rate);                                  throws where what changed is not what was declared
//   combined(before, names)                               one hash of some tensors, by name
//
// A declared tensor may stay as it was where it had no gradient but zero: A of a fresh adapter after one step, since B
// is zero then. Such tensors are counted apart; AdamW's moments tell, which a resumed run has as well. any_rate:
// whether a step had a learning rate above zero; without one nothing is expected to change.
//
// Every byte is read, about a second for each GB and thread. Tensors on the CPU.
// Throws: Error of check(), which names the tensors.
namespace graft {

using TensorHashes = std::map<std::string, std::string>;

struct TrainedSet {
    std::vector<std::string> changed;           // declared, and changed
    std::vector<std::string> without_gradient;  // declared, as before: every gradient was zero
    std::vector<std::string> unchanged;         // declared, as before, though a gradient was not zero
    std::vector<std::string> stray;             // not declared, but changed
    std::int64_t frozen = 0;                    // not declared, as before

    std::int64_t declared() const { return std::int64_t(changed.size() + without_gradient.size() + unchanged.size()); }
    void check(bool any_rate) const;
};

namespace detail {

template <class Leaf> std::string leaf_hash(const Leaf& leaf)
{
    Sha256 hash;
    if constexpr (requires { leaf.value(); }) {
        const auto view = leaf.value().view();
        for (std::int64_t i = 0; i < view.rows; ++i) {
            hash.add(std::as_bytes(std::span(view.row(i), std::size_t(view.cols()))));
        }
    } else {
        leaf.memory_of([&](std::span<const std::byte> bytes) { hash.add(bytes); });
    }
    return hash.hex();
}

}  // namespace detail

template <class Model> TensorHashes tensor_hashes(const Model& model)
{
    static_assert(std::is_same_v<typename Model::Dev, Cpu>, "tensor_hashes: the tensors must be on the CPU");
    std::vector<std::string> names;
    std::vector<std::function<std::string()>> jobs;
    std::int64_t work = 0;
    leaves(model, [&](const std::string& name, const auto& leaf) {
        names.push_back(name);
        jobs.emplace_back([&leaf] { return detail::leaf_hash(leaf); });
        if constexpr (requires { leaf.value(); }) {
            work += leaf.value().rows() * leaf.value().cols() * 4;
        } else {
            work += leaf.bytes();
        }
    });
    std::vector<std::string> found(jobs.size());
    parallel_for(std::int64_t(jobs.size()), work,
                 [&](std::int64_t i, int) { found[std::size_t(i)] = jobs[std::size_t(i)](); });
    TensorHashes out;
    for (std::size_t i = 0; i < names.size(); ++i) { out.emplace(names[i], found[i]); }
    return out;
}

// The names of what an optimiser trains.
template <Float T, Device Dev> std::vector<std::string> names_of(const AdamW<T, Dev>& adamw)
{
    std::vector<std::string> out;
    for (const auto& tensor : adamw.trained()) { out.push_back(tensor.name); }
    return out;
}

// Those of them that ever had a gradient other than zero.
template <Float T, Device Dev> std::vector<std::string> with_gradient(AdamW<T, Dev>& adamw)
{
    std::vector<std::string> out;
    const auto trained = adamw.trained();
    const auto states = adamw.state();
    for (std::size_t i = 0; i < trained.size(); ++i) {
        if (states[i].m.empty()) { continue; }
        const auto m = std::as_const(states[i].m).view(), v = std::as_const(states[i].v).view();
        bool any = false;
        for (std::int64_t row = 0; row < m.rows && !any; ++row) {
            for (std::int64_t col = 0; col < m.cols() && !any; ++col) {
                any = m.row(row)[col] != 0 || v.row(row)[col] != 0;
            }
        }
        if (any) { out.push_back(trained[i].name); }
    }
    return out;
}

TrainedSet trained_set(const TensorHashes& before, const TensorHashes& after, const std::vector<std::string>& declared,
                       const std::vector<std::string>& with_gradient);

std::string combined(const TensorHashes& hashes, const std::vector<std::string>& names);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/train/trained_set.ipp"
#endif
