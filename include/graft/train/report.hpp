#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/train/metrics.hpp"

// report.html: a run on one page that needs nothing else: no script, no font, no network.
//
//   report_html(Report)   title, key numbers, curves of loss and rate (and of rewards and accuracy), samples, data
//                         (summary, histogram of targets, first row, rows to look at), settings, audit
//
// Every text is escaped; control characters and bytes that are not UTF-8 become U+FFFD. Light and dark follow the
// reader's settings. Parts that are empty are left out. Throws: nothing.
namespace graft {

struct ReportPart {
    std::string text;
    bool learnt = false;
};

struct ReportRow {
    std::string title;
    std::vector<ReportPart> parts;
};

struct ReportSample {
    std::string prompt, before, after;
};

struct Report {
    std::string title = "graft run";
    std::vector<std::pair<std::string, std::string>> settings = {};  // option and value
    std::vector<StepMetrics> steps = {};
    std::string audit = {};                                                // as it was printed
    std::vector<std::string> data = {};                                    // summary(DataReport)
    double trained_share = -1;                                             // targets / tokens; negative: not known
    std::vector<std::pair<std::string, std::int64_t>> targets_a_row = {};  // histogram: numbers of targets, rows
    std::vector<ReportPart> first_row = {};                                // decoded, in parts that are learnt or not
    std::vector<ReportRow> worst_rows = {};                                // rows to look at, the same
    std::vector<ReportSample> samples = {};                                // text before and after
    std::string endless = {};                                              // why none of them ended (ending.hpp)
};

namespace detail {

void report_data(std::string& html, const Report& report);

}  // namespace detail

std::string report_html(const Report& report);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/train/report.ipp"
#endif
