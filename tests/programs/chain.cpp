#include "programs_support.hpp"

#include "graft/train/manifest.hpp"

// examples/chain.sh: continued pre-training, then answers, then preferences, with one adapter.
using namespace graft_test;

TEST_CASE("chain: each stage goes on from the one before, its loss falls, and the fingerprints are linked")
{
    if (!built("finetune") || !built("inspect")) { return; }
    const TempFolder temp;
    const std::string out = (temp / "chain").string();
    const std::string command = std::string(GRAFT_EXAMPLES_DIR) + "/chain.sh " + GRAFT_BIN_DIR + " " + out + " >"
                                + (temp / "log").string() + " 2>&1";
    ::setenv("GRAFT_THREADS", "1", 1);
    const int status = std::system(command.c_str());
    const auto log = read_text(temp / "log");
    CAPTURE(log);
    REQUIRE(status == 0);
    CHECK(log.find("WRONG") == std::string::npos);

    std::string earlier, tensors;
    for (const char* name : {"1-pretraining", "2-answers", "3-preference"}) {
        CAPTURE(name);
        const auto found = graft::read_manifest(fs::path(out) / name);
        const auto& run = found.run;
        CHECK(run.earlier == earlier);
        if (!tensors.empty()) { CHECK(run.before == tensors); }
        CHECK((run.declared == 70 && run.trained == 70 && run.frozen == 47));
        CHECK(run.last_loss < run.first_loss);
        CHECK(run.least == run.most);
        earlier = found.sha256, tensors = run.after;
    }
    const auto steps = json_lines(fs::path(out) / "3-preference/metrics.jsonl");
    CHECK(steps.front().at("loss").get<double>() == doctest::Approx(std::log(2.0)).epsilon(1e-4));
    CHECK(steps.back().at("margin").get<double>() > 0.1);
    CHECK(steps.back().at("accuracy").get<double>() >= 0.75);
}
