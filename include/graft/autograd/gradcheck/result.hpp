#pragma once
#include <cstdint>
#include <cstdio>
#include <string>

// What gradcheck (autograd/gradcheck.hpp) is asked, and what it answers.
namespace graft {

struct GradcheckOptions {
    int directions = 2;         // through all inputs
    std::int64_t elements = 2;  // of each input, at most: spread evenly over it; 0: none
    std::uint64_t seed = 1;
};

enum class GradcheckVerdict { right, truncation, rounding, wrong };

inline const char* name_of(GradcheckVerdict verdict)
{
    switch (verdict) {
    case GradcheckVerdict::right: return "right";
    case GradcheckVerdict::truncation: return "truncation";
    case GradcheckVerdict::rounding: return "rounding";
    case GradcheckVerdict::wrong: return "wrong";
    }
    return "";
}

struct GradcheckResult {
    GradcheckVerdict verdict = GradcheckVerdict::right;
    double worst = 0;                    // the largest error |g - f'| / s of what decided
    double uncertainty = 0;              // of differences there, u / s
    std::string where;                   // which direction or element
    double formed = 0, differences = 0;  // what the tape gave there, and what finite differences gave
    std::string why;                     // what else there is to say

    bool right() const { return verdict == GradcheckVerdict::right; }
    bool wrong() const { return verdict == GradcheckVerdict::wrong; }
    std::string text() const
    {
        char line[240] = "";
        if (!where.empty()) {
            std::snprintf(line, sizeof line,
                          ": the tape gives %.12g, differences give %.12g, relative error %.3g +- %.2g", formed,
                          differences, worst, uncertainty);
        }
        return std::string(name_of(verdict)) + ": " + where + line + (where.empty() || why.empty() ? "" : "; ") + why;
    }
};

}  // namespace graft
