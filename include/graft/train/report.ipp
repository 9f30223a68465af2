#pragma once
#include "graft/train/report.hpp"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/train/chart.hpp"

namespace graft::detail {

inline constexpr std::string_view report_style = R"(
:root { color-scheme: light dark; --ink: #1d2430; --soft: #5c6675; --line: #dde2e9; --page: #f5f7f9; --card: #fff;
  --loss: #2563c9; --eval: #d9480f; --rate: #2b8a3e; --mark: #ffe58a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --soft: #98a3b3; --line: #323a46; --page: #12161c;
  --card: #1a2029; --loss: #74a9ff; --eval: #ff9a5c; --rate: #69db7c; --mark: #6b5510; } }
* { box-sizing: border-box }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.55 system-ui, sans-serif }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 4rem }
h1 { font-size: 1.6rem; margin: 0 0 1.2rem; overflow-wrap: anywhere }
h2 { font-size: 1.05rem; margin: 0 0 .8rem }
h3 { font-size: .8rem; font-weight: 600; color: var(--soft); margin: .9rem 0 .3rem }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1.1rem 1.3rem; margin: 0 0 1.1rem }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: 1rem }
.numbers b { display: block; font-size: 1.3rem; font-variant-numeric: tabular-nums }
.numbers span { color: var(--soft); font-size: .85rem }
table { border-collapse: collapse; width: 100% }
td { padding: .3rem .6rem .3rem 0; border-top: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere }
tr:first-child td { border-top: 0 }
td:first-child { color: var(--soft); width: 14rem }
pre { margin: 0; font: 13px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; white-space: pre-wrap; overflow-wrap: anywhere }
pre.audit { white-space: pre; overflow-x: auto }
mark { background: var(--mark); color: inherit; border-radius: 3px; padding: .05em 0 }
ul { margin: 0; padding-left: 1.1rem }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 1rem }
.key { color: var(--soft); font-size: .85rem; margin: .2rem 0 0 }
.key i { display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin: 0 .35em 0 .9em }
svg { display: block; width: 100%; height: auto }
svg text { fill: var(--soft); font-size: 12px; font-family: inherit }
svg .grid { stroke: var(--line); stroke-width: 1 }
svg .curve { fill: none; stroke-width: 1.8; stroke-linejoin: round }
svg .bar { fill: var(--loss) }
svg .faint { fill: none; stroke-width: 1; opacity: .35 }
)";

inline void report_numbers(std::string& html, const Report& report)
{
    if (report.steps.empty()) { return; }
    const auto& last = report.steps.back();
    const auto tile = [&](const std::string& value, const char* what) {
        html += "<div><b>" + html_text(value) + "</b><span>" + what + "</span></div>\n";
    };
    html += "<section><div class=\"numbers\">\n";
    tile(std::to_string(report.steps.size()), "steps");
    tile(short_number(report.steps.front().loss) + " → " + short_number(last.loss), "loss, first and last step");
    for (auto it = report.steps.rbegin(); it != report.steps.rend(); ++it) {
        if (it->eval_loss) {
            tile(short_number(*it->eval_loss), "evaluation loss, last");
            break;
        }
    }
    tile(std::to_string(last.tokens), "tokens seen");
    if (last.seconds > 0) { tile(short_number(double(last.tokens) / last.seconds), "tokens a second"); }
    tile(bytes_text(last.peak_bytes), "most memory in the pools");
    tile(duration_text(last.seconds), "time");
    html += "</div></section>\n";
}

inline void report_curves(std::string& html, const Report& report)
{
    if (report.steps.empty()) { return; }
    Chart loss{.label = "Loss by step"}, rate{.label = "Learning rate by step"};
    Curve train{.colour = "--loss", .points = {}, .smooth = true}, eval{.colour = "--eval", .points = {}, .dots = true};
    Curve lr{.colour = "--rate", .points = {}};
    for (const auto& step : report.steps) {
        train.points.emplace_back(double(step.step), step.loss);
        if (step.eval_loss) { eval.points.emplace_back(double(step.step), *step.eval_loss); }
        lr.points.emplace_back(double(step.step), step.lr);
    }
    const bool evaluated = !eval.points.empty();
    loss.curves = {std::move(train), std::move(eval)};
    rate.curves = {std::move(lr)}, rate.from_zero = true, rate.height = 190;
    html += "<section><h2>Loss</h2>\n" + svg(loss);
    html += "<p class=\"key\"><i style=\"background: var(--loss); margin-left: 0\"></i>training (thin: each step, "
            "thick: smoothed)";
    if (evaluated) { html += "<i style=\"background: var(--eval)\"></i>evaluation"; }
    html += "</p></section>\n<section><h2>Learning rate</h2>\n" + svg(rate) + "</section>\n";
}

