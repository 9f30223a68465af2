#pragma once
#include "graft/text/dataset/options.hpp"

#include <cstdint>
#include <string>

namespace graft::detail::dataset {

GRAFT_INLINE void report_progress(const DataOptions& options, const std::string& file, std::int64_t read,
                                  std::int64_t used)
{
    if (options.progress) { options.progress({file, read, used}); }
}

}  // namespace graft::detail::dataset
