#pragma once
#include "graft/checkpoint/grow/rows.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "graft/checkpoint/load.hpp"
#include "graft/checkpoint/merge/value.hpp"
#include "graft/core/dtype.hpp"
#include "graft/core/error.hpp"
#include "graft/core/parallel.hpp"
#include "graft/io/safetensors/types.hpp"
#include "graft/io/safetensors/write.hpp"
#include "graft/io/text.hpp"

namespace graft::detail {

template <class T> std::vector<std::byte> rounded_bytes(std::span<const double> values)
{
    std::vector<std::byte> out(values.size() * sizeof(T));
    for (std::size_t i = 0; i < values.size(); ++i) {
        const T value = round_once<T>(values[i]);
        std::memcpy(out.data() + i * sizeof(T), &value, sizeof(T));
    }
    return out;
}

GRAFT_INLINE std::vector<std::byte> mean_row(const StoredTensor& table, const std::set<std::int64_t>& ids)
{
    const std::int64_t cols = table.shape[1];
    std::vector<double> sum(static_cast<std::size_t>(cols));
    parallel_rows(cols, 512, std::int64_t(ids.size()) * 2, [&](std::int64_t begin, std::int64_t end) {
        std::vector<double> some(static_cast<std::size_t>(end - begin));
        for (const std::int64_t id : ids) {
            read_elements<double>(table, id * cols + begin, end - begin, some.data());
            for (std::size_t j = 0; j < some.size(); ++j) {
                require(std::isfinite(some[j]), [&] {
                    return printable(table.name) + ", row " + std::to_string(id) + ", column "
                           + std::to_string(begin + std::int64_t(j)) + " is " + std::to_string(some[j])
                           + ", so there is no mean row for new tokens: the base is broken";
                });
                sum[std::size_t(begin) + j] += some[j];
            }
        }
    });
    for (double& value : sum) { value /= double(ids.size()); }
    switch (table.type) {
    case StoredType::bf16: return rounded_bytes<bf16>(sum);
    case StoredType::f16: return rounded_bytes<f16>(sum);
    case StoredType::f64: return rounded_bytes<double>(sum);
    default: return rounded_bytes<float>(sum);
    }
}

GRAFT_INLINE void write_grown(const StoredTensor& table, std::int64_t rows, std::int64_t first, std::int64_t end,
                              std::span<const std::byte> fresh, const WriteBytes& write)
{
    const std::int64_t before = table.shape[0], width = std::int64_t(fresh.size());
    const auto old = [&](std::int64_t from, std::int64_t to) {
        if (from < to) { write(table.bytes.subspan(std::size_t(from * width), std::size_t((to - from) * width))); }
    };
    old(0, first);
    for (std::int64_t row = first; row < end; ++row) { write(fresh); }
    old(end, before);
    for (std::int64_t row = std::max(end, before); row < rows; ++row) { write(fresh); }
}

}  // namespace graft::detail
