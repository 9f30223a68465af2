#pragma once
#include "graft/text/dataset/histogram.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace graft::detail::dataset {

GRAFT_INLINE std::vector<Bucket> buckets_of(const std::vector<std::int64_t>& values)
{
    constexpr std::int64_t most = 12;
    std::vector<Bucket> out;
    if (values.empty()) { return out; }
    const auto [least, largest] = std::minmax_element(values.begin(), values.end());
    const std::int64_t low = *least, high = *largest;
    if (high - low < most || high / 8 < low) {
        std::int64_t width = 1;
        for (int k = 0; high / width - low / width >= most; ++k) { width = k % 3 == 1 ? width / 2 * 5 : width * 2; }
        for (auto k = low / width; k <= high / width; ++k) {
            // No row has fewer than one target: a first bucket that would begin at 0 begins at the smallest value.
            out.push_back({k == 0 ? std::min(low, std::int64_t{1}) : k * width, k * width + width - 1});
        }
    } else {
        std::int64_t factor = 2;
        const auto steps = [&](std::int64_t value) {
            std::int64_t n = 0;
            for (; value >= factor; value /= factor) { ++n; }
            return n;
        };
        while (steps(high) - steps(std::max<std::int64_t>(low, 1)) + (low == 0) >= most) { factor *= 2; }
        if (low == 0) { out.push_back({0, 0}); }
        std::int64_t begin = 1;
        for (auto n = steps(std::max<std::int64_t>(low, 1)); n > 0; --n) { begin *= factor; }
        for (;; begin *= factor) {
            const bool last = begin > high / factor;
            out.push_back({begin, begin + (begin * (factor - 1) - 1)});
            if (last) { break; }
        }
    }
    for (const auto value : values) {
        const auto at = std::partition_point(out.begin(), out.end(), [&](const Bucket& b) { return b.high < value; });
        ++at->count;
    }
    return out;
}

GRAFT_INLINE std::string bucket_name(const Bucket& bucket)
{
    const auto low = std::to_string(bucket.low);
    return bucket.low == bucket.high ? low : low + "-" + std::to_string(bucket.high);
}

GRAFT_INLINE std::vector<std::string> histogram_lines(const std::vector<Bucket>& buckets, std::size_t width)
{
    std::size_t name = 0;
    std::int64_t largest = 1;
    for (const auto& bucket : buckets) {
        name = std::max(name, bucket_name(bucket).size()), largest = std::max(largest, bucket.count);
    }
    std::vector<std::string> lines;
    for (const auto& bucket : buckets) {
        const auto text = bucket_name(bucket);
        const auto share = double(bucket.count) / double(largest);
        // What is there is seen: a bar of one character at least.
        const auto bar = std::max(std::size_t(share * double(width) + 0.5), std::size_t(bucket.count > 0));
        lines.push_back(std::string(name - text.size(), ' ') + text + " |" + std::string(bar, '#')
                        + std::string(width - bar, ' ') + "| " + std::to_string(bucket.count));
    }
    return lines;
}

GRAFT_INLINE std::string histogram_text(const std::vector<Bucket>& buckets)
{
    std::string out;
    for (const auto& bucket : buckets) {
        out += (out.empty() ? "" : ", ") + bucket_name(bucket) + ": " + std::to_string(bucket.count);
    }
    return out;
}

}  // namespace graft::detail::dataset