inline void report_preference(std::string& html, const Report& report)
{
    Chart rewards{.label = "Rewards by step"}, accuracy{.label = "Accuracy by step"};
    Curve chosen{.colour = "--rate", .points = {}, .smooth = true};
    Curve right{.colour = "--loss", .points = {}, .smooth = true};
    Curve rejected{.colour = "--eval", .points = {}, .smooth = true};
    for (const auto& step : report.steps) {
        if (!step.preference) { continue; }
        chosen.points.emplace_back(double(step.step), step.preference->rewards_chosen);
        rejected.points.emplace_back(double(step.step), step.preference->rewards_rejected);
        right.points.emplace_back(double(step.step), step.preference->accuracy);
    }
    if (chosen.points.empty()) { return; }
    rewards.curves = {std::move(chosen), std::move(rejected)}, rewards.height = 190;
    accuracy.curves = {std::move(right)}, accuracy.from_zero = true, accuracy.height = 190;
    html += "<section><h2>Rewards</h2>\n" + svg(rewards)
            + "<p class=\"key\"><i style=\"background: var(--rate); margin-left: 0\"></i>chosen"
              "<i style=\"background: var(--eval)\"></i>rejected</p></section>\n"
              "<section><h2>Accuracy: share of pairs whose chosen answer has the higher reward</h2>\n"
            + svg(accuracy) + "</section>\n";
}

GRAFT_INLINE void report_data(std::string& html, const Report& report)
{
    if (report.data.empty() && report.first_row.empty() && report.targets_a_row.empty() && report.worst_rows.empty()) {
        return;
    }
    html += "<section><h2>Data</h2>\n";
    if (report.trained_share >= 0) {
        html += "<p>" + html_text(short_number(100 * report.trained_share)) + " % of the tokens are learnt.</p>\n";
    }
    if (!report.data.empty()) {
        html += "<ul>\n";
        for (const auto& line : report.data) { html += "<li>" + html_text(line) + "</li>\n"; }
        html += "</ul>\n";
    }
    if (!report.targets_a_row.empty()) {
        html += "<h3>Targets a row, and how many rows have so many</h3>\n"
                + svg(Bars{.label = "Rows by number of targets", .counts = report.targets_a_row});
    }
    const auto marked = [&](const std::vector<ReportPart>& parts) {
        if (parts.empty()) { return; }
        html += "<pre>";
        for (const auto& part : parts) {
            html += part.learnt ? "<mark>" + html_text(part.text) + "</mark>" : html_text(part.text);
        }
        html += "</pre>\n";
    };
    if (!report.first_row.empty()) {
        html += "<h3>First row, as the model sees it; <mark>marked: what is learnt</mark></h3>\n";
        marked(report.first_row);
    }
    for (const auto& row : report.worst_rows) {
        html += "<h3>To look at: " + html_text(row.title) + "</h3>\n";
        marked(row.parts);
    }
    html += "</section>\n";
}

inline void report_samples(std::string& html, const Report& report)
{
    if (report.samples.empty()) { return; }
    html += "<section><h2>Samples</h2>\n";
    for (const auto& sample : report.samples) {
        html += "<h3>Prompt</h3>\n<pre>" + html_text(sample.prompt)
                + "</pre>\n<div class=\"two\"><div><h3>Before</h3>\n<pre>" + html_text(sample.before)
                + "</pre></div>\n<div><h3>After</h3>\n<pre>" + html_text(sample.after) + "</pre></div></div>\n";
    }
    if (!report.endless.empty()) { html += "<p>" + html_text(report.endless) + "</p>\n"; }
    html += "</section>\n";
}

}  // namespace graft::detail

namespace graft {

GRAFT_INLINE std::string report_html(const Report& report)
{
    using detail::html_text;
    std::string html = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                       "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                       "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
                       "'unsafe-inline'\">\n<title>"
                       + html_text(report.title) + "</title>\n<style>" + std::string(detail::report_style)
                       + "</style>\n</head>\n<body>\n<main>\n<h1>" + html_text(report.title) + "</h1>\n";
    detail::report_numbers(html, report);
    detail::report_curves(html, report);
    detail::report_preference(html, report);
    detail::report_samples(html, report);
    detail::report_data(html, report);
    if (!report.settings.empty()) {
        html += "<section><h2>Settings</h2>\n<table>\n";
        for (const auto& [name, value] : report.settings) {
            html += "<tr><td>" + html_text(name) + "</td><td>" + html_text(value) + "</td></tr>\n";
        }
        html += "</table></section>\n";
    }
    if (!report.audit.empty()) {
        html += "<section><h2>Audit</h2>\n<pre class=\"audit\">" + html_text(report.audit) + "</pre></section>\n";
    }
    return html + "</main>\n</body>\n</html>\n";
}

}  // namespace graft
