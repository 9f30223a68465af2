#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <set>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "graft/checkpoint/checkpoint.hpp"
#include "graft/checkpoint/nf4_state.hpp"
#include "graft/core/dtype.hpp"
#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/core/parallel.hpp"
#include "graft/core/view.hpp"
#include "graft/io/safetensors/types.hpp"
#include "graft/io/text.hpp"
#include "graft/models/any.hpp"
#include "graft/nn/trained.hpp"
#include "graft/nn/visit.hpp"

// Tensors of files into the parts of a model, by name, strictly both ways.
//
//   load_weights(model, checkpoint, {.double_quant = …})    fills every Param, Frozen and Nf4Weight but adapters, and
//                                                           returns the names of what it filled, and of the adapters'
//                                                           tensors, which no checkpoint holds: they stay as their kit
//                                                           drew them (drawn), or add_adapter and load_adapter left
//                                                           them (kept)
//
// Element types F32, F16, BF16 (and F64) are converted, one rounding each; an Nf4Weight is quantised as it is read
// (blocks of 64), or taken as bitsandbytes stored it; a dense part over a stored 4-bit weight is decoded.
// With untie, a model whose head is a tensor of its own takes it from the embedding of a checkpoint that ties the two.
// Names, a tied pair and what is passed over: checkpoint.hpp. A head beside a tied embedding must equal it.
//
// Throws: Error that lists together: parts that the checkpoint lacks, tensors that no part took, shapes that differ.
namespace graft {

struct LoadOptions {
    bool double_quant = false;  // of weights that are quantised here: scales in 8 bits
    bool untie = false;         // the checkpoint's head is its embedding, the model's is not
};

struct Loaded {
    std::vector<std::string> filled{}, drawn{}, kept{};
};

namespace detail {

bool is_adapter_part(const std::string& name);

template <class T, class S> T element(const std::byte* at)
{
    S value;
    std::memcpy(&value, at, sizeof(S));
    if constexpr (std::is_same_v<S, T>) {
        return value;
    } else if constexpr (std::is_same_v<S, double> || std::is_same_v<T, double>) {
        return T(double(value));
    } else {
        return T(float(value));
    }
}

template <class T, class S> void convert_row(const std::byte* from, std::int64_t n, T* to)
{
    for (std::int64_t j = 0; j < n; ++j) { to[j] = element<T, S>(from + std::size_t(j) * sizeof(S)); }
}

bool is_float(StoredType type);

// Elements [first, first + n) of a dense tensor as T.
template <class T> void read_elements(const StoredTensor& t, std::int64_t first, std::int64_t n, T* to)
{
    const std::byte* at = t.bytes.data() + std::size_t(first) * std::size_t(stored_bits(t.type) / 8);
    switch (t.type) {
    case StoredType::f32: convert_row<T, float>(at, n, to); break;
    case StoredType::f64: convert_row<T, double>(at, n, to); break;
    case StoredType::bf16: convert_row<T, bf16>(at, n, to); break;
    case StoredType::f16: convert_row<T, f16>(at, n, to); break;
    default: throw Error("tensor " + printable(t.name) + " has element type " + std::string(stored_name(t.type)));
    }
}

template <class T> void read_dense(const StoredTensor& t, View<T> to)
{
    parallel_rows(to.rows, 64, to.cols(), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) { read_elements<T>(t, i * to.cols(), to.cols(), to.row(i)); }
    });
}

// Quantises (Out, In) from a dense tensor: whole rows of blocks at a time.
template <class Leaf> Leaf quantized(const StoredTensor& t, std::int64_t rows, std::int64_t cols, bool double_quant)
{
    const std::int64_t n = rows * cols, block = nf4::default_block, chunk = block * 1024;
    std::vector<std::uint8_t> packed(nf4::bytes_of(std::size_t(n)));
    std::vector<float> absmax(nf4::blocks_of(std::size_t(n), std::size_t(block)));
    parallel_rows(n, chunk, 8, [&](std::int64_t begin, std::int64_t end) {
        std::vector<float> values(std::size_t(end - begin));
        read_elements<float>(t, begin, end - begin, values.data());
        const std::size_t blocks = nf4::blocks_of(values.size(), std::size_t(block));
        try {
            nf4::quantize<float>(values, int(block),
                                 std::span(packed).subspan(std::size_t(begin / 2), nf4::bytes_of(values.size())),
                                 std::span(absmax).subspan(std::size_t(begin / block), blocks));
        } catch (const Error& error) {
            throw Error("tensor " + printable(t.name) + " from element " + std::to_string(begin) + ": " + error.what());
        }
    });
    if (double_quant) { return Leaf(rows, cols, packed, nf4::nest(absmax), int(block)); }
    return Leaf(rows, cols, packed, absmax, int(block));
}

template <class S> std::vector<std::int64_t> shape_of(std::int64_t rows, std::int64_t cols)
{
    if constexpr (S::rank == 1) {
        return {cols};
    } else {
        return {rows, cols};
    }
}

struct LoadReport {
    std::vector<std::string> missing, extra, misshaped;

    // hint: more about what was found, to end the sentence with.
    void check(const std::string& where, const std::string& hint = "") const;
};

// What the tensors of a base that does not fit say about where it comes from.
std::string base_hint(const LoadReport& report, const Checkpoint& checkpoint);

bool same_values(const StoredTensor& a, const StoredTensor& b);

}  // namespace detail

