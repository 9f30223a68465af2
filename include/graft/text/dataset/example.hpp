#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "graft/core/inline.hpp"

// One row of a data set, or one piece of a long document, as tokens and labels.
//
// Labels stand at the position of their token (not shifted); ignore where nothing is learnt. The first position is
// always ignore, since nothing predicts it, so the number of labels is the number of targets.
namespace graft {

struct Example {
    std::vector<std::int32_t> ids, labels;
    std::int64_t row = 0;  // number of the row in its file, from 1
    std::string source;    // the file
};

std::int64_t targets(const Example& example);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/text/dataset/example.ipp"
#endif
