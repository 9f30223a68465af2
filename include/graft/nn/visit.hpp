#pragma once
#include <string>
#include <type_traits>
#include <vector>

#include "graft/autograd/param.hpp"
#include "graft/ops/nf4_matmul.hpp"

// Walks the parts of a model: everything that needs "all parameters" goes through here.
//
//   leaves(model, [](const std::string& name, auto& leaf) { … })     each Param, Frozen and Nf4Weight, by its full name
//   modules(model, [](const std::string& name, auto& module) { … })  each module, containers included
//
// A module says what it is made of in one line, static void parts(auto& self, auto&& part), with the names that the
// checkpoint uses: part("q_proj", self.q). A std::vector of modules is numbered from 0.
namespace graft {

template <class> struct IsLeaf : std::false_type {};
template <Float T, class S, Device Dev> struct IsLeaf<Param<T, S, Dev>> : std::true_type {};
template <Float T, class S, Device Dev> struct IsLeaf<Frozen<T, S, Dev>> : std::true_type {};
template <class S, Device Dev> struct IsLeaf<Nf4Weight<S, Dev>> : std::true_type {};

namespace detail {

template <class> struct IsVector : std::false_type {};
template <class M> struct IsVector<std::vector<M>> : std::true_type {};

inline std::string joined(const std::string& path, const std::string& name)
{
    return path.empty() ? name : name.empty() ? path : path + "." + name;
}

template <class M, class OnModule, class OnLeaf>
void walk(const std::string& path, M& part, OnModule&& on_module, OnLeaf&& on_leaf)
{
    using Plain = std::remove_const_t<M>;
    if constexpr (IsLeaf<Plain>::value) {
        on_leaf(path, part);
    } else if constexpr (IsVector<Plain>::value) {
        for (std::size_t i = 0; i < part.size(); ++i) {
            walk(joined(path, std::to_string(i)), part[i], on_module, on_leaf);
        }
    } else {
        on_module(path, part);
        Plain::parts(
            part, [&](const std::string& name, auto& child) { walk(joined(path, name), child, on_module, on_leaf); });
    }
}

}  // namespace detail

template <class Model, class Use> void leaves(Model& model, Use&& use)
{
    detail::walk(
        "", model, [](const std::string&, auto&) {}, use);
}
template <class Model, class Use> void modules(Model& model, Use&& use)
{
    detail::walk("", model, use, [](const std::string&, auto&) {});
}

}  // namespace graft
