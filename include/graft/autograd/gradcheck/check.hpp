#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "graft/autograd/gradcheck/differences.hpp"
#include "graft/autograd/gradcheck/input.hpp"
#include "graft/autograd/gradcheck/result.hpp"
#include "graft/autograd/tape.hpp"
#include "graft/core/random.hpp"

// The steps of gradcheck, as its specification (autograd/gradcheck.hpp) lists them.
namespace graft {

namespace detail {

// One check at one point: the inputs as one long row of elements.
template <class Loss> class Gradcheck {
public:
    Gradcheck(Loss& loss, const std::vector<GradcheckInput>& inputs, const GradcheckOptions& options)
        : loss_(loss), inputs_(inputs), options_(options)
    {
        for (const auto& input : inputs_) {
            begins_.push_back(size());
            const auto values = input.values();
            kept_.insert(kept_.end(), values.begin(), values.end());
            double length = 0;  // by hypot, as squares of large values overflow
            for (double v : values) { length = std::hypot(length, v); }
            const double rms = values.empty() ? 0 : length / std::sqrt(double(values.size()));
            sigma_.insert(sigma_.end(), values.size(), rms > 0 && std::isfinite(rms) ? rms : 1.0);
        }
        begins_.push_back(size());
        point_ = moved_ = kept_;
    }
    ~Gradcheck()
    {
        for (const auto& input : inputs_) { input.put_on(nullptr), input.clear(); }
        put(kept_);
    }
    Gradcheck(const Gradcheck&) = delete;
    Gradcheck& operator=(const Gradcheck&) = delete;

    // Where no corner is: 1e-3 aside.
    void step_aside()
    {
        point_ = aside();
        put(point_);
    }

    GradcheckResult run()
    {
        GradcheckResult found;
        const std::int64_t all = size();
        if (all == 0) {
            fail(found, "the inputs have no element to differentiate by");
            return found;
        }
        if (!form(found)) { return found; }
        corner_ = false;
        for (int d = 0; d < options_.directions; ++d) {
            if (!note(found, 0, all, std::uint64_t(d), "direction " + std::to_string(d))) { return found; }
        }
        for (std::size_t k = 0; k < inputs_.size(); ++k) {
            const std::int64_t n = inputs_[k].size();
            if (n == 0) { continue; }
            if (n > 1 && inputs_.size() > 1
                && !note(found, begins_[k], begins_[k + 1], 100, "a direction through " + inputs_[k].name)) {
                return found;
            }
            const std::int64_t count = std::min(n, options_.elements);
            for (std::int64_t e = 0; e < count; ++e) {
                const std::int64_t i = begins_[k] + (count == 1 ? 0 : e * (n - 1) / (count - 1));
                if (!note(found, i, i + 1, 0, element(i))) { return found; }
            }
        }
        return found;
    }
    // Whether a corner was in the way of a verdict.
    bool corner() const { return corner_; }

private:
    struct Measured {
        double along = 0, off = 0, u = 0, s = 0;
        bool rounding = false, corner = false;
        double excess() const { return std::abs(off) - 10 * u - 2e-10 * s; }
        bool accused() const { return !(excess() <= 0); }
    };

    std::int64_t size() const { return std::int64_t(kept_.size()); }
    std::size_t input_of(std::int64_t i) const
    {
        return std::size_t(std::upper_bound(begins_.begin(), begins_.end(), i) - begins_.begin()) - 1;
    }
    std::string element(std::int64_t i) const
    {
        const std::size_t k = input_of(i);
        return inputs_[k].element(i - begins_[k]);
    }
    void put(const std::vector<double>& values) const
    {
        for (std::size_t k = 0; k < inputs_.size(); ++k) { inputs_[k].set(values.data() + begins_[k]); }
    }
    double value() const { return item(loss_(TapeRef(no_tape))); }

    bool fail(GradcheckResult& found, std::string why) const
    {
        found = {.verdict = GradcheckVerdict::wrong,
                 .worst = HUGE_VAL,
                 .uncertainty = 0,
                 .where = {},
                 .formed = 0,
                 .differences = 0,
                 .why = std::move(why)};
        return false;
    }
    static std::string number(double x)
    {
        char text[40];
        std::snprintf(text, sizeof text, "%.12g", x);
        return text;
    }
    // NaN of the poison has all bits set, and keeps them through sums and products.
    static bool unwritten(double x)
    {
        std::uint64_t bits = 0;
        std::memcpy(&bits, &x, sizeof bits);
        return bits == ~std::uint64_t{0};
    }

    // Loss and gradients, on poisoned memory; twice.
    bool form(GradcheckResult& found)
    {
        middle_ = value();
        if (!std::isfinite(middle_)) { return fail(found, "the loss is " + number(middle_)); }
        noise_ = noise();
        std::vector<std::shared_ptr<void>> poison;
        for (const auto& input : inputs_) { poison.push_back(input.poison()); }
        for (const bool again : {false, true}) {
            Tape tape;
            for (const auto& input : inputs_) {
                input.put_on(&tape);
                if (!again) { input.clear(); }
            }
            const auto loss = loss_(TapeRef(tape));
            const double with = item(loss);
            for (const auto& input : inputs_) { input.put_on(nullptr); }
            if (!std::isfinite(with)) { return fail(found, "the forward reads memory that it never wrote"); }
            if (std::abs(with - middle_) > 1e-9 * std::abs(middle_) + 100 * noise_) {
                return fail(found, "the loss is " + number(with) + " with a tape and " + number(middle_)
                                       + " without one: it must be a pure function of the inputs");
            }
            if (loss.tape() != nullptr) { tape.backward(loss); }  // else nothing of it was recorded
            std::vector<double> now;
            for (const auto& input : inputs_) {
                const auto part = input.gradient();
                now.insert(now.end(), part.begin(), part.end());
            }
            if (!(again ? doubled(found, now) : finite(found, now))) { return false; }
            if (!again) { gradient_ = std::move(now); }
        }
        for (const auto& input : inputs_) { input.clear(); }
        total_ = 0;
        for (std::size_t i = 0; i < gradient_.size(); ++i) { total_ = std::hypot(total_, gradient_[i] * sigma_[i]); }
        return true;
    }
    bool finite(GradcheckResult& found, const std::vector<double>& now) const
    {
        for (std::size_t i = 0; i < now.size(); ++i) {
            if (std::isfinite(now[i])) { continue; }
            const std::string name = element(std::int64_t(i));
            const std::string what = "the gradient of " + name;
            return fail(found, unwritten(now[i]) ? what
                                                       + " was never written, or formed from what was never written: "
                                                         "the first write must reach every element"
                                                 : what + " is " + number(now[i]));
        }
        return true;
    }
    bool doubled(GradcheckResult& found, const std::vector<double>& now) const
    {
        std::size_t worst = 0;
        double off = 0;
        for (std::size_t k = 0; k < inputs_.size(); ++k) {
            const auto begin = std::size_t(begins_[k]), end = std::size_t(begins_[k + 1]);
            double most = 0;
            for (std::size_t i = begin; i < end; ++i) { most = std::max(most, std::abs(gradient_[i])); }
            for (std::size_t i = begin; i < end; ++i) {
                const double d = std::abs(now[i] - 2 * gradient_[i]) / std::max(most, 1e-300);
                if (!(d <= off)) { off = d, worst = i; }
            }
        }
        return off <= 1e-9
               || fail(found, "a second backward takes the gradient of " + element(std::int64_t(worst)) + " from "
                                  + number(gradient_[worst]) + " to " + number(now[worst])
                                  + ", not to twice that: the op assigns where it should add");
    }

    std::vector<double> aside() const
    {
        const Philox random{options_.seed ^ 0x61736964u};
        auto point = point_;
        for (std::size_t i = 0; i < point.size(); ++i) {
            const auto words = random(0, std::uint64_t(i));
            point[i] += 1e-3 * sigma_[i] * Philox::normal(words[0], words[1]);
        }
        return point;
    }
    // The direction through elements [begin, end): alone, an element is moved by its sigma.
    double component(std::int64_t i, std::int64_t begin, std::int64_t end, std::uint64_t key) const
    {
        if (end - begin == 1) { return sigma_[std::size_t(i)]; }
        const auto words = Philox{options_.seed}(key, std::uint64_t(i));
        return sigma_[std::size_t(i)] * Philox::normal(words[0], words[1]);
    }
    // Moves the elements by t along v, and tells where they really are.
    double at(double t, std::int64_t begin, const std::vector<double>& v)
    {
        for (std::size_t j = 0; j < v.size(); ++j) {
            const std::size_t i = std::size_t(begin) + j;
            moved_[i] = point_[i] + t * v[j];
        }
        const std::size_t first = input_of(begin), last = input_of(begin + std::int64_t(v.size()) - 1);
        for (std::size_t k = first; k <= last; ++k) { inputs_[k].set(moved_.data() + begins_[k]); }
        return value();
    }
    // Measured aside, as a corner would count as noise.
    double noise()
    {
        if (size() == 0) { return 0; }
        std::vector<double> v;
        for (std::int64_t i = 0; i < size(); ++i) { v.push_back(component(i, 0, size(), 0)); }
        auto here = std::exchange(point_, aside());
        const double found = noise_of([&](double t) { return at(t, 0, v); });
        point_ = std::move(here);
        put(point_);
        return found;
    }
    Measured measure(std::int64_t begin, std::int64_t end, std::uint64_t key)
    {
        std::vector<double> v, above;
        Measured m;
        double own = 0;
        for (std::int64_t i = begin; i < end; ++i) {
            v.push_back(component(i, begin, end, key));
            const double g = gradient_[std::size_t(i)];
            m.along += g * v.back(), own = std::hypot(own, g * sigma_[std::size_t(i)]);
        }
        moved_ = point_;
        const auto visit = [&](double h) {
            Pair f;
            f.above = at(h, begin, v);
            above.assign(moved_.begin() + begin, moved_.begin() + end);
            f.below = at(-h, begin, v);
            for (std::size_t j = 0; j < v.size(); ++j) {
                const std::size_t i = std::size_t(begin) + j;
                f.along += gradient_[i] * ((above[j] - moved_[i]) / (2 * h));
            }
            return f;
        };
        const auto take = [&](const Slope& slope) {
            m.off = slope.off, m.u = slope.uncertainty, m.rounding = slope.rounding;
            m.s = std::max({std::abs(m.along), std::abs(m.along + m.off), own, 1e-5 * total_});
            m.corner = slope.corner;
        };
        int steps = 0;
        const auto settled = [&](const Slope& slope) {
            take(slope);
            return !m.accused() && 10 * m.u <= (++steps < 5 ? 2e-10 : 1e-7) * m.s;
        };
        take(slope(visit, middle_, noise_, settled));
        put(point_);
        return m;
    }

    // Measures, and keeps what is worst. False once something is wrong.
    bool note(GradcheckResult& found, std::int64_t begin, std::int64_t end, std::uint64_t key, std::string where)
    {
        Measured m = measure(begin, end, key);
        if (m.accused() && end - begin > 1) { m = measure(begin, end, key + 1000); }
        if (m.accused()) { locate(m, begin, end, where); }
        const bool corner = m.accused() && m.corner, wrong = m.accused() && !corner;
        corner_ = corner_ || corner;
        GradcheckResult now{.verdict = GradcheckVerdict::right,
                            .worst = 0,
                            .uncertainty = m.s > 0 ? m.u / m.s : 0,
                            .where = std::move(where),
                            .formed = m.along,
                            .differences = m.along + m.off,
                            .why = {}};
        now.worst = m.off == 0 ? 0 : m.s > 0 ? std::abs(m.off) / m.s : HUGE_VAL;
        if (wrong) {
            now.verdict = GradcheckVerdict::wrong;
        } else if (corner) {
            now.verdict = GradcheckVerdict::truncation, now.why = "the loss has a corner there";
        } else if (10 * m.u > 1e-4 * m.s && 10 * m.u > 1e-7 * total_) {
            now.verdict = m.rounding ? GradcheckVerdict::rounding : GradcheckVerdict::truncation;
            now.why = m.rounding ? "the loss is too noisy for differences" : "the loss is too rough for differences";
        }
        const auto rank = [](const GradcheckResult& r) { return r.right() ? 0 : r.wrong() ? 2 : 1; };
        if (found.where.empty() || rank(now) > rank(found) || (rank(now) == rank(found) && now.worst > found.worst)) {
            found = std::move(now);
        }
        return !wrong;
    }
    // Down to the element whose gradient is most wrong; stops where no half is wrong alone.
    void locate(Measured& m, std::int64_t begin, std::int64_t end, std::string& where)
    {
        for (std::uint64_t key = 2000; end - begin > 1; ++key) {
            const std::int64_t middle = begin + (end - begin) / 2;
            const Measured low = measure(begin, middle, key), high = measure(middle, end, key);
            if (!low.accused() && !high.accused()) {
                where = "elements " + element(begin) + " to " + element(end - 1) + " together";
                return;
            }
            const bool lower = low.accused() && (!high.accused() || !(low.excess() < high.excess()));
            m = lower ? low : high;
            (lower ? end : begin) = middle;
        }
        where = element(begin);
    }

    Loss& loss_;
    const std::vector<GradcheckInput>& inputs_;
    GradcheckOptions options_;
    std::vector<std::int64_t> begins_;  // of each input, and the end
    std::vector<double> kept_, point_, moved_, sigma_, gradient_;
    double middle_ = 0, noise_ = 0, total_ = 0;
    bool corner_ = false;
};

}  // namespace detail

}  // namespace graft
