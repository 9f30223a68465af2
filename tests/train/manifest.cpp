#include "../files.hpp"

#include "graft/io/sealed_json.hpp"
#include "graft/train/manifest.hpp"

// run.json there and back.
using namespace graft_test;

namespace {

graft::RunManifest some_run()
{
    graft::RunManifest run;
    run.target = "avx2";
    run.options = {{"data", "b.jsonl,a.jsonl"}, {"lr", "5e-3"}, {"no-shuffle", "true"}};
    run.settings = {{"model", "sha256 ab (m)", "ab"}, {"lr", "0.005"}};
    run.changed = {"lr after step 4"};
    run.steps = 6, run.planned = 9, run.rows = 5, run.least = 1, run.most = 2, run.order = "0f";
    run.declared = 14, run.trained = 7, run.without_gradient = 7, run.frozen = 3;
    run.before = "12", run.after = "34", run.probe_before = 0.1, run.probe_after = 1.0 / 3, run.first_loss = 2.5;
    run.last_loss = 1e-300, run.metrics = "56", run.earlier = "78";
    run.files = {{"adapter_config.json", {12, "9a"}}};
    return run;
}

}  // namespace

TEST_CASE("manifest: every field comes back")
{
    const TempFolder temp;
    CHECK(!graft::has_manifest(temp.path()));
    CHECK_THROWS_WITH_AS(graft::read_manifest(temp.path()), doctest::Contains("there is no run.json"), graft::Error);
    const auto was = some_run();
    const auto hash = graft::write_manifest(temp.path(), was);
    const auto back = graft::read_manifest(temp.path());
    CHECK(graft::has_manifest(temp.path()));
    CHECK(back.sha256 == hash);
    const auto& run = back.run;
    CHECK((run.graft == was.graft && run.target == was.target && run.options == was.options));
    CHECK(graft::setting_changes(run.settings, was.settings).empty());
    CHECK(graft::hash_of(run.settings, "model") == "ab");
    CHECK(graft::hash_of(run.settings, "lr") == "");
    CHECK((run.changed == was.changed && run.steps == was.steps && run.planned == was.planned));
    CHECK((run.rows == was.rows && run.least == was.least && run.most == was.most && run.order == was.order));
    CHECK((run.declared == was.declared && run.trained == was.trained && run.frozen == was.frozen));
    CHECK((run.without_gradient == was.without_gradient && run.before == was.before && run.after == was.after));
    CHECK((run.probe_before == was.probe_before && run.probe_after == was.probe_after));
    CHECK((run.first_loss == was.first_loss && run.last_loss == was.last_loss && run.metrics == was.metrics));
    CHECK((run.earlier == was.earlier && run.files == was.files));
    // The same run gives the same bytes.
    const auto text = read_text(temp / "run.json");
    CHECK(graft::write_manifest(temp.path(), run) == hash);
    CHECK(read_text(temp / "run.json") == text);
}

TEST_CASE("manifest: a field that is missing or of another kind is named; another format is refused")
{
    const TempFolder temp;
    graft::write_manifest(temp.path(), some_run());
    const auto whole = graft::read_sealed(temp / "run.json").json;
    for (const auto& entry : whole.items()) {
        const std::string field = entry.key();
        if (field == "sha256" || field == "changed" || field == "earlier") { continue; }  // may be absent
        CAPTURE(field);
        auto json = whole;
        json.erase("sha256");
        json.erase(field);
        graft::write_sealed(temp / "run.json", json);
        CHECK_THROWS_WITH_AS(graft::read_manifest(temp.path()), doctest::Contains(field.c_str()), graft::Error);
        json[field] = field == "format" ? graft::OrderedJson(3) : graft::OrderedJson(true);
        graft::write_sealed(temp / "run.json", json);
        CHECK_THROWS_WITH_AS(graft::read_manifest(temp.path()), doctest::Contains("run.json"), graft::Error);
    }
}

TEST_CASE("manifest: the hash of metrics knows losses, not times and memory")
{
    std::vector<graft::StepMetrics> steps{{.step = 0, .loss = 2}, {.step = 1, .loss = 1}};
    const auto hash = graft::metrics_hash(steps);
    steps[1].seconds = 3, steps[0].peak_bytes = 4;
    CHECK(graft::metrics_hash(steps) == hash);
    steps[1].loss = std::nextafter(1.0, 2.0);
    CHECK(graft::metrics_hash(steps) != hash);
    steps.pop_back();
    CHECK(graft::metrics_hash(steps) != hash);
}
