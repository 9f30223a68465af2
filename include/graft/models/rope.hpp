#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

#include "graft/models/config.hpp"
#include "graft/nn/rope.hpp"

// How fast each pair of a head turns from position to position, all in f64, and how far a model's positions reach.
//
//   rope_angles(rope, n, length)    n: elements of a head that turn; length: the longest document to come
//   rope_follows_length(rope)       whether other lengths have other angles (dynamic, longrope)
//   covered_positions(config)       how long a document may be
//
// With f_i = theta^(-2i/n), i < n/2, factor s, T = length, O = rope.original:
//
//   kind       inverse frequency i                                      cos and sin times    reaches
//   plain      f_i                                                      1                    max_positions
//   linear     f_i / s                                                  1                    s max_positions
//   dynamic    T > O: f_i with theta (s T/O - (s-1))^(n/(n-2)), else f_i   1                 s max_positions
//   llama3     by wavelength w = 2 pi / f_i: below O/high f_i, above O/low f_i / s, between
//              (1-t) f_i / s + t f_i, t = (O/w - low) / (high - low)    1                    max_positions
//   yarn       f_i / s ramp_i + f_i (1 - ramp_i), ramp_i = clamp((i - lo) / (hi - lo), 0, 1),
//              lo, hi = n ln(O / (2 pi beta)) / (2 ln theta) for beta_fast, beta_slow, rounded outwards where truncate
//              and kept in [0, n-1]                                     attention            s O, or max_positions
//   longrope   f_i / long_i where T > O, else f_i / short_i             attention            max_positions
//
// A table for plain, linear, llama3 and yarn holds the same bits for a position whatever its length: the first 4096
// rows of one for 8192 are the table for 4096. dynamic and longrope turn all positions otherwise once T passes O; the
// length is then the longest that the caller may see: --max-length of a run (so that all its rows agree, whatever their
// batch), prompt and answer so far in generate().
//
// Throws: Error for settings that cannot be (checkpoint/rope_config.hpp has refused them where they come from a file).
// Source: Su et al. 2021, arXiv:2104.09864; Chen et al. 2023, arXiv:2306.15595 (linear); Peng et al. 2023,
// arXiv:2309.00071 (yarn, dynamic); Ding et al. 2024, arXiv:2402.13753 (longrope); as modeling_rope_utils.py of
// huggingface/transformers 5 has them, but that there a `dynamic` model remembers the longest length it has seen.
namespace graft {

inline bool rope_follows_length(const RopeSettings& rope)
{
    return rope.kind == RopeKind::dynamic || rope.kind == RopeKind::longrope;
}

namespace detail {

inline constexpr double two_pi = 6.283185307179586476925;

// Where the ramp of yarn begins and ends.
struct YarnRange {
    double low = 0, high = 0;
};

inline YarnRange yarn_range(const RopeSettings& rope, std::int64_t n)
{
    const auto dim = [&](double turns) {
        return double(n) * std::log(double(rope.original) / (turns * two_pi)) / (2 * std::log(rope.theta));
    };
    YarnRange out{dim(rope.beta_fast), dim(rope.beta_slow)};
    if (rope.truncate) { out = {std::floor(out.low), std::ceil(out.high)}; }
    out = {std::max(out.low, 0.0), std::min(out.high, double(n - 1))};
    if (out.low == out.high) { out.high += 0.001; }
    return out;
}

inline double llama3_frequency(const RopeSettings& rope, double f)
{
    const double original = double(rope.original), wave = two_pi / f;
    if (wave < original / rope.high) { return f; }
    if (wave > original / rope.low) { return f / rope.factor; }
    const double t = (original / wave - rope.low) / (rope.high - rope.low);
    return (1 - t) * f / rope.factor + t * f;
}

}  // namespace detail

inline RopeAngles rope_angles(const RopeSettings& rope, std::int64_t n, std::int64_t length)
{
    const bool longer = length > rope.original;
    const auto half = std::size_t(n / 2);
    require(n >= 2 && n % 2 == 0, "rotary positions turn pairs: the number of elements must be even");
    require(rope.original > 0 || rope.kind == RopeKind::plain || rope.kind == RopeKind::linear,
            "rotary positions: this scaling needs the number of positions that the model was trained with");
    double theta = rope.theta;
    if (rope.kind == RopeKind::dynamic && longer) {
        require(n > 2, "rotary positions: a dynamic scaling needs heads of more than two elements");
        const double stretch = rope.factor * double(length) / double(rope.original) - (rope.factor - 1);
        theta *= std::pow(stretch, double(n) / double(n - 2));
    }
    const auto& lists = longer ? rope.long_factor : rope.short_factor;
    require(rope.kind != RopeKind::longrope || lists.size() == half, [&] {
        return "rotary positions: longrope has " + std::to_string(lists.size()) + " factors for " + std::to_string(half)
               + " pairs";
    });
    const auto range = rope.kind == RopeKind::yarn ? detail::yarn_range(rope, n) : detail::YarnRange();
    RopeAngles out{.frequencies = {}, .attention = rope.attention};
    for (std::size_t i = 0; i < half; ++i) {
        double f = std::pow(theta, -2.0 * double(i) / double(n));
        switch (rope.kind) {
        case RopeKind::linear: f /= rope.factor; break;
        case RopeKind::llama3: f = detail::llama3_frequency(rope, f); break;
        case RopeKind::longrope: f /= lists[i]; break;
        case RopeKind::yarn: {
            const double ramp = std::clamp((double(i) - range.low) / (range.high - range.low), 0.0, 1.0);
            f = f / rope.factor * ramp + f * (1 - ramp);
            break;
        }
        case RopeKind::plain:
        case RopeKind::dynamic: break;
        }
        out.frequencies.push_back(f);
    }
    return out;
}

inline std::int64_t covered_positions(const ModelConfig& config)
{
    const auto& rope = config.rope;
    const bool stretched = rope.kind == RopeKind::linear || rope.kind == RopeKind::dynamic;
    const std::int64_t from = stretched ? config.max_positions : rope.kind == RopeKind::yarn ? rope.original : 0;
    const double reach = std::min(std::floor(double(from) * rope.factor), 0x1p40);
    return std::max(config.max_positions, std::int64_t(reach));
}

}  // namespace graft
