#include <doctest/doctest.h>

#include <limits>
#include <string>

#include <nlohmann/json.hpp>

#include "graft/train/chart.hpp"
#include "graft/train/metrics.hpp"
#include "graft/train/progress.hpp"
#include "graft/train/report.hpp"

namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }
int count(const std::string& text, const std::string& part)
{
    int found = 0;
    for (auto at = text.find(part); at != text.npos; at = text.find(part, at + part.size())) { ++found; }
    return found;
}

graft::Report full_report()
{
    graft::Report report{.title = "stories <260K> & co"};
    for (int i = 0; i < 2000; ++i) {
        graft::StepMetrics step{.step = i,
                                .loss = 3.0 / (1 + 0.01 * i),
                                .lr = 2e-4 * (1 - i / 2000.0),
                                .grad_norm = 1.0,
                                .tokens = 1000 * (i + 1),
                                .targets = 100,
                                .seconds = 0.5 * (i + 1),
                                .peak_bytes = 50 << 20};
        if (i % 250 == 249) { step.eval_loss = step.loss + 0.2; }
        report.steps.push_back(step);
    }
    report.settings = {{"--method", "lora"}, {"--model", "a\"b<script>alert(1)</script>"}};
    report.audit = "part        tensors\nq_proj  <5>";
    report.data = {"8 rows of messages", "fields not used: <img src=x onerror=alert(1)>"};
    report.trained_share = 0.25;
    report.first_row = {{"<|user|>hi", false}, {"hello</s>", true}};
    report.samples = {{"Once", "Once upon & a time", "Once\xff more\x1b[2J"}};
    return report;
}

}  // namespace

TEST_CASE("metrics: one line of JSON with the named keys, numbers exact")
{
    graft::StepMetrics m{.step = 3,
                         .loss = 0.1 + 0.2,
                         .lr = 2e-4,
                         .grad_norm = 1.0 / 3,
                         .tokens = 12345678901,
                         .targets = 7,
                         .seconds = 1.5,
                         .peak_bytes = 1 << 30};
    const auto line = graft::metrics_line(m);
    CHECK(line
          == "{\"step\": 3, \"loss\": 0.30000000000000004, \"lr\": 2e-04, \"grad_norm\": 0.3333333333333333, "
             "\"tokens\": 12345678901, \"targets\": 7, \"seconds\": 1.5, \"peak_bytes\": 1073741824}");
    const auto json = nlohmann::json::parse(line);
    CHECK(json["loss"].get<double>() == 0.1 + 0.2);
    CHECK(!json.contains("eval_loss"));
    m.eval_loss = 2.5;
    m.loss = std::numeric_limits<double>::quiet_NaN();
    m.grad_norm = std::numeric_limits<double>::infinity();
    const auto with = nlohmann::json::parse(graft::metrics_line(m));
    CHECK(with["eval_loss"] == 2.5);
    CHECK(with["loss"].is_null());
    CHECK(with["grad_norm"].is_null());
    CHECK(!with.contains("rewards_chosen"));
    m.preference = {0.5, -0.25, 0.75, 1, -12.5, -30};
    const auto pairs = nlohmann::json::parse(graft::metrics_line(m));
    const std::pair<const char*, double> want[] = {{"rewards_chosen", 0.5}, {"rewards_rejected", -0.25},
                                                   {"margin", 0.75},        {"accuracy", 1},
                                                   {"logps_chosen", -12.5}, {"logps_rejected", -30}};
    for (const auto& [name, value] : want) { CHECK(pairs.at(name) == value); }
    m.loss = 5e-324;
    CHECK(nlohmann::json::parse(graft::metrics_line(m))["loss"].get<double>() == 5e-324);
}

TEST_CASE("progress: a line for people")
{
    graft::StepMetrics m{.step = 11,
                         .loss = 2.34567,
                         .lr = 1.96e-4,
                         .grad_norm = 1,
                         .tokens = 1200,
                         .targets = 7,
                         .seconds = 12,
                         .peak_bytes = std::int64_t(34.1 * 1024 * 1024)};
    CHECK(graft::progress_line(m, 100) == "step 12/100  loss 2.3457  lr 1.96e-04  100 tok/s  34.1 MiB  1:28 left");
    m.eval_loss = 2.5;
    CHECK(graft::progress_line(m, 24, {.bar = 10})
          == "[#####.....] step 12/24  loss 2.3457  lr 1.96e-04  100 tok/s  34.1 MiB  0:12 left  eval 2.5000");
    m.eval_loss.reset(), m.preference = {.margin = 0.21349, .accuracy = 0.75};
    CHECK(graft::progress_line(m, 100)
          == "step 12/100  loss 2.3457  lr 1.96e-04  100 tok/s  34.1 MiB  1:28 left  accuracy 0.75  margin 0.213");
    CHECK(has(graft::progress_line({}, 0, {.bar = 4}), "[####] step 1/0"));
    CHECK(graft::bytes_text(0) == "0 B");
    CHECK(graft::bytes_text(1023) == "1023 B");
    CHECK(graft::bytes_text(std::int64_t{5} << 40) == "5.0 TiB");
    CHECK(graft::duration_text(3599.4) == "59:59");
    CHECK(graft::duration_text(3599.6) == "1:00:00");
    CHECK(graft::duration_text(2 * 86400 + 3 * 3600 + 245) == "2 d 3:04:05");
    CHECK(graft::duration_text(-1) == "?");
    CHECK(graft::duration_text(std::numeric_limits<double>::quiet_NaN()) == "?");
}

