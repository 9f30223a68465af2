#include "finetune_support.hpp"

#include <set>

// Numbers that no option takes: every numeric option of every program, as --help lists them.
using namespace graft_test;

namespace {

struct Numeric {
    std::string program, option;
    bool whole = false;
};

// The options of a program whose values are numbers. A new one is among them by the type that CLI11 shows for it.
std::vector<Numeric> numeric_options(const std::string& program)
{
    std::vector<Numeric> out;
    std::istringstream help(run(program, {"--help"}).out);
    for (std::string line; std::getline(help, line);) {
        std::istringstream words(line);
        std::string option, type;
        words >> option >> type;
        type = type.substr(0, type.find_first_of(":="));
        const bool whole = type == "INT" || type == "UINT";
        if (option.starts_with("--") && (whole || type == "FLOAT")) { out.push_back({program, option, whole}); }
    }
    return out;
}

const std::vector<std::string> programs{"finetune", "generate", "merge", "grow", "inspect"};

// One line, which names the option and the value, and is short.
void check_named(const Ended& ended, const Numeric& option, const std::string& value)
{
    CAPTURE(option.program);
    CAPTURE(value);
    check_refused(ended, {option.option + ": " + (value.empty() ? "an empty text" : value) + " is not a "});
    CHECK(ended.err.size() < 160);
    CHECK(ended.out.empty());
}

}  // namespace

TEST_CASE("nan, infinity and other texts are refused by every numeric option of every program")
{
    std::map<std::string, std::size_t> found;
    for (const auto& program : programs) {
        if (!built(program)) { return; }
        for (const auto& option : numeric_options(program)) {
            ++found[program];
            for (const std::string value : {"nan", "NaN", "-nan", "nan(0x7)", "inf", "-inf", "Infinity", "1e999",
                                            "-1e999", "0x1p3", "0x10", "abc", "3 4", "1,5", "+-3", "--5"}) {
                if (value == "1,5" && option.option == "--train-tokens") { continue; }  // two of them
                check_named(run(program, {option.option + "=" + value}), option, value);
            }
            if (option.whole) {
                for (const std::string value : {"1.5", "1e3", "99999999999999999999999", "-99999999999999999999"}) {
                    check_named(run(program, {option.option + "=" + value}), option, value);
                }
            }
            check_named(run(program, {option.option, "nan"}), option, "nan");
            check_named(run(program, {option.option, ""}), option, "");
        }
    }
    CHECK(found["finetune"] >= 24);
    CHECK(found["generate"] >= 5);
    CHECK(found["merge"] >= 2);
    CHECK(found["grow"] >= 1);
    CHECK(found["inspect"] >= 6);
}

TEST_CASE("nan and infinity in the file of --config are refused as on the command line")
{
    if (!built("finetune")) { return; }
    const TempFolder temp;
    for (const auto& option : numeric_options("finetune")) {
        for (const std::string value : {"nan", "-inf", "1e999", "0x10"}) {
            for (const bool quoted : {false, true}) {
                const std::string mark = quoted ? "\"" : "";
                write_text(temp / "run.toml", option.option.substr(2) + " = " + mark + value + mark + "\n");
                check_named(run("finetune", {"--config", (temp / "run.toml").string()}), option, value);
            }
        }
    }
}

TEST_CASE("values that nobody can mean are refused, with the bound")
{
    if (!ready()) { return; }
    const Place place;
    const auto refused = [&](const Arguments& options, const std::vector<std::string>& words) {
        const auto before = contents(place.temp.path());
        check_refused(run("finetune", place.with(options)), words);
        CHECK((contents(place.temp.path()) == before));
    };
    refused({"--lr=-1"}, {"--lr: -1 is not a number of at least 0"});
    refused({"--rank", "0"}, {"--rank: 0 is not a whole number from 1 to 65536"});
    refused({"--alpha", "0"}, {"--alpha: 0 is not a number above 0"});
    refused({"--embedding-lr", "0"}, {"--embedding-lr", "above 0"});
    refused({"--dropout", "1"}, {"--dropout: 1 is not a number of at least 0 and below 1"});
    refused({"--max-length", "1"}, {"--max-length: 1 is not a whole number from 2"});
    refused({"--batch", "9223372036854775807"}, {"--batch", "from 1 to 1000000"});
    refused({"--accumulate", "0"}, {"--accumulate", "from 1"});
    refused({"--epochs", "1e300"}, {"--epochs", "to 1000000"});
    refused({"--steps", "4294967296"}, {"--steps", "4294967295"});
    refused({"--threads", "100000"}, {"--threads", "from 1 to 1024"});
    refused({"--save-every", "0"}, {"--save-every", "at least 1"});
    refused({"--memory-limit", "0"}, {"--memory-limit: 0 is not a size above 0, such as 900M or 8G"});
    refused({"--memory-limit", "nan"}, {"--memory-limit: nan is not a size"});
    refused({"--memory-limit", "8Q"}, {"--memory-limit: 8Q is not a size"});
    refused({"--memory-limit", "99999999999G"}, {"--memory-limit: 99999999999G is not a size"});
    refused({"--task", "dpo", "--beta", "0"}, {"--beta: 0 is not a number above 0"});
    refused({"--task", "dpo", "--label-smoothing", "0.5"}, {"--label-smoothing", "at least 0 and below 0.5"});
    refused({"--warmup", "1.5"}, {"--warmup 1.5", "whole", "share"});
    refused({"--weight-decay", "6000"}, {"--weight-decay 6000", "-0.2"});
    refused({"--rope-scaling", "linear:nan"}, {"--rope-scaling", "nan"});
    refused({"--rope-scaling", "yarn:inf"}, {"--rope-scaling", "inf"});
    std::string many;
    for (int row = 0; row < 4300; ++row) { many += "{\"input_ids\": [1, 2], \"labels\": [1, 2]}\n"; }
    write_text(place.temp / "rows.jsonl", many);
    refused({"--epochs", "1000000", "--batch", "1"}, {"--epochs 1", "4,300,000,000 steps", "4,294,967,295"});
    if (!built("generate")) { return; }
    const Arguments ask{"--model", small_model(), "--prompt", "a", "--max-tokens", "1"};
    check_refused(run("generate", joined(ask, {"--temperature", "1000"})), {"--temperature", "from 0 to 100"});
    check_refused(run("generate", joined(ask, {"--top-p", "1.5"})), {"--top-p", "from 0 to 1"});
}

