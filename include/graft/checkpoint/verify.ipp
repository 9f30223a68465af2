#pragma once
#include "graft/checkpoint/verify.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "graft/core/parallel.hpp"
#include "graft/io/safetensors/types.hpp"

namespace graft {

GRAFT_INLINE std::int64_t findings(const Verification& parts)
{
    std::int64_t count = 0;
    for (const auto& part : parts) { count += std::int64_t(part.findings.size()); }
    return count;
}

}  // namespace graft

namespace graft::detail {

GRAFT_INLINE BadValues values_not_finite(const StoredTensor& t)
{
    constexpr std::int64_t chunk = 1 << 16;
    const std::int64_t n = elements_of(t.shape);
    std::vector<BadValues> found(std::size_t((n + chunk - 1) / chunk));
    parallel_rows(n, chunk, 2, [&](std::int64_t begin, std::int64_t end) {
        std::vector<double> some(std::size_t(std::min(chunk, end - begin)));
        for (std::int64_t at = begin; at < end; at += chunk) {
            const std::int64_t count = std::min(chunk, end - at);
            read_elements<double>(t, at, count, some.data());
            auto& here = found[std::size_t(at / chunk)];
            for (std::int64_t i = count - 1; i >= 0; --i) {
                if (!std::isfinite(some[std::size_t(i)])) { here = {here.count + 1, at + i}; }
            }
        }
    });
    BadValues out;
    for (const auto& here : found) {
        if (here.count > 0 && out.count == 0) { out.first = here.first; }
        out.count += here.count;
    }
    return out;
}

}  // namespace graft::detail
