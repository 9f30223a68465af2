#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <optional>
#include <string_view>

#include "graft/core/error.hpp"

// Learning-rate schedules: what the base rate is multiplied with at a step.
//
//   w warm-up steps, N steps in all, c optimiser steps already done (0 in the first step)
//
//   warm-up    c < w   c / max(1, w), so the first warm-up step has rate 0
//   constant           1
//   linear             max(0, (N - c) / max(1, N - w))
//   cosine             max(0, (1 + cos(pi (c - w) / max(1, N - w))) / 2)
//
// A pure function of c, N and w: a resumed run gets the rates of the whole one as long as N is the same.
// All in f64. Throws Error for a warm-up below 0; a warm-up longer than the run is allowed and never reaches rate 1.
// Source: the schedules of transformers 5.23 (constant_with_warmup, linear, cosine).
namespace graft {

enum class Schedule { linear, cosine, constant };

inline std::optional<Schedule> schedule_named(std::string_view name)
{
    if (name == "linear") { return Schedule::linear; }
    if (name == "cosine") { return Schedule::cosine; }
    if (name == "constant") { return Schedule::constant; }
    return std::nullopt;
}

inline const char* name_of(Schedule schedule)
{
    switch (schedule) {
    case Schedule::linear: return "linear";
    case Schedule::cosine: return "cosine";
    case Schedule::constant: return "constant";
    }
    return "";
}

// Warm-up as a user gives it: below 1 a share of the steps (rounded up), otherwise a number of steps.
inline std::int64_t warmup_steps(double given, std::int64_t total)
{
    require(given >= 0 && given < 9e15, "warmup must be a number of steps, or a share of them below 1");
    if (given < 1) { return std::int64_t(std::ceil(double(total) * given)); }
    require(given == std::floor(given), "warmup of 1 and more is a number of steps and must be whole");
    return std::int64_t(given);
}

inline double factor(Schedule schedule, std::int64_t step, std::int64_t total, std::int64_t warmup)
{
    const auto c = double(step), n = double(total), w = double(warmup);
    if (step < warmup) { return c / std::max(1.0, w); }
    switch (schedule) {
    case Schedule::linear: return std::max(0.0, (n - c) / std::max(1.0, n - w));
    case Schedule::cosine: {
        const double progress = (c - w) / std::max(1.0, n - w);
        return std::max(0.0, 0.5 * (1.0 + std::cos(std::numbers::pi * progress)));
    }
    case Schedule::constant: break;
    }
    return 1.0;
}

}  // namespace graft
