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
//   begin_adapters(model, seed)            the adapters of static LoRA layers alone, as add_adapter begins those of a
//                                          checkpoint: A by the name of its module, B zero. Llama does it when it is
//                                          made
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

template <class> inline constexpr bool is_lora = false;
template <class Base, int Rank> inline constexpr bool is_lora<Lora<Base, Rank>> = true;

namespace detail {

// Values of the host, by row and column, into a tensor of any device.
template <Float M, class S, Device Dev, class At> void fill_from(Tensor<M, S, Dev>& to, At&& at)
{
    const std::int64_t cols = to.cols(), stride = to.rows() > 1 ? to.stride() : cols;
    compute(to.pool(), [&] {
        std::vector<M> host(std::size_t(to.rows() * stride), M(0.0f));
        for (std::int64_t i = 0; i < to.rows(); ++i) {
            for (std::int64_t j = 0; j < cols; ++j) { host[std::size_t(i * stride + j)] = at(i, j); }
        }
        memory<Dev>::copy(to.data(), host.data(), host.size() * sizeof(M), to.pool()->stream());
    });
}

}  // namespace detail

template <class Model> void begin_adapters(Model& model, std::uint64_t seed)
{
    std::uint32_t index = 0;
    modules(model, [&](const std::string& name, auto& module) {
        using Module = std::remove_cvref_t<decltype(module)>;
        if constexpr (is_lora<Module>) {
            auto& branch = module.branch;
            using M = std::remove_pointer_t<decltype(branch.a.value().data())>;
            branch.module = ++index;
            detail::fill_from(branch.a.value(), [&, draw = LoraDraw(seed, name, branch.a.value().cols())](
                                                    std::int64_t i, std::int64_t j) { return M(draw(i, j)); });
            detail::fill_from(branch.b.value(), [](std::int64_t, std::int64_t) { return M(0.0f); });
        }
    });
    for (const auto& tensor : trained_tensors(model)) {
        if (tensor.name.find("lora_") != std::string::npos) { refresh(tensor); }
    }
}

template <class Model> void init(Model& model, std::uint64_t seed, double deviation = 0.02)
{
    leaves(model, [&](const std::string& name, auto& leaf) {
        using Leaf = std::remove_cvref_t<decltype(leaf)>;
        if constexpr (requires { leaf.value(); }) {
            using Value = std::remove_const_t<std::remove_pointer_t<decltype(leaf.value().data())>>;
            auto& value = leaf.value();
            const std::int64_t cols = value.cols(), stride = value.rows() > 1 ? value.stride() : cols;
            const bool vector = Leaf::Extents::rank == 1, bias = name.ends_with("bias");
            const bool zero = bias || name.ends_with("lora_B.weight");
            const bool uniform = name.ends_with("lora_A.weight");
            const Philox random{seed};
            const auto stream = stream_of(name.data(), name.size());
            const double bound = 1.0 / std::sqrt(double(cols));
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
