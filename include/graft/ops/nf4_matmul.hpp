#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "graft/autograd/param.hpp"
#include "graft/autograd/tape.hpp"
#include "graft/ops/nf4_matmul/format.hpp"

// The product of a linear layer whose weight is 4-bit codes: QLoRA's frozen base.
//
//   forward    y = x W^T          W = T(code[index] absmax[block]), decoded panel by panel, never whole
//   backward   dx += dy W         from the same codes; W has no gradient
//
//   x (N, In)   W (Out, In) as nf4 codes, blocks along the flat rows (they may straddle rows)   y (N, Out)
//   saved       W's handle
//   numerics    a decoded weight is rounded once to f32 and once to T; sums in acc<T>
//
// Does not compile: In of x and of W differ; the gradient of W. Throws: Error where dyn extents differ.
// Source: Dettmers et al. 2023, arXiv:2305.14314; format.hpp has the bits.
namespace graft {

struct Nf4MatmulOp {};

// What a kernel sees of a 4-bit weight.
struct Nf4View {
    const std::uint8_t* codes = nullptr;
    const float* absmax = nullptr;  // a scale a block; where they are nested, a scale for each block of those
    std::int64_t rows = 0, cols = 0;
    int block = nf4::default_block;
    nf4::Type type = nf4::Type::nf4;
    const std::uint8_t* nested = nullptr;  // a code a block, an index into map
    const float* map = nullptr;
    float offset = 0;
    int nested_shift = 0;

