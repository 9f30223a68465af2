#pragma once
#include "graft/checkpoint/merge/value.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/checkpoint/adapter_config/targets.hpp"
#include "graft/checkpoint/checkpoint.hpp"
#include "graft/checkpoint/load.hpp"
#include "graft/checkpoint/merge/stored_adapter.hpp"
#include "graft/checkpoint/modules.hpp"
#include "graft/checkpoint/nf4_state.hpp"
#include "graft/io/safetensors/types.hpp"

namespace graft {

GRAFT_INLINE MergeBase::MergeBase(const Checkpoint& checkpoint) : checkpoint_(checkpoint)
{
    for (const auto& [name, tensor] : checkpoint.tensors()) {
        if (const auto weight = nf4_weight_of(name); !weight.empty()) {
            four_bit_[std::string(weight)].push_back(*tensor);
        }
    }
    for (auto& [name, parts] : four_bit_) {
        if (const StoredTensor* packed = checkpoint.find(name)) { parts.push_back(*packed); }
    }
}

GRAFT_INLINE const std::vector<StoredTensor>* MergeBase::parts(const std::string& name) const
{
    const auto at = four_bit_.find(name);
    return at == four_bit_.end() ? nullptr : &at->second;
}

GRAFT_INLINE MergedTensor::MergedTensor(const TensorInfo& info, const MergeBase& base,
                                        std::span<const StoredAdapter> adapters)
    : name_(info.name), rows_(info.shape.size() == 1 ? 1 : info.shape[0]), cols_(info.shape.back())
{
    if (const auto* parts = base.parts(name_)) {
        state_ = read_nf4(name_, *parts, base.where());
    } else {
        dense_ = base.checkpoint().find(name_);
    }
    const bool was_tied = dense_ == nullptr && !state_ && name_ == detail::head_weight;  // and is no longer
    if (was_tied) { dense_ = base.checkpoint().find(detail::embedding_weight); }
    for (const StoredAdapter& adapter : adapters) {
        if (const StoredTensor* whole = adapter.whole(name_)) { dense_ = whole, state_.reset(); }
    }
    constexpr std::string_view weight = ".weight";
    const std::string module = name_.ends_with(weight) ? name_.substr(0, name_.size() - weight.size()) : "";
    for (const StoredAdapter& adapter : adapters) {
        if (const StoredBranch* branch = module.empty() ? nullptr : adapter.find(module)) {
            branches_.push_back(read_branch(*branch));
        }
        if (adapter.rows() != nullptr && (name_ == detail::embedding_weight || was_tied)) {
            const auto values = detail::all_values(*adapter.rows());
            for (std::size_t s = 0; s < adapter.tokens().size(); ++s) {
                const auto begin = values.begin() + std::int64_t(s) * cols_;
                new_rows_[adapter.tokens()[s]] = std::vector<double>(begin, begin + cols_);
            }
        }
    }
}

GRAFT_INLINE std::int64_t MergedTensor::row_work() const
{
    std::int64_t rank = 0;
    for (const Branch& branch : branches_) { rank += branch.rank; }
    return cols_ * (4 + rank / 4);
}

GRAFT_INLINE void MergedTensor::rows(std::int64_t first, std::int64_t count, double* value, double* update) const
{
    const std::int64_t n = count * cols_;
    if (state_) {
        std::vector<float> decoded(static_cast<std::size_t>(n));
        state_->dequantize<float>(std::size_t(first * cols_), std::span<float>(decoded));
        for (std::int64_t i = 0; i < n; ++i) { value[i] = double(decoded[std::size_t(i)]); }
    } else {
        detail::read_elements<double>(*dense_, first * cols_, n, value);
    }
    std::fill(update, update + n, 0.0);
    for (const Branch& branch : branches_) { add(branch, first, count, update); }
    if (!branches_.empty()) {
        for (std::int64_t i = 0; i < n; ++i) { value[i] += update[i]; }
    }
    for (auto at = new_rows_.lower_bound(first); at != new_rows_.end() && at->first < first + count; ++at) {
        double* const to = value + (at->first - first) * cols_;
        for (std::int64_t j = 0; j < cols_; ++j) {
            update[(at->first - first) * cols_ + j] += at->second[std::size_t(j)] - to[j];
            to[j] = at->second[std::size_t(j)];
        }
    }
}

GRAFT_INLINE MergedTensor::Branch MergedTensor::read_branch(const StoredBranch& from)
{
    const AdapterTarget& target = from.target;
    auto a = detail::all_values(from.a), b = detail::all_values(from.b);
    if (target.kind != ModuleKind::embedding) { return {target.rank, target.scale, std::move(a), std::move(b)}; }
    return {target.rank, target.scale, transposed(b, target.out, target.rank), transposed(a, target.rank, target.in)};
}

GRAFT_INLINE std::vector<double> MergedTensor::transposed(const std::vector<double>& from, std::int64_t rows,
                                                          std::int64_t cols)
{
    std::vector<double> to(from.size());
    for (std::int64_t i = 0; i < rows; ++i) {
        for (std::int64_t j = 0; j < cols; ++j) { to[std::size_t(j * rows + i)] = from[std::size_t(i * cols + j)]; }
    }
    return to;
}

GRAFT_INLINE void MergedTensor::add(const Branch& branch, std::int64_t first, std::int64_t count, double* update) const
{
    std::vector<double> sum(static_cast<std::size_t>(cols_));
    for (std::int64_t i = 0; i < count; ++i) {
        std::fill(sum.begin(), sum.end(), 0.0);
        for (std::int64_t k = 0; k < branch.rank; ++k) {
            const double b = branch.b[std::size_t((first + i) * branch.rank + k)];
            const double* a = branch.a.data() + k * cols_;
            for (std::int64_t j = 0; j < cols_; ++j) { sum[std::size_t(j)] += b * a[j]; }
        }
        for (std::int64_t j = 0; j < cols_; ++j) { update[i * cols_ + j] += branch.scale * sum[std::size_t(j)]; }
    }
}

}  // namespace graft
