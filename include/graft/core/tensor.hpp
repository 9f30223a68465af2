#pragma once
#include <concepts>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include "graft/core/buffer.hpp"
#include "graft/core/dtype.hpp"
#include "graft/core/shape.hpp"
#include "graft/core/view.hpp"

// A tensor: rows of elements on one device, with the tape that records what is done to it.
//
//   Tensor<T, Shape<dyn, D>, Dev>    (N, D): N rows known at run time, D columns known at compile time or dyn
//   Tensor<T, Shape<D>, Dev>         (D): one row
//
// A tensor is a handle: copies share memory. A fresh one is not initialised, but for its first element on the CPU,
// which is NaN: a weight that nobody filled shows in the loss. Rows are contiguous; the stride between them is D, or a
// cache line more where D elements are a multiple of 4 KiB (such rows fall into the same cache sets).
//
// Autograd: tape() is where ops record, or null; grad() is a lazy handle to the gradient, which comes into being in
// backward: the first writer assigns, later ones add. A tensor through which no gradient flows has an empty handle.
//
// The gradient of a weight knows which values of the weight it belongs to: they have a version, which grows whenever
// they change (outdate()). A handle that an op keeps for its backward remembers the version that its forward saw
// (of_now()), and writing through it is an Error once that is over.
namespace graft {

class Tape;

// The gradient of a tensor: nothing until backward writes it.
template <Float T, Device Dev> class Grad {
public:
    Grad() = default;
    Grad(std::int64_t rows, std::int64_t cols, std::int64_t stride, const std::shared_ptr<Pool<Dev>>& pool)
        : state_(std::make_shared<State>())
    {
        state_->rows = rows, state_->cols = cols, state_->stride = stride, state_->pool = pool;
    }

    // True where a gradient is wanted at all.
    explicit operator bool() const { return state_ != nullptr; }
    // True once something was written: an op whose output has none skips its backward.
    bool written() const { return state_ != nullptr && !state_->memory.empty(); }
    // The place to write to; an empty sink where no gradient is wanted. Call once a kernel.
    Sink<T> sink() const
    {
        if (state_ == nullptr) { return {}; }
        require(seen_ == any_version || seen_ == state_->version,
                "backward: the weights have changed since this loss was formed (an optimiser's step, or a load, came "
                "between), so that its gradients would be of neither: form the loss, go backward, and only then step");
        const bool add = written();
        if (!add) { born(Buffer<T, Dev>(state_->rows * state_->stride, state_->pool)); }
        return {{state_->memory.data(), state_->rows, state_->stride, state_->cols}, add};
    }
    View<const T> view() const
    {
        return {written() ? state_->memory.data() : nullptr, state_->rows, state_->stride, state_->cols};
    }
    const std::shared_ptr<Pool<Dev>>& pool() const { return state_->pool; }
    // Forgets what was written and gives its memory back.
    void clear() const
    {
        if (state_ != nullptr) { state_->memory = {}; }
    }
    // Takes over memory that already holds the gradient, in the layout of this handle.
    void adopt(Buffer<T, Dev> memory) const { born(std::move(memory)); }
    Buffer<T, Dev> release() const { return std::exchange(state_->memory, {}); }

    // The values of the weight have changed.
    void outdate() const { ++state_->version; }
    // This handle, good for the values that the weight has now.
    Grad of_now() const
    {
        Grad out = *this;
        if (state_ != nullptr) { out.seen_ = state_->version; }
        return out;
    }
    // Whether what was written belongs to other values than the weight has now.
    bool outdated() const { return written() && state_->formed != state_->version; }
    // Says that what was written is meant for the values as they are now.
    void accept() const { state_->formed = state_->version; }
    std::uint64_t version() const { return state_->version; }
    // How often a first writer has begun this gradient.
    std::uint64_t births() const { return state_->births; }
    bool same_as(const Grad& other) const { return state_ == other.state_; }
    // The run of a tape (autograd/tape.hpp) that the tensor was recorded for; 0: none.
    std::uint64_t run() const { return state_->run; }
    void recorded_for(std::uint64_t run) const { state_->run = run; }

private:
    static constexpr std::uint64_t any_version = ~std::uint64_t{0};

    void born(Buffer<T, Dev> memory) const
    {
        state_->memory = std::move(memory);
        state_->formed = state_->version;
        ++state_->births;
    }

    struct State {
        Buffer<T, Dev> memory;
        std::int64_t rows = 0, cols = 0, stride = 0;
        std::uint64_t version = 0, formed = 0, births = 0, run = 0;
        std::shared_ptr<Pool<Dev>> pool;
    };
    std::shared_ptr<State> state_;
    std::uint64_t seen_ = any_version;
};

template <Float T, class S, Device Dev> class Tensor {
    static_assert(S::rank == 1 || S::rank == 2, "a tensor has one or two extents: rows of documents lie back to back.");

public:
    using Element = T;
    using Extents = S;
    using On = Dev;
    static constexpr int last = S::last;

    Tensor() = default;
    Tensor(std::int64_t rows, std::int64_t cols, const std::shared_ptr<Pool<Dev>>& pool = Pool<Dev>::common())
        : rows_(rows), cols_(cols), stride_(padded(cols))
    {
        require(agree(int(cols), last), [&] {
            return "tensor: the last extent is " + std::to_string(cols) + ", its type says " + std::to_string(last);
        });
        memory_ = Buffer<T, Dev>((rows > 1 ? rows * stride_ : rows * cols), pool);
        if constexpr (std::same_as<Dev, Cpu> && std::floating_point<acc<T>>) {
            if (data() != nullptr && memory_.size() > 0) { *data() = T(std::numeric_limits<float>::quiet_NaN()); }
        }
    }
    explicit Tensor(std::int64_t rows,
                    const std::shared_ptr<Pool<Dev>>& pool = Pool<Dev>::common()) requires(S::rank == 2 && last != dyn)
        : Tensor(rows, last, pool)
    {}

    std::int64_t rows() const { return rows_; }
    std::int64_t cols() const
    {
        if constexpr (last == dyn) {
            return cols_;
        } else {
            return last;
        }
    }
    std::int64_t stride() const { return stride_; }
    bool empty() const { return memory_.empty(); }
    T* data() const { return memory_.data(); }
    View<T, last> view()
    {
        if constexpr (last == dyn) {
            return {data(), rows_, stride_, cols_};
        } else {
            return {data(), rows_, stride_};
        }
    }
    View<const T, last> view() const { return const_cast<Tensor*>(this)->view(); }
    const std::shared_ptr<Pool<Dev>>& pool() const { return memory_.pool(); }
    const Buffer<T, Dev>& memory() const { return memory_; }

    // Another type for the same memory: extents that become static are checked.
    template <class To> Tensor<T, To, Dev> as() const
    {
        require(agree(int(cols()), To::last), [&] {
            return "tensor: the last extent is " + std::to_string(cols()) + ", expected " + std::to_string(To::last);
        });
        Tensor<T, To, Dev> other;
        other.rows_ = rows_, other.cols_ = cols_, other.stride_ = stride_;
        other.memory_ = memory_, other.tape_ = tape_, other.grad_ = grad_;
        return other;
    }

    Tape* tape() const { return tape_; }
    Grad<T, Dev> grad() const { return grad_; }
    bool needs_grad() const { return bool(grad_); }
    // Lets ops on this tensor record on the tape.
    Tensor& on(Tape* tape)
    {
        tape_ = tape;
        return *this;
    }
    // Asks for this tensor's gradient: from here on ops that use it record how to form it.
    Tensor& want_grad()
    {
        if (!grad_) { grad_ = Grad<T, Dev>(rows_, cols(), stride_, pool()); }
        return *this;
    }
    // The same values, out of sight of the tape.
    Tensor detached() const
    {
        Tensor other = *this;
        other.tape_ = nullptr, other.grad_ = {};
        return other;
    }

private:
    template <Float, class, Device> friend class Tensor;

    static std::int64_t padded(std::int64_t cols)
    {
        const std::int64_t bytes = cols * std::int64_t(sizeof(T));
        return bytes % 4096 == 0 && bytes != 0 ? cols + 64 / std::int64_t(sizeof(T)) : cols;
    }

    Buffer<T, Dev> memory_;
    std::int64_t rows_ = 0, cols_ = 0, stride_ = 0;
    Tape* tape_ = nullptr;
    Grad<T, Dev> grad_;
};

// Activations: N rows of D.
template <Float T, int D, Device Dev> using Acts = Tensor<T, Shape<dyn, D>, Dev>;

template <Float T, class S, Device Dev> Tensor<T, S, Dev> empty_like(const Tensor<T, S, Dev>& x)
{
    return Tensor<T, S, Dev>(x.rows(), x.cols(), x.pool());
}

// Runs a kernel, or skips it where the pool only counts.
template <Device Dev, class Kernel> void compute(const std::shared_ptr<Pool<Dev>>& pool, Kernel&& kernel)
{
    if (!pool->counting()) { kernel(); }
}

// Values of the host in memory of the device.
template <class E, std::size_t N, Device Dev>
Buffer<std::remove_const_t<E>, Dev> uploaded(std::span<E, N> values, const std::shared_ptr<Pool<Dev>>& pool)
{
    Buffer<std::remove_const_t<E>, Dev> to(std::int64_t(values.size()), pool);
    compute(pool, [&] { memory<Dev>::copy(to.data(), values.data(), values.size_bytes(), pool->stream()); });
    return to;
}

}  // namespace graft
