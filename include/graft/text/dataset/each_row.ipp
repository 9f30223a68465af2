#pragma once
#include "graft/text/dataset/each_row.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/text/dataset/read/bytes.hpp"
#include "graft/text/dataset/report.hpp"

namespace graft::detail::dataset {

GRAFT_INLINE std::size_t weight_of(const Json& json, std::size_t most)
{
    std::size_t sum = 16;
    if (json.is_string()) { return sum + json.get_ref<const std::string&>().size(); }
    if (json.is_structured()) {
        for (const auto& item : json) {
            if (sum >= most) { break; }
            sum += weight_of(item, most - sum);
        }
    }
    return sum;
}

GRAFT_INLINE void refuse_nothing_left(const DataReport& report, const std::vector<DataReport::Dropped>& before,
                                      const std::string& file, std::int64_t rows, const char* what, const char* lacks)
{
    const auto name = printable(file, 400);
    std::string reasons;
    for (const auto& kind : report.dropped) {
        const auto same = [&](const auto& other) { return other.reason == kind.reason; };
        const auto old = std::find_if(before.begin(), before.end(), same);
        const auto new_ones = kind.rows - (old == before.end() ? 0 : old->rows);
        if (new_ones == 0) { continue; }
        reasons += (reasons.empty() ? " " : "; ") + counted(new_ones, what) + ": " + kind.reason;
        const auto here = [&](const std::string& place) { return place.starts_with(name + ":"); };
        const auto first = std::find_if(kind.first.begin(), kind.first.end(), here);
        if (first != kind.first.end()) { reasons += " (first " + *first + ")"; }
    }
    throw Error(name + ": nothing to learn: none of " + counted(rows, what) + lacks + reasons);
}

}  // namespace graft::detail::dataset
