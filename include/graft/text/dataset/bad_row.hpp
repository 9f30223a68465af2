#pragma once
#include <exception>
#include <string>
#include <utility>

// What is wrong with one row. It is thrown while the row is understood and ends that row alone: load.hpp counts it.
//
//   BadRow    a value of the row: the reason, the same words for every row that has it, and where in the row it lies
//   BadForm   its fields: a whole file of such rows ends the run, a lone one among others is dropped
namespace graft::detail::dataset {

struct BadRow : std::exception {
    std::string reason, where;
    BadRow(std::string why, std::string here) : reason(std::move(why)), where(std::move(here)) {}
    const char* what() const noexcept override { return reason.c_str(); }
};

struct BadForm : std::exception {
    std::string reason;
    bool of_row = true;    // the sentence goes on from "row 3"
    bool unknown = false;  // no known form at all
    explicit BadForm(std::string why) : reason(std::move(why)) {}
    const char* what() const noexcept override { return reason.c_str(); }
};

// why() gives the reason; where the place inside the row, where one can be named.
template <class Why> void row_requires(bool holds, Why&& why, const std::string& where = {})
{
    if (!holds) { throw BadRow(why(), where); }
}

}  // namespace graft::detail::dataset
