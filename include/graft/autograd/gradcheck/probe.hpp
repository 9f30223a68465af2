#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "graft/autograd/tape.hpp"
#include "graft/core/random.hpp"

// Any tensor to a scalar: the sum of c y over all elements of y, c uniform in [-1, 1), keyed by the seed alone. Its
// gradient is c, so that an error in any element of dy shows.
namespace graft {

template <Float T, class S, Device Dev>
Tensor<acc<T>, Shape<1>, Dev> probe(const Tensor<T, S, Dev>& y, std::uint64_t seed = 1)
{
    using A = acc<T>;
    const auto weight = [random = Philox{seed}](std::int64_t i, std::int64_t j) {
        return A(2.0 * double(random(std::uint64_t(i), std::uint64_t(j))[0]) * 0x1p-32 - 1.0);
    };
    // Rows as the host sees them: the memory itself, or a copy.
    const auto to_host = [](auto* from, std::int64_t rows, std::int64_t stride, std::int64_t cols, const auto& pool) {
        using E = std::remove_const_t<std::remove_pointer_t<decltype(from)>>;
        std::vector<E> host(std::size_t(rows > 0 ? (rows - 1) * stride + cols : 0));
        memory<Dev>::copy(host.data(), from, host.size() * sizeof(E), pool->stream());
        return host;
    };
    auto loss = Tensor<A, Shape<1>, Dev>(1, 1, y.pool());
    compute(y.pool(), [&] {
        const auto host = to_host(y.data(), y.rows(), y.stride(), y.cols(), y.pool());
        double sum = 0;
        for (std::int64_t i = 0; i < y.rows(); ++i) {
            for (std::int64_t j = 0; j < y.cols(); ++j) {
                sum += double(weight(i, j)) * double(host[std::size_t(i * y.stride() + j)]);
            }
        }
        const A value = A(sum);
        memory<Dev>::copy(loss.data(), &value, sizeof value, y.pool()->stream());
    });
    loss.on(y.tape());
    if (Tape* tape = y.tape(); tape != nullptr && y.needs_grad()) {
        loss.want_grad();
        tape->record(
            "probe", loss, [weight, to_host, dy = y.grad(), dloss = loss.grad(), rows = y.rows(), cols = y.cols()] {
                const auto sink = dy.sink();
                compute(dy.pool(), [&] {
                    auto host = to_host(sink.view.data, rows, sink.view.stride, cols, dy.pool());
                    const A up = to_host(dloss.view().data, 1, 1, 1, dy.pool())[0];
                    const Sink<T> put{{host.data(), rows, sink.view.stride, cols}, sink.add};
                    for (std::int64_t i = 0; i < rows; ++i) {
                        for (std::int64_t j = 0; j < cols; ++j) { put.put(i, j, up * weight(i, j)); }
                    }
                    memory<Dev>::copy(sink.view.data, host.data(), host.size() * sizeof(T), dy.pool()->stream());
                });
            });
    }
    return loss;
}

}  // namespace graft
