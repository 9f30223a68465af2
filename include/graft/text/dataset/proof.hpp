#pragma once
#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/text/dataset/example.hpp"
#include "graft/text/dataset/load.hpp"

// What is learnt of a data set, for a person to check before a run: mask_proof of dataset.hpp, and the rows to look at.
//
//   rows_to_look_at(set, most)   the row with the fewest targets, the one that lost most when it was cut, the one with
//                                most control tokens inside its contents, the first that does not learn its end of
//                                turn; then the next of each, to `most` rows. One row may be several of these
//   row_title(set, row)          "FILE row 3: 12 targets of 80 tokens, the end of turn is not learnt"
//   shortened(parts, most)       parts of at most about `most` bytes: the middle of a longer one becomes "[…]", and
//                                behind the 64th part the rest does
//
// Throws: nothing.
namespace graft {

// Numbers of set.report.rows, worst first.
std::vector<std::size_t> rows_to_look_at(const Dataset& set, std::size_t most = 3);

std::string row_title(const Dataset& set, std::size_t number);

std::vector<MarkedPart> shortened(std::vector<MarkedPart> parts, std::size_t most);

namespace detail::dataset {

// Lines for a terminal: the summary, the histogram with bars, the worst rows. `parts_of` marks an example; where it is
// empty (ids without a tokeniser) rows are named and not shown.
std::vector<std::string> proof_lines(const Dataset& set, std::size_t most,
                                     const std::function<std::vector<MarkedPart>(const Example&)>& parts_of);

}  // namespace detail::dataset

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/text/dataset/proof.ipp"
#endif
