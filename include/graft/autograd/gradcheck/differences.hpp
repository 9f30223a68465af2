#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

// The derivative of a function along a line from its values, with what it may be wrong by: the maths of gradcheck.
//
// With D(h) = (f(h) - f(-h)) / 2h and E(h) = D(h) - g, g being the derivative to be checked along the points that were
// really visited (moved values are rounded), E(h) -> f'(0) - g as h -> 0, in even powers of h while f is smooth:
//
//   steps        h_k = 2^-5 4^-k, k = 0, 1, … 10; as many as it takes
//   table        T_k0 = E(h_k);   T_km = T_k,m-1 + (T_k,m-1 - T_k-1,m-1) / (16^m - 1),   m <= 4
//   truncation   of T_km: max(|T_km - T_k,m-1|, |T_km - T_k-1,m-1|);  of T_k0: |T_k0 - T_k-1,0|
//   rounding     of T_km: 8 noise / h_k
//   finer steps  must not say otherwise: |T_j4 - T_km| less the rounding of both, for j > k. A corner at a distance d
//                looks like one at 0 to steps above d, and like none to steps below
//   the result   the T_km whose uncertainty u, the sum of the first two or the third where that is larger, is least
//   noise        of f: from differences of order k = 4, 5, 6 of seven equidistant values, (k!)^2 / (2k)! times the mean
//                of their squares, at two spacings so small that f itself has none; at least 2 eps |f|
//   corner       S(h) = (f(h) - 2 f(0) + f(-h)) / h -> 0 in odd powers where f is smooth, else to the jump of f' at 0:
//                R_k = (4 S_k - S_k-1) / 3 that stays the same within a tenth over three steps, rounding included, and
//                that would explain E
//
// Source: Ridders 1982, Adv. Eng. Software 4(2):75-76 (extrapolation of central differences with an error from
// neighbours in the table); More and Wild 2011, SIAM J. Sci. Comput. 33(3):1292-1314 (noise from a table of
// differences).
namespace graft::detail {

struct Slope {
    double off = 0;  // f'(0) - g
    double uncertainty = std::numeric_limits<double>::infinity();
    bool rounding = false;  // the larger part of it
    bool corner = false;    // f' jumps at or near 0, by as much as would matter
};

// Values of f at t and at -t, and the derivative to be checked along the way between them.
struct Pair {
    double above = 0, below = 0, along = 0;
};

// What is known of f along the line so far.
class SlopeTable {
public:
    SlopeTable(double middle, double noise) : middle_(middle), noise_(noise) {}

    void add(double h, const Pair& f)
    {
        const std::size_t k = steps_.size();
        steps_.push_back(h);
        table_.push_back({(f.above - f.below) / (2 * h) - f.along});
        jumps_.push_back(((f.above - middle_) + (f.below - middle_)) / h);
        double power = 16;
        for (std::size_t m = 1; m <= std::min(k, most); ++m, power *= 16) {
            table_[k].push_back(table_[k][m - 1] + (table_[k][m - 1] - table_[k - 1][m - 1]) / (power - 1));
        }
    }
    // The least uncertain of the newest row, as far as that is known without finer steps.
    Slope newest() const
    {
        Slope best;
        const std::size_t k = steps_.size() - 1;
        for (std::size_t m = 0; k > 0 && m < table_[k].size(); ++m) { take(best, k, m, 0); }
        return best;
    }
    Slope best() const
    {
        Slope best;
        for (std::size_t k = 1; k < steps_.size(); ++k) {
            for (std::size_t m = 0; m < table_[k].size(); ++m) {
                double otherwise = 0;
                for (std::size_t j = k + 1; j < steps_.size(); ++j) {
                    otherwise =
                        std::max(otherwise, std::abs(table_[j].back() - table_[k][m]) - 2 * rounding(j) - rounding(k));
                }
                take(best, k, m, otherwise);
            }
        }
        const auto jump = [&](std::size_t k) { return (4 * jumps_[k] - jumps_[k - 1]) / 3; };
        const auto stays = [&](std::size_t k) {
            return std::abs(jump(k) - jump(k - 1)) + rounding(k) <= 0.1 * std::abs(jump(k));
        };
        for (std::size_t k = 3; k < steps_.size(); ++k) {
            best.corner = best.corner || (stays(k) && stays(k - 1) && std::abs(jump(k)) >= 0.05 * std::abs(best.off));
        }
        return best;
    }

private:
    static constexpr std::size_t most = 4;

    double rounding(std::size_t k) const { return 8 * noise_ / steps_[k]; }
    void take(Slope& best, std::size_t k, std::size_t m, double otherwise) const
    {
        const double now = table_[k][m];
        const double truncation =
            m == 0 ? std::abs(now - table_[k - 1][0])
                   : std::max(std::abs(now - table_[k][m - 1]), std::abs(now - table_[k - 1][m - 1]));
        const double u = std::max(truncation + rounding(k), otherwise);
        if (u < best.uncertainty) { best = {now, u, rounding(k) > std::max(truncation, otherwise), false}; }
    }

    double middle_, noise_;
    std::vector<double> steps_, jumps_;  // h_k, S_k
    std::vector<std::vector<double>> table_;
};

// `noise` of f; f(0) is `middle`. Ends early as soon as settled(slope): finer steps are for what seems wrong.
template <class At, class Settled> Slope slope(At&& at, double middle, double noise, Settled&& settled)
{
    constexpr int levels = 11;
    SlopeTable table(middle, noise);
    double h = 0x1p-5;
    for (int k = 0; k < levels; ++k, h /= 4) {
        table.add(h, at(h));
        if (const Slope now = table.newest(); k >= 2 && settled(now)) { return now; }
    }
    return table.best();
}

// The noise of f at 0 along a line.
inline double noise_of(const std::function<double(double)>& f)
{
    double least = std::numeric_limits<double>::infinity();
    const double floor = 2 * std::numeric_limits<double>::epsilon() * std::abs(f(0));
    for (const double spacing : {0x1p-36, 0x1p-29}) {
        std::vector<double> values;
        for (int i = -3; i <= 3; ++i) { values.push_back(f(i * spacing)); }
        double found = 0, factor = 1;
        for (int k = 1; k <= 6; ++k) {
            for (std::size_t i = 0; i + 1 < values.size(); ++i) { values[i] = values[i + 1] - values[i]; }
            values.pop_back();
            factor *= double(k) * k / (double(2 * k) * (2 * k - 1));  // (k!)^2 / (2k)!
            double length = 0;
            for (double v : values) { length = std::hypot(length, v); }
            if (k >= 4) { found = std::max(found, std::sqrt(factor / double(values.size())) * length); }
        }
        least = std::min(least, found);
    }
    return std::max(least, floor);
}

}  // namespace graft::detail