template <class Model> Loaded load_weights(Model& model, const Checkpoint& checkpoint, const LoadOptions& options = {})
{
    const std::string where = printable(checkpoint.folder().string(), 1000);
    detail::LoadReport report;
    std::set<std::string> taken;

    // The parts of stored 4-bit weights, by the weight's name.
    std::map<std::string, std::vector<StoredTensor>> four_bit;
    for (const auto& [name, tensor] : checkpoint.tensors()) {
        if (const auto weight = nf4_weight_of(name); !weight.empty()) {
            four_bit[std::string(weight)].push_back(*tensor);
            taken.insert(name);
        }
    }
    for (auto& [name, parts] : four_bit) {
        if (const StoredTensor* packed = checkpoint.find(name)) { parts.push_back(*packed); }
    }

    // First shapes and names, then values: nothing is read for a checkpoint that does not fit.
    const auto shape_fits = [&](const StoredTensor& t, const std::vector<std::int64_t>& shape) {
        if (t.shape == shape && detail::is_float(t.type)) { return true; }
        report.misshaped.push_back(t.name + " (" + std::string(stored_name(t.type)) + " " + shape_text(t.shape)
                                   + ", expected " + shape_text(shape) + ")");
        return false;
    };
    const auto each = [&](auto&& use) {
        modules(model, [&](const std::string& path, auto& module) {
            std::remove_cvref_t<decltype(module)>::parts(module, [&](const std::string& part, auto& leaf) {
                using Leaf = std::remove_cvref_t<decltype(leaf)>;
                if constexpr (IsLeaf<Leaf>::value) {
                    const std::string name = detail::joined(path, part);
                    if (!detail::is_adapter_part(name)) { use(name, module, leaf); }
                }
            });
        });
    };
    const auto extents = [](auto& module, auto& leaf) {
        using Leaf = std::remove_cvref_t<decltype(leaf)>;
        if constexpr (requires { leaf.value(); }) {
            return detail::shape_of<typename Leaf::Extents>(leaf.value().rows(), leaf.value().cols());
        } else {
            return std::vector<std::int64_t>{module.out, module.in};
        }
    };
    const auto is_copy = [&](const std::string& name) { return options.untie && name == "lm_head.weight"; };
    const auto find = [&](const std::string& name) {
        return checkpoint.find(is_copy(name) ? "model.embed_tokens.weight" : name);
    };
    each([&](const std::string& name, auto& module, auto& leaf) {
        if (!is_copy(name)) { taken.insert(name); }
        if (four_bit.contains(name)) { return; }
        const StoredTensor* t = find(name);
        if (t == nullptr) {
            report.missing.push_back(name);
        } else {
            shape_fits(*t, extents(module, leaf));
        }
    });
    for (const auto& [name, tensor] : checkpoint.tensors()) {
        if (taken.contains(name)) { continue; }
        if (name == "lm_head.weight" && checkpoint.find("model.embed_tokens.weight") != nullptr) {
            require(detail::same_values(*tensor, *checkpoint.find("model.embed_tokens.weight")), [&] {
                return where
                       + ": config.json says tie_word_embeddings, but lm_head.weight differs from "
                         "model.embed_tokens.weight: set it to false if the head is one of its own";
            });
            continue;
        }
        report.extra.push_back(name);
    }
    report.check(where, detail::base_hint(report, checkpoint));

    each([&](const std::string& name, auto& module, auto& leaf) {
        using Leaf = std::remove_cvref_t<decltype(leaf)>;
        const auto stored = four_bit.find(name);
        if constexpr (requires { leaf.value(); }) {
            auto to = leaf.value().view();
            if (stored == four_bit.end()) {
                detail::read_dense(*find(name), View<std::remove_pointer_t<decltype(to.data)>>(to));
            } else {
                const Nf4State state = read_nf4(name, stored->second, where);
                require(state.shape == extents(module, leaf), [&] {
                    return where + ": " + printable(name) + " is " + shape_text(state.shape) + ", expected "
                           + shape_text(extents(module, leaf));
                });
                using Value = std::remove_pointer_t<decltype(to.data)>;
                std::vector<float> row(std::size_t(leaf.value().cols()));
                for (std::int64_t i = 0; i < to.rows; ++i) {
                    state.dequantize<float>(std::size_t(i) * row.size(), std::span<float>(row));
                    for (std::size_t j = 0; j < row.size(); ++j) { to.row(i)[j] = Value(row[j]); }
                }
            }
        } else if (stored == four_bit.end()) {
            leaf = detail::quantized<Leaf>(*checkpoint.find(name), module.out, module.in, options.double_quant);
        } else {
            const Nf4State state = read_nf4(name, stored->second, where);
            require(state.shape == extents(module, leaf), [&] {
                return where + ": " + printable(name) + " is " + shape_text(state.shape) + ", expected "
                       + shape_text(extents(module, leaf));
            });
            leaf = state.nested ? Leaf(module.out, module.in, state.packed, *state.nested, state.block, state.type)
                                : Leaf(module.out, module.in, state.packed, state.absmax, state.block, state.type);
        }
    });
    Loaded loaded;
    each([&](const std::string& name, auto&, auto&) { loaded.filled.push_back(name); });
    for (const auto& tensor : trained_tensors(model)) {
        if (!detail::is_adapter_part(tensor.name)) {
            refresh(tensor);
        } else {
            (tensor.grad.version() <= 1 ? loaded.drawn : loaded.kept).push_back(tensor.name);
        }
    }
    return loaded;
}

#if !GRAFT_HEADER_ONLY  // compiled once: parts/models.hpp
#define GRAFT_EXTERN(T) extern template Loaded load_weights(AnyModel<T>&, const Checkpoint&, const LoadOptions&);
GRAFT_EXTERN(float)
GRAFT_EXTERN(bf16)
GRAFT_EXTERN(double)
#undef GRAFT_EXTERN
#endif

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/checkpoint/load.ipp"
#endif
