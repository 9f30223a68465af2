#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/inline.hpp"

// Counts of whole numbers by size, for a terminal and for a page.
//
//   buckets_of(values)        rows of values that lie beside each other, smallest first, none left out between
//   histogram_lines(buckets)  a line each, with a bar: "25-29 |######## | 12"
//   histogram_text(buckets)   one line: "25-29: 12, 30-34: 7"
//
// Buckets are equally wide (1, 2 or 5 times a power of ten) where the largest value is below eight times the smallest,
// or all values fit so; else each begins at a power of two (four, eight, …) and ends before the next. At most twelve.
// Throws: nothing.
namespace graft {

struct Bucket {
    std::int64_t low = 0, high = 0;  // both inside
    std::int64_t count = 0;
    friend bool operator==(const Bucket&, const Bucket&) = default;
};

namespace detail::dataset {

// The values must not be negative.
std::vector<Bucket> buckets_of(const std::vector<std::int64_t>& values);

std::string bucket_name(const Bucket& bucket);

std::vector<std::string> histogram_lines(const std::vector<Bucket>& buckets, std::size_t width = 40);

std::string histogram_text(const std::vector<Bucket>& buckets);

}  // namespace detail::dataset

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/text/dataset/histogram.ipp"
#endif
