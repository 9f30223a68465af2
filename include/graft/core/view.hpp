#pragma once
#include <concepts>
#include <cstdint>

#include "graft/core/dtype.hpp"
#include "graft/core/shape.hpp"

// What a kernel sees: a pointer, extents and a row stride. Owns nothing, checks nothing.
//
//   View<T, D>    rows of D elements, row i at data + i * stride; D may be dyn
//   Sink<T>       where a gradient goes: the first writer assigns, later ones add
namespace graft {

template <class T, int D = dyn> struct View {
    T* data = nullptr;
    std::int64_t rows = 0;
    std::int64_t stride = 0;

    static constexpr std::int64_t cols() { return D; }
    GRAFT_HOST_DEVICE T* row(std::int64_t i) const { return data + i * stride; }
    // Templates, since nvcc warns of an operator View<const T, D>() in View<const T, D>, where it cannot be called.
    template <std::same_as<const T> To> operator View<To, D>() const { return {data, rows, stride}; }
    template <class To>
        requires std::same_as<To, T> || std::same_as<To, const T>
    operator View<To, dyn>() const { return {data, rows, stride, D}; }
};

template <class T> struct View<T, dyn> {
    T* data = nullptr;
    std::int64_t rows = 0;
    std::int64_t stride = 0;
    std::int64_t width = 0;

    GRAFT_HOST_DEVICE std::int64_t cols() const { return width; }
    GRAFT_HOST_DEVICE T* row(std::int64_t i) const { return data + i * stride; }
    template <std::same_as<const T> To> operator View<To, dyn>() const { return {data, rows, stride, width}; }
};

template <class T> struct Sink {
    View<T> view;
    bool add = false;  // false: this is the first write, memory below holds nothing yet

    GRAFT_HOST_DEVICE explicit operator bool() const { return view.data != nullptr; }
    // Puts one value where it belongs; sums are formed in acc<T> and rounded once.
    GRAFT_HOST_DEVICE void put(std::int64_t row, std::int64_t col, acc<T> value) const
    {
        T& at = view.row(row)[col];
        at = T(add ? acc<T>(at) + value : value);
    }
};

}  // namespace graft