    GRAFT_HOST_DEVICE float scale(std::int64_t at) const
    {
        return nested == nullptr ? absmax[at] : detail::rounded(map[nested[at]] * absmax[at >> nested_shift]) + offset;
    }
};

// A handle to a 4-bit weight (Out, In). S as for Tensor; extents may be dyn.
template <class S, Device Dev> class Nf4Weight {
public:
    using Extents = S;
    using On = Dev;
    static constexpr bool trainable = false;

    Nf4Weight() = default;
    // Takes codes and scales, one a block.
    Nf4Weight(std::int64_t rows, std::int64_t cols, std::span<const std::uint8_t> codes, std::span<const float> absmax,
              int block, nf4::Type type = nf4::Type::nf4, const std::shared_ptr<Pool<Dev>>& pool = Pool<Dev>::common())
        : rows_(rows), cols_(cols), block_(block), type_(type)
    {
        check(codes.size(), absmax.size());
        codes_ = uploaded(codes, pool);
        absmax_ = uploaded(absmax, pool);
    }
    // Memory for codes and scales, not filled: for a memory plan.
    Nf4Weight(std::int64_t rows, std::int64_t cols, int block, bool nested, const std::shared_ptr<Pool<Dev>>& pool)
        : rows_(rows), cols_(cols), block_(block)
    {
        const auto elements = std::size_t(rows * cols), blocks = nf4::blocks_of(elements, std::size_t(block));
        const auto scales = nested ? nf4::blocks_of(blocks, std::size_t(nf4::nested_block)) : blocks;
        codes_ = Buffer<std::uint8_t, Dev>(std::int64_t(nf4::bytes_of(elements)), pool);
        absmax_ = Buffer<float, Dev>(std::int64_t(scales), pool);
        if (nested) {
            nested_ = Buffer<std::uint8_t, Dev>(std::int64_t(blocks), pool);
            map_ = Buffer<float, Dev>(std::tuple_size_v<decltype(nf4::Nested::map)>, pool);
        }
    }
    // Takes codes and nested scales, which stay so: a byte a block instead of four.
    Nf4Weight(std::int64_t rows, std::int64_t cols, std::span<const std::uint8_t> codes, const nf4::Nested& nested,
              int block, nf4::Type type = nf4::Type::nf4, const std::shared_ptr<Pool<Dev>>& pool = Pool<Dev>::common())
        : rows_(rows), cols_(cols), block_(block), type_(type), offset_(nested.offset),
          nested_shift_(std::countr_zero(unsigned(nested.block)))
    {
        check(codes.size(), nested.codes.size());
        require(nested.block > 0 && std::has_single_bit(unsigned(nested.block))
                    && nested.scales.size() == nf4::blocks_of(nested.codes.size(), std::size_t(nested.block)),
                "nf4 weight: the number of nested scales does not fit its shape");
        codes_ = uploaded(codes, pool);
        absmax_ = uploaded(std::span(nested.scales), pool);
        nested_ = uploaded(std::span(nested.codes), pool);
        map_ = uploaded(std::span(nested.map), pool);
    }

    Nf4View view() const
    {
        return {codes_.data(),
                absmax_.data(),
                rows_,
                cols_,
                block_,
                type_,
                nested_.empty() ? nullptr : nested_.data(),
                map_.empty() ? nullptr : map_.data(),
                offset_,
                nested_shift_};
    }
    std::int64_t rows() const { return rows_; }
    std::int64_t cols() const { return cols_; }
    std::int64_t bytes() const
    {
        return codes_.size() + nested_.size() + (absmax_.size() + map_.size()) * std::int64_t(sizeof(float));
    }
    bool empty() const { return codes_.empty(); }
    // Calls use(bytes) for each piece of memory that it consists of, on the device.
    template <class Use> void memory_of(Use&& use) const
    {
        const auto bytes = [&](const auto& buffer) {
            use(std::as_bytes(std::span(buffer.data(), std::size_t(buffer.size()))));
        };
        bytes(codes_), bytes(absmax_), bytes(nested_), bytes(map_);
    }

    template <class Asked = void> Grad<float, Dev> grad() const
    {
        static_assert(detail::never<Asked>, "an NF4 weight has no gradient: train an adapter over it.");
        return {};
    }

private:
    void check(std::size_t codes, std::size_t scales) const
    {
        const auto elements = std::size_t(rows_ * cols_);
        require(agree(int(rows_), S::extents[0]) && agree(int(cols_), S::last),
                "nf4 weight: shape differs from its type");
        require(codes == nf4::bytes_of(elements) && scales == nf4::blocks_of(elements, std::size_t(block_)),
                "nf4 weight: the number of codes or of scales does not fit its shape");
    }

    Buffer<std::uint8_t, Dev> codes_, nested_;
    Buffer<float, Dev> absmax_, map_;
    std::int64_t rows_ = 0, cols_ = 0;
    int block_ = nf4::default_block;
    nf4::Type type_ = nf4::Type::nf4;
    float offset_ = 0;
    int nested_shift_ = 0;
};

struct Nf4MatmulProblem {
    std::int64_t rows = 0, in = 0, out = 0;
};

template <Float T, class S, Device Dev, class SW>
auto nf4_matmul(const Tensor<T, S, Dev>& x, const Nf4Weight<SW, Dev>& w) -> Acts<T, SW::extents[0], Dev>
{
    using Kernel = kernel<Nf4MatmulOp, Dev>;
    static_assert(same_extent<S::last, SW::last>, "nf4_matmul: the last extent of x must equal In of the weight.");
    require(x.cols() == w.cols(), [&] {
        return "nf4_matmul: the last extent of x is " + std::to_string(x.cols())
               + ", the weight has In = " + std::to_string(w.cols());
    });
    const Nf4MatmulProblem problem{x.rows(), w.cols(), w.rows()};
    auto y = Acts<T, SW::extents[0], Dev>(x.rows(), w.rows(), x.pool());
    {
        const auto scratch = Buffer<std::byte, Dev>(std::int64_t(Kernel::template workspace<T>(problem)), x.pool());
        compute(x.pool(), [&] {
            Kernel::forward(View<T>(y.view()), View<const T>(x.view()), w.view(), scratch.data(), x.pool()->stream());
        });
    }
    y.on(x.tape());
    if (Tape* tape = x.tape(); tape != nullptr && x.needs_grad()) {
        y.want_grad();
        tape->record("nf4_matmul", y, [w, problem, dx = x.grad(), dy = y.grad()] {
            const auto to_x = dx.sink();
            const auto scratch =
                Buffer<std::byte, Dev>(std::int64_t(Kernel::template workspace_backward<T>(problem)), dy.pool());
            compute(dy.pool(),
                    [&] { Kernel::backward_x(to_x, dy.view(), w.view(), scratch.data(), dy.pool()->stream()); });
        });
    }
    return y;
}

}  // namespace graft