TEST_CASE("report: one page by itself, every text escaped")
{
    const auto html = graft::report_html(full_report());
    CHECK(has(html, "<title>stories &lt;260K&gt; &amp; co</title>"));
    CHECK(!has(html, "<script"));
    CHECK(!has(html, "<img"));
    CHECK(!has(html, "http://"));
    CHECK(!has(html, "https://"));
    CHECK(!has(html, "<link"));
    CHECK(!has(html, "url("));
    CHECK(has(html, "a&quot;b&lt;script&gt;"));
    CHECK(has(html, "&lt;|user|&gt;hi<mark>hello&lt;/s&gt;</mark>"));
    CHECK(has(html, "25 % of the tokens are learnt"));
    CHECK(has(html, "Once\xef\xbf\xbd more\xef\xbf\xbd[2J"));
    CHECK(count(html, "<svg") == 2);
    CHECK(count(html, "<circle") == 8);  // evaluations
    CHECK(html.size() < 80000);          // long runs are thinned
    for (const char* tag :
         {"section", "svg", "div", "table", "pre", "p", "h2", "h3", "ul", "li", "tr", "td", "main", "body", "html"}) {
        const std::string name = tag;
        CHECK(count(html, "<" + name + ">") + count(html, "<" + name + " ") == count(html, "</" + name + ">"));
    }
}

TEST_CASE("report: the proof of masks: histogram of targets and the rows to look at")
{
    graft::Report report;
    report.targets_a_row = {{"0", 3}, {"1-<b>", 0}, {"16-31", 12}};
    report.worst_rows = {{"a&b row 7: 1 target", {{"<|user|>hi", false}, {"<i>yo</i>", true}}}, {"ids row 8", {}}};
    const auto html = graft::report_html(report);
    CHECK(count(html, "<svg") == 1);
    CHECK(count(html, "<rect class=\"bar\"") == 3);
    CHECK(has(html, ">16-31</text>"));
    CHECK(has(html, ">12</text>"));
    CHECK(has(html, ">1-&lt;b&gt;</text>"));
    CHECK(has(html, "height=\"0.0\""));  // a bucket that is empty has no bar
    CHECK(has(html, "To look at: a&amp;b row 7: 1 target</h3>"));
    CHECK(has(html, "&lt;|user|&gt;hi<mark>&lt;i&gt;yo&lt;/i&gt;</mark>"));
    CHECK(has(html, "ids row 8</h3>"));
    CHECK(count(html, "<pre>") == 1);
    CHECK(has(graft::detail::svg(graft::detail::Bars{}), "nothing was counted"));
    for (const char* tag : {"section", "svg", "text", "h3", "pre"}) {
        const std::string name = tag;
        CHECK(count(html, "<" + name + ">") + count(html, "<" + name + " ") == count(html, "</" + name + ">"));
    }
}

TEST_CASE("report: nothing measured, one step, numbers that are not finite")
{
    const auto nothing = graft::report_html({});
    CHECK(has(nothing, "<h1>graft run</h1>"));
    CHECK(!has(nothing, "<section>"));
    graft::Report one;
    one.steps.push_back({.step = 0, .loss = 2, .lr = 0});
    CHECK(count(graft::report_html(one), "<circle") == 2);
    one.steps.push_back(
        {.step = 1, .loss = std::numeric_limits<double>::quiet_NaN(), .lr = std::numeric_limits<double>::infinity()});
    const auto html = graft::report_html(one);
    CHECK(!has(html, "nan,"));
    CHECK(!has(html, ",nan"));
    CHECK(!has(html, "inf,"));
    one.steps = {{.step = 0, .loss = std::numeric_limits<double>::quiet_NaN()}};
    CHECK(has(graft::report_html(one), "nothing was measured"));
}

TEST_CASE("report: ticks are round and inside")
{
    using graft::detail::ticks;
    CHECK(ticks(0, 10) == std::vector<double>{0, 2, 4, 6, 8, 10});
    CHECK(ticks(0, 1).front() == 0);
    CHECK(ticks(5, 5) == std::vector<double>{5});
    for (const double low : {-3.7, 0.0, 1e-9, 12345.0}) {
        for (const double width : {1e-6, 0.3, 7.0, 1e6}) {
            const auto found = ticks(low, low + width);
            CHECK(found.size() <= 11);
            CHECK(found.size() >= 3);
            for (double t : found) { CHECK((t >= low - width * 1e-6 && t <= low + width * (1 + 1e-6))); }
        }
    }
}
