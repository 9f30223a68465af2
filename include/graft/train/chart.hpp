#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/train/progress.hpp"

// Curves as inline SVG, for report.hpp: axes, round ticks, at most a few hundred points a curve.
//
//   svg(Chart)         an <svg> element; colours are names of CSS variables of the page
//   svg(Bars)          the same for counts: a bar each, its name below and its count above
//   ticks(low, high)   round numbers in [low, high], about five
//   html_text(text)    escaped for HTML
//
// Points that are not finite are left out. Throws: nothing.
namespace graft::detail {

struct Curve {
    const char* colour = "--loss";
    std::vector<std::pair<double, double>> points;
    bool dots = false;    // each point a dot: few and far between
    bool smooth = false;  // the points thin, a running mean over them thick
};

struct Chart {
    const char* label = "";
    std::vector<Curve> curves = {};
    double width = 900, height = 300;
    bool from_zero = false;
};

struct Bars {
    const char* label = "";
    std::vector<std::pair<std::string, std::int64_t>> counts = {};  // name and count, none negative
    double width = 900, height = 190;
};

std::string html_text(std::string_view text);

// Four significant digits.
std::string short_number(double value);

std::vector<double> ticks(double low, double high);

std::string svg(const Chart& chart);

std::string svg(const Bars& bars);

}  // namespace graft::detail

#if GRAFT_HEADER_ONLY
#include "graft/train/chart.ipp"
#endif
