#pragma once
#include <string>
#include <type_traits>

#include "graft/nn/visit.hpp"

// A model with memory of its own: what is trained in one of the two is not in the other.
//
//   const auto reference = clone(model);
//
// Copying a model makes a second handle to the same weights, as a tape needs it. Values only, no gradients. 4-bit
// weights, which nothing changes in place, stay shared.
namespace graft {

namespace detail {

template <Float T, class S, Device Dev> void copy_values(const Tensor<T, S, Dev>& from, const Tensor<T, S, Dev>& to)
{
    const auto bytes = std::size_t(from.memory().size()) * sizeof(T);
    compute(to.pool(), [&] { memory<Dev>::copy(to.data(), from.data(), bytes, to.pool()->stream()); });
}

}  // namespace detail

template <class Model> Model clone(const Model& model)
{
    Model out = model;
    leaves(out, [](const std::string&, auto& leaf) {
        using Leaf = std::remove_cvref_t<decltype(leaf)>;
        if constexpr (requires { leaf.value(); }) {
            if (leaf.empty()) { return; }
            const Leaf old = leaf;
            using Value = std::remove_cvref_t<decltype(leaf.value())>;
            leaf = Leaf(Value(old.value().rows(), old.value().cols(), old.value().pool()));
            detail::copy_values(old.value(), leaf.value());
            if constexpr (!std::same_as<typename Leaf::Element, typename Value::Element>) {
                detail::copy_values(old.working(), leaf.working());
            }
        }
    });
    return out;
}

}  // namespace graft
