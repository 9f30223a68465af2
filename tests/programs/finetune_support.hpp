#pragma once
#include "programs_support.hpp"

// A small run of finetune.
namespace graft_test {

inline constexpr const char* few_rows = R"({"input_ids": [1, 403, 407, 261, 378], "labels": [-100, -100, 407, 261, 378]}
{"input_ids": [1, 310, 439, 419], "labels": [-100, 310, 439, 419]}
{"input_ids": [1, 267, 337, 335, 312, 432], "labels": [-100, -100, -100, -100, 312, 432]}
)";

// A folder with a data file, and the arguments that a run cannot do without.
struct Place {
    TempFolder temp;

    Place() { write_text(temp / "rows.jsonl", few_rows); }
    std::string out() const { return (temp / "out").string(); }
    Arguments with(const Arguments& more, const std::string& model = small_model()) const
    {
        return joined({"--model", model, "--data", (temp / "rows.jsonl").string(), "--output", out(), "--quiet"}, more);
    }
};

// True where there is a program and the model that ships with the examples.
inline bool ready()
{
    if (!built("finetune")) { return false; }
    if (!fs::exists(small_model() + "/model.safetensors")) {
        skip("there is no examples/data/stories260K");
        return false;
    }
    return true;
}

}  // namespace graft_test
