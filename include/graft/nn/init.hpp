#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "graft/nn/lora.hpp"
#include "graft/nn/trained.hpp"
#include "graft/nn/visit.hpp"

// Starting values for a model that is not loaded from a file.
//
//   init(model, seed, deviation = 0.02)
//
//   matrices        normal, mean 0, the given standard deviation       lora_A    as in lora.hpp, from 1 / sqrt(In)
//   norm weights    1                                                  lora_B    0: training starts at the base
//   biases          0
//
// Each tensor draws from a stream of its own, keyed by its name, in f64: a seed gives the same values on every device.
// Working copies are refreshed.
//
// Throws: Error for an NF4 weight: its codes come from a checkpoint.
namespace graft {

template <class Model> void init(Model& model, std::uint64_t seed, double deviation = 0.02)
{
    leaves(model, [&](const std::string& name, auto& leaf) {
        using Leaf = std::remove_cvref_t<decltype(leaf)>;
        if constexpr (requires { leaf.value(); }) {
            using Value = std::remove_const_t<std::remove_pointer_t<decltype(leaf.value().data())>>;
            auto&              value = leaf.value();
            const std::int64_t cols = value.cols(), stride = value.rows() > 1 ? value.stride() : cols;
            const bool         vector = Leaf::Extents::rank == 1, bias = name.ends_with("bias");
            const bool         zero = bias || name.ends_with("lora_B.weight");
            const bool         uniform = name.ends_with("lora_A.weight");
            const Philox       random{seed};
            const auto         stream = stream_of(name.data(), name.size());
            const double       bound = 1.0 / std::sqrt(double(cols));
            std::vector<Value> host(std::size_t(value.rows() * stride), Value(0.0f));
            for (std::int64_t i = 0; i < value.rows(); ++i) {
                for (std::int64_t j = 0; j < cols && !zero; ++j) {
                    const auto words = random(stream, std::uint64_t(i * cols + j));
                    const double drawn = uniform ? (2.0 * double(words[0]) * 0x1p-32 - 1.0) * bound
                                                 : Philox::normal(words[0], words[1]) * deviation;
                    host[std::size_t(i * stride + j)] = Value(acc<Value>(vector && !uniform ? 1.0 : drawn));
                }
            }
            compute(value.pool(), [&] {
                memory<typename Leaf::On>::copy(value.data(), host.data(), host.size() * sizeof(Value),
                                                value.pool()->stream());
            });
        } else {
            throw Error("init: " + name + " is 4-bit, which cannot start from nothing: load it from a checkpoint");
        }
    });
    for (const auto& tensor : trained_tensors(model)) { refresh(tensor); }
}

}  // namespace graft