TEST_CASE("what is probably a mistake is a line of the run, and of its plan; a usual run has none")
{
    if (!ready()) { return; }
    const Place place;
    struct Doubt {
        Arguments options;
        std::string line;
    };
    const std::vector<Doubt> doubts{
        {{"--steps", "2", "--warmup", "10", "--lr", "0.01"},
         "note: --warmup 10 is longer than the run of 2 steps: the rate ends at 0.001 and never reaches --lr 0.01\n"},
        {{"--steps", "2", "--warmup", "0.9"}, "note: --warmup 0.9 is as long as the run of 2 steps"},
        {{"--steps", "1", "--lr", "10"}, "note: --lr 10 moves every value"},
        {{"--steps", "1", "--lr", "0"}, "note: --lr 0 trains nothing"},
        {{"--epochs", "0"}, "note: 0 steps: nothing is trained"},
        {{"--steps", "1", "--batch", "8"}, "note: --batch 8 is more than the 3 rows of the data"},
        {{"--steps", "1", "--batch", "2", "--accumulate", "3"}, "note: --accumulate 3 is more than the 2 batches"},
        {{"--steps", "1", "--rank", "65", "--target", "q_proj"},
         "note: --rank 65 is more than model.layers.0.self_attn.q_proj has room for: 64 can"},
        {{"--steps", "1", "--alpha", "10000"}, "note: --alpha 10000 at rank 16 multiplies the adapter by 625"},
        {{"--steps", "1", "--dropout", "0.99"}, "note: --dropout 0.99 hides"},
        {{"--steps", "1", "--eval-every", "5"}, "note: --eval-every measures nothing without --eval FILE"},
        {{"--steps", "1", "--eval-every", "5", "--eval", (place.temp / "rows.jsonl").string()},
         "note: --eval-every 5 is longer than the run of 1 steps"},
        {{"--steps", "1", "--save-every", "5"}, "note: --save-every 5 is longer than the run"},
        {{"--steps", "1", "--resume", "auto"}, "note: --resume auto without --save-every N"},
    };
    for (const auto& doubt : doubts) {
        CAPTURE(doubt.line);
        const auto ended = run("finetune", place.with(doubt.options));
        CAPTURE(ended.err);
        CHECK(ended.status == 0);
        CHECK(ended.out.find(doubt.line) != std::string::npos);
        CHECK(run("finetune", joined(place.with(doubt.options), {"--plan"})).out.find(doubt.line) != std::string::npos);
        fs::remove_all(place.out());
    }
    const auto usual = run("finetune", place.with({"--steps", "4", "--rank", "8", "--warmup", "2", "--lr", "1e-3"}));
    CHECK(usual.status == 0);
    CHECK(usual.out.find("note: ") == std::string::npos);
    if (!built("generate")) { return; }
    const Arguments ask{"--model", small_model(), "--prompt", "The cat", "--max-tokens", "2"};
    const auto warm = run("generate", joined(ask, {"--temperature", "50"}));
    CHECK(warm.err.find("--temperature 50 draws") != std::string::npos);
    CHECK(run("generate", joined(ask, {"--top-p", "0.5"})).err.find("--top-p changes nothing") != std::string::npos);
    CHECK(run("generate", joined(ask, {"--temperature", "1", "--top-p", "0.5"})).err.empty());
}

TEST_CASE("numbers are read in decimal: a leading zero is no octal, a sign is allowed, sizes in powers of 1024")
{
    if (!ready()) { return; }
    const Place place;
    const auto ended = run("finetune", place.with({"--rank", "010", "--steps", "+1", "--lr", "+1.5e-3"}));
    CAPTURE(ended.err);
    REQUIRE(ended.status == 0);
    CHECK(nlohmann::json::parse(read_text(place.out() + "/adapter_config.json")).at("r") == 10);
    CHECK(json_lines(place.out() + "/metrics.jsonl").size() == 1);
    check_refused(run("finetune", place.with({"--memory-limit", "010k", "--overwrite"})), {"--memory-limit 0.01 MiB"});
    CHECK(run("finetune", place.with({"--memory-limit", "8 GiB", "--overwrite"})).status == 0);
    CHECK(run("finetune", place.with({"--memory-limit", "8gb", "--overwrite"})).status == 0);
}
