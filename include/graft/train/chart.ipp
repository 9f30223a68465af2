#pragma once
#include "graft/train/chart.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft::detail {

GRAFT_INLINE std::string html_text(std::string_view text)
{
    std::string out;
    out.reserve(text.size() + text.size() / 16);
    for (std::size_t i = 0; i < text.size();) {
        const auto lead = static_cast<unsigned char>(text[i]);
        if (lead < 0x80) {
            switch (char(lead)) {
            case '&': out += "&amp;"; break;
            case '<': out += "&lt;"; break;
            case '>': out += "&gt;"; break;
            case '"': out += "&quot;"; break;
            case '\'': out += "&#39;"; break;
            default:
                out += (lead >= 0x20 && lead != 0x7F) || lead == '\n' || lead == '\t' ? std::string(1, char(lead))
                                                                                      : "\xef\xbf\xbd";
            }
            ++i;
            continue;
        }
        const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
        bool whole = lead >= 0xC2 && lead < 0xF5 && i + length <= text.size();
        for (std::size_t k = 1; whole && k < length; ++k) { whole = (text[i + k] & 0xC0) == 0x80; }
        if (whole) {
            const auto second = static_cast<unsigned char>(text[i + 1]);
            whole = !(lead == 0xE0 && second < 0xA0) && !(lead == 0xED && second > 0x9F)
                    && !(lead == 0xF0 && second < 0x90) && !(lead == 0xF4 && second > 0x8F)
                    && !(lead == 0xC2 && second < 0xA0);  // the last: control characters
        }
        out += whole ? text.substr(i, length) : std::string_view("\xef\xbf\xbd");
        i += whole ? length : 1;
    }
    return out;
}

GRAFT_INLINE std::string short_number(double value)
{
    char text[32];
    std::snprintf(text, sizeof text, std::abs(value) >= 1e4 && std::abs(value) < 1e9 ? "%.0f" : "%.4g", value);
    return text;
}

GRAFT_INLINE std::vector<double> ticks(double low, double high)
{
    std::vector<double> out;
    if (!(high > low) || !std::isfinite(high - low)) { return {low}; }
    const double rough = (high - low) / 5, power = std::pow(10.0, std::floor(std::log10(rough)));
    const double step = power * (rough / power < 1.5 ? 1 : rough / power < 3.5 ? 2 : rough / power < 7.5 ? 5 : 10);
    if (!(step > 0) || low + step == low) { return {low}; }
    for (double k = std::ceil(low / step - 1e-9); k * step <= high + step * 1e-9 && out.size() < 20; ++k) {
        out.push_back(k * step == 0 ? 0.0 : k * step);
    }
    return out;
}

// Several points in one pixel become their mean.
inline std::vector<std::pair<double, double>> thinned(const std::vector<std::pair<double, double>>& points,
                                                      std::size_t most)
{
    std::vector<std::pair<double, double>> finite, out;
    for (const auto& p : points) {
        if (std::isfinite(p.first) && std::isfinite(p.second)) { finite.push_back(p); }
    }
    if (finite.size() <= most) { return finite; }
    for (std::size_t k = 0; k < most; ++k) {
        const std::size_t begin = k * finite.size() / most, end = (k + 1) * finite.size() / most;
        double x = 0, y = 0;
        for (auto i = begin; i < end; ++i) { x += finite[i].first, y += finite[i].second; }
        out.emplace_back(x / double(end - begin), y / double(end - begin));
    }
    return out;
}

inline std::string coordinate(double value)
{
    char text[32];
    std::snprintf(text, sizeof text, "%.1f", value);
    return text;
}

inline std::string svg_head(double width, double height, const char* label)
{
    return "<svg viewBox=\"0 0 " + coordinate(width) + " " + coordinate(height) + "\" role=\"img\" aria-label=\""
           + html_text(label) + "\">\n";
}

