#pragma once
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <new>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "graft/core/tensor.hpp"

// The tape: a list of backward steps in the order in which their ops ran, which already is a topological order.
//
// An op records one step: a callable that holds handles to exactly what its comment calls saved. backward() runs the
// list in reverse and drops each step as soon as it has run, and with it what only that step still held. Steps live in
// the tape's own arena: recording asks the system for nothing after the first use.
//
// There is no global tape. A model is called with a tape, or with no_tape: then nothing is recorded.
// Not thread-safe: one tape, one thread.
//
// backward() throws Error, before anything is written, for a loss that
//   - was formed with no_tape, or on another tape
//   - has been gone back from before, or was recorded before the tape ran for another loss
//   - is not finite (seen on the CPU; elsewhere the optimiser sees it)
// and, on the way, for a weight that has changed since the forward (core/tensor.hpp). Micro-batches add: each has a
// loss of its own, and all of them go backward before the optimiser steps. A loss without a target has no gradient:
// nothing is written.
namespace graft {

class Tape {
public:
    Tape() = default;
    Tape(const Tape&) = delete;
    Tape& operator=(const Tape&) = delete;
    ~Tape() { clear(); }

    // Records a step for the op that made y: it runs only if something wrote the gradient of y.
    template <Float T, class S, Device Dev, class Step>
    void record(const char* name, const Tensor<T, S, Dev>& y, Step step)
    {
        if (y.needs_grad()) { y.grad().recorded_for(current_run()); }
        record_step(name, y.rows(), y.cols(), std::size_t(y.rows() * y.stride()) * sizeof(T),
                    [dy = y.grad(), step = std::move(step)]() mutable {
                        if (dy.written()) { step(); }
                    });
    }

    // Records a step without that question: for ops with several outputs.
    template <class Step>
    void record_step(const char* name, std::int64_t rows, std::int64_t cols, std::size_t bytes, Step step)
    {
        void* at = arena(sizeof(Step), alignof(Step));
        auto* held = ::new (at) Step(std::move(step));
        steps_.push_back({name, held, [](void* s) { (*static_cast<Step*>(s))(); },
                          [](void* s) { static_cast<Step*>(s)->~Step(); }, rows, cols, bytes});
    }

    // Seeds the gradient of a scalar loss and runs all steps in reverse; the tape is empty afterwards.
    template <Float T, Device Dev> void backward(const Tensor<T, Shape<1>, Dev>& loss, double seed = 1.0)
    {
        check(loss);
        if (!loss.needs_grad()) {
            clear();
            return;
        }
        const Sink<T> sink = loss.grad().sink();
        const T value = T(seed);
        compute(loss.pool(), [&] { memory<Dev>::copy(sink.view.data, &value, sizeof(T), loss.pool()->stream()); });
        run();
    }

    template <Float T, class S, Device Dev> void backward(const Tensor<T, S, Dev>&, double = 1.0)
    {
        static_assert(detail::never<S>, "backward: the loss must be a scalar, Shape<1>: end in a loss such as "
                                        "cross_entropy, or in probe.");
    }

    // Runs all steps in reverse; whoever calls it has written the gradient to start from.
    void run()
    {
        while (!steps_.empty()) {
            Step step = steps_.back();
            steps_.pop_back();
            struct Drop {
                Step& step;
                ~Drop() { step.drop(step.held); }
            } drop{step};
            step.run(step.held);
        }
        clear();
    }

    void clear()
    {
        while (!steps_.empty()) {
            steps_.back().drop(steps_.back().held);
            steps_.pop_back();
        }
        chunk_ = used_ = 0;
        run_ = 0;
    }

    std::size_t size() const { return steps_.size(); }

    // One line a step: name, shape and bytes of its output.
    std::string print() const
    {
        std::string text;
        for (const Step& step : steps_) {
            char line[160];
            std::snprintf(line, sizeof line, "%-24s (%lld, %lld) %zu bytes\n", step.name, (long long)step.rows,
                          (long long)step.cols, step.bytes);
            text += line;
        }
        return text;
    }

private:
    struct Step {
        const char* name;
        void* held;
        void (*run)(void*);
        void (*drop)(void*);
        std::int64_t rows, cols;
        std::size_t bytes;
    };

    // Each filling of a tape has a number of its own, in the whole program.
    std::uint64_t current_run()
    {
        static std::atomic<std::uint64_t> last{0};
        if (run_ == 0) { run_ = ++last; }
        return run_;
    }

    template <Float T, Device Dev> void check(const Tensor<T, Shape<1>, Dev>& loss) const
    {
        require(loss.tape() != nullptr, "backward: the loss was formed with no_tape, so nothing of it was recorded: "
                                        "call the model with this tape");
        require(loss.tape() == this, "backward: the loss was recorded on another tape: go backward on that one");
        if (loss.needs_grad()) {
            require(!loss.grad().written(), "backward: this loss has been gone back from before, and its gradients "
                                            "have been added already: form the loss again");
            require(loss.grad().run() == 0 || loss.grad().run() == run_,
                    "backward: the tape has run since this loss was recorded on it, and has forgotten it: add losses "
                    "(a + b) and go backward once, or give each a tape of its own");
        }
        if constexpr (std::is_same_v<Dev, Cpu>) {
            if (loss.pool()->counting()) { return; }
            const double value = double(loss.data()[0]);
            require(std::isfinite(value), [&] {
                return "backward: the loss is " + std::to_string(value)
                       + ", which is not finite, and so would its "
                         "gradients be; nothing was written: not_finite(model) names the first bad tensor; a smaller "
                         "learning rate, or clipping, keeps weights finite";
            });
        }
    }

    void* arena(std::size_t bytes, std::size_t align)
    {
        constexpr std::size_t chunk_bytes = std::size_t{64} << 10;
        used_ = (used_ + align - 1) / align * align;
        if (chunk_ == chunks_.size() || used_ + bytes > chunk_bytes) {
            if (chunk_ != chunks_.size()) { ++chunk_; }
            used_ = 0;
            if (chunk_ == chunks_.size()) { chunks_.push_back(std::make_unique<std::byte[]>(chunk_bytes)); }
        }
        void* at = chunks_[chunk_].get() + used_;
        used_ += bytes;
        return at;
    }

    std::vector<Step> steps_;
    std::vector<std::unique_ptr<std::byte[]>> chunks_;
    std::size_t chunk_ = 0, used_ = 0;
    std::uint64_t run_ = 0;
};

struct NoTape {};
inline constexpr NoTape no_tape;

// Where a model's call records: a tape, or nowhere.
struct TapeRef {
    Tape* tape = nullptr;
    TapeRef(Tape& to) : tape(&to) {}
    TapeRef(NoTape) {}
};

// The tape of an op with several inputs: theirs, which must be one; null where none of them is on a tape.
template <class... X> Tape* tape_of(const char* op, const X&... inputs)
{
    Tape* found = nullptr;
    for (Tape* tape : {inputs.tape()...}) {
        require(tape == nullptr || found == nullptr || tape == found, [&] {
            return std::string(op)
                   + ": its inputs were recorded on two tapes, of which backward would go back on one: "
                     "call what forms them with the same tape, or go backward on each tape alone";
        });
        found = tape != nullptr ? tape : found;
    }
    return found;
}

// The value of a scalar that lies on the CPU.
template <Float T> double item(const Tensor<T, Shape<1>, Cpu>& x) { return double(x.data()[0]); }

}  // namespace graft