GRAFT_INLINE std::string svg(const Chart& chart)
{
    constexpr std::size_t most = 600;
    constexpr double left = 62, right = 16, top = 10, bottom = 34;
    const double infinity = std::numeric_limits<double>::infinity();
    double x0 = infinity, x1 = -infinity, y0 = infinity, y1 = -infinity;
    std::vector<std::vector<std::pair<double, double>>> lines;
    for (const auto& curve : chart.curves) {
        lines.push_back(thinned(curve.points, most));
        for (const auto& [x, y] : lines.back()) {
            x0 = std::min(x0, x), x1 = std::max(x1, x), y0 = std::min(y0, y), y1 = std::max(y1, y);
        }
    }
    if (!(x0 <= x1)) { return "<p class=\"key\">nothing was measured</p>\n"; }
    if (chart.from_zero) { y0 = std::min(y0, 0.0); }
    // One value alone gets room around it.
    const double margin = y1 > y0 ? 0.04 * (y1 - y0) : std::max(1e-12, 0.1 * std::abs(y0));
    y1 += margin, y0 -= chart.from_zero ? 0.0 : margin;
    if (!(x1 > x0)) { x0 -= 0.5, x1 += 0.5; }

    const auto px = [&](double x) { return left + (x - x0) / (x1 - x0) * (chart.width - left - right); };
    const auto py = [&](double y) { return top + (y1 - y) / (y1 - y0) * (chart.height - top - bottom); };
    const auto n = coordinate;

    std::string out = svg_head(chart.width, chart.height, chart.label);
    for (const double y : ticks(y0, y1)) {
        out += "<line class=\"grid\" x1=\"" + n(left) + "\" x2=\"" + n(chart.width - right) + "\" y1=\"" + n(py(y))
               + "\" y2=\"" + n(py(y)) + "\"/><text text-anchor=\"end\" x=\"" + n(left - 8) + "\" y=\"" + n(py(y) + 4)
               + "\">" + short_number(y) + "</text>\n";
    }
    for (const double x : ticks(x0, x1)) {
        if (x != std::floor(x)) { continue; }  // steps are whole
        out += "<text text-anchor=\"middle\" x=\"" + n(px(x)) + "\" y=\"" + n(chart.height - 12) + "\">"
               + short_number(x) + "</text>\n";
    }
    out += "<text text-anchor=\"end\" x=\"" + n(chart.width - right) + "\" y=\"" + n(chart.height - 1)
           + "\">step</text>\n";
    const auto path = [&](const auto& points, const char* kind, const char* colour) {
        out += "<polyline class=\"" + std::string(kind) + "\" stroke=\"var(" + colour + ")\" points=\"";
        for (const auto& [x, y] : points) { out += n(px(x)) + "," + n(py(y)) + " "; }
        out += "\"/>\n";
    };
    for (std::size_t c = 0; c < lines.size(); ++c) {
        const auto& curve = chart.curves[c];
        const auto& points = lines[c];
        if (points.empty()) { continue; }
        const bool smooth = curve.smooth && points.size() >= 8;
        path(points, smooth ? "faint" : "curve", curve.colour);
        if (smooth) {
            const auto half = std::ptrdiff_t(std::max<std::size_t>(1, points.size() / 25));
            auto mean = points;
            for (std::ptrdiff_t i = 0; i < std::ptrdiff_t(points.size()); ++i) {
                // The window shrinks at the ends, evenly, so that they are not pulled inwards.
                const auto reach = std::min({half, i, std::ptrdiff_t(points.size()) - 1 - i});
                double sum = 0;
                for (auto k = i - reach; k <= i + reach; ++k) { sum += points[std::size_t(k)].second; }
                mean[std::size_t(i)].second = sum / double(2 * reach + 1);
            }
            path(mean, "curve", curve.colour);
        }
        if (curve.dots || points.size() == 1) {
            for (const auto& [x, y] : points) {
                out += "<circle fill=\"var(" + std::string(curve.colour) + ")\" r=\"3.5\" cx=\"" + n(px(x)) + "\" cy=\""
                       + n(py(y)) + "\"/>\n";
            }
        }
    }
    return out + "</svg>\n";
}

GRAFT_INLINE std::string svg(const Bars& bars)
{
    constexpr double top = 22, bottom = 26;
    if (bars.counts.empty()) { return "<p class=\"key\">nothing was counted</p>\n"; }
    std::int64_t largest = 1;
    for (const auto& [name, count] : bars.counts) { largest = std::max(largest, count); }
    const auto n = coordinate;
    std::string out = svg_head(bars.width, bars.height, bars.label);
    const double slot = bars.width / double(bars.counts.size()), floor = bars.height - bottom;
    double x = 0;
    for (const auto& [name, count] : bars.counts) {
        const double share = double(count) / double(largest) * (floor - top), middle = x + slot / 2;
        const double height = count > 0 ? std::max(1.0, share) : 0.0;  // what is there is seen
        const auto text = [&](double y, const std::string& what) {
            out += "<text text-anchor=\"middle\" x=\"" + n(middle) + "\" y=\"" + n(y) + "\">" + html_text(what)
                   + "</text>\n";
        };
        out += "<rect class=\"bar\" x=\"" + n(x + slot * 0.1) + "\" y=\"" + n(floor - height) + "\" width=\""
               + n(slot * 0.8) + "\" height=\"" + n(height) + "\"/>\n";
        text(floor - height - 6, std::to_string(count));
        text(bars.height - 8, name);
        x += slot;
    }
    out += "<line class=\"grid\" x1=\"0\" x2=\"" + n(bars.width) + "\" y1=\"" + n(floor) + "\" y2=\"" + n(floor)
           + "\"/>\n";
    return out + "</svg>\n";
}

}  // namespace graft::detail
