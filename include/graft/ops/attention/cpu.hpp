#pragma once
#include <algorithm>
#include <cmath>

#include "graft/core/parallel.hpp"
#include "graft/ops/attention.hpp"
#include "graft/ops/gather_rows/cpu.hpp"
#include "graft/ops/matmul/cpu_gemm.hpp"
#include "graft/ops/vector_math.hpp"

// Attention on the CPU: blocks of 48 query rows against all keys that they see; the block's scores stay in L2, so the
// softmax needs no rescaling. Keys and values are packed once a task. Forward tasks: segment, head, 192 query rows.
// Backward tasks: segment and key/value head, whose dk and dv one thread sums in order.
namespace graft {

namespace cpu {

template <class Real> struct AttentionRoom {
    static constexpr std::int64_t block = 48, panel = full_panel<Real>;
    std::int64_t keys, width;  // keys of the longest segment and the head size, both in whole panels

    explicit AttentionRoom(const AttentionProblem& p)
        : keys((p.longest + panel - 1) / panel * panel), width((p.head_dim + panel - 1) / panel * panel)
    {}

    std::int64_t forward() const { return 2 * keys * width + block * (keys + 2 * width); }
    std::int64_t backward() const { return 5 * keys * width + block * (2 * keys + 5 * width); }
    std::size_t bytes(std::int64_t reals) const { return std::size_t(reals * threads()) * sizeof(Real) + 64; }
};

template <class Real> Real* aligned(void* at)
{
    return reinterpret_cast<Real*>((reinterpret_cast<std::uintptr_t>(at) + 63) / 64 * 64);
}

// Rows [0, n) of one head as Real, `width` apart, times scale.
template <class Real, class T>
void head_rows(const T* from, std::int64_t stride, std::int64_t n, std::int64_t d, Real scale, Real* to,
               std::int64_t width)
{
    for (std::int64_t i = 0; i < n; ++i) {
        for (std::int64_t j = 0; j < d; ++j) { to[i * width + j] = Real(from[i * stride + j]) * scale; }
    }
}

// Panels of B = M^T for M (n, d): one panel for each 64 rows of M, [d][64].
template <class Real, class T>
void pack_keys(const T* m, std::int64_t stride, std::int64_t n, std::int64_t d, Real* panels)
{
    constexpr std::int64_t wide = full_panel<Real>;
    for (std::int64_t j = 0; j < n; j += wide) {
        pack_transposed<Real>(m + j * stride, stride, d, std::min(wide, n - j), panels + j * d, wide);
    }
}

// Panels of B = M for M (n, d): one panel for each 64 columns of M, [n][64].
template <class Real, class T>
void pack_values(const T* m, std::int64_t stride, std::int64_t n, std::int64_t d, Real* panels)
{
    constexpr std::int64_t wide = full_panel<Real>;
    for (std::int64_t j = 0; j < d; j += wide) {
        pack_rows<Real>(m + j, stride, n, std::min(wide, d - j), panels + j * n, wide);
    }
}

// C[m, n] (+)= A[m, k] B with B in panels of 64 columns, `panel_rows` rows each; C has whole panels of columns.
template <class Real>
void multiply_panels(Target on, std::int64_t m, std::int64_t n, std::int64_t k, Operand<Real> a, const Real* panels,
                     std::int64_t panel_rows, Real* c, std::int64_t ldc, bool add)
{
    constexpr std::int64_t wide = full_panel<Real>;
    for (std::int64_t j = 0; j < n; j += wide) {
        multiply_panel<Real>(on, m, k, a, panels + j * panel_rows, wide, c + j, ldc, add);
    }
}

}  // namespace cpu

template <> struct kernel<AttentionOp, Cpu> {
    using Stream = memory<Cpu>::Stream;

    template <class T> static std::size_t workspace(const AttentionProblem& p)
    {
        const cpu::AttentionRoom<acc<T>> room(p);
        return room.bytes(room.forward());
    }
    template <class T> static std::size_t workspace_backward(const AttentionProblem& p)
    {
        const cpu::AttentionRoom<acc<T>> room(p);
        return room.bytes(room.backward());
    }

    template <class T, class A>
    static void forward(View<T> y, A* lse, View<const T> q, View<const T> k, View<const T> v,
                        const std::vector<Segment>& segments, const AttentionProblem& p, A scale, void* scratch, Stream)
    {
        constexpr std::int64_t rows_each = 192;
        const cpu::AttentionRoom<A> room(p);
        const Target on = machine().target;
        const std::int64_t d = p.head_dim, group = p.heads / p.kv_heads;
        A* const base = cpu::aligned<A>(scratch);
        for (const Segment& s : segments) {
            const std::int64_t chunks = (s.count + rows_each - 1) / rows_each;
            const std::int64_t work = p.heads * s.count * (s.before + s.count) * d / 8;
            parallel_for(p.heads * chunks, work, [&](std::int64_t task, int worker) {
                const std::int64_t h = task / chunks, g = h / group;
                const std::int64_t i0 = task % chunks * rows_each, i1 = std::min(s.count, i0 + rows_each);
                A* const keys = base + worker * room.forward();
                if (i1 - i0 == 1) { return one_row(y, lse, q, k, v, s, p, h, i0, scale, keys); }
                const std::int64_t seen = s.before + i1;
                A* values = keys + room.keys * room.width;
                A* rows = values + room.keys * room.width;
                A* out = rows + room.block * room.width;
                A* scores = out + room.block * room.width;
                cpu::pack_keys<A>(k.row(s.keys) + g * d, k.stride, seen, d, keys);
                cpu::pack_values<A>(v.row(s.keys) + g * d, v.stride, seen, d, values);
                for (std::int64_t i = i0; i < i1; i += room.block) {
                    const std::int64_t m = std::min(room.block, i1 - i), n = s.before + i + m;
                    cpu::head_rows<A>(q.row(s.rows + i) + h * d, q.stride, m, d, scale, rows, room.width);
                    cpu::multiply_panels<A>(on, m, n, d, {rows, room.width, 1}, keys, d, scores, room.keys, false);
                    cpu::row_loops(on, [&](auto loops) {
                        for (std::int64_t r = 0; r < m; ++r) {
                            A* const row = scores + r * room.keys;
                            const std::int64_t visible = s.before + i + r + 1;
                            const A top = loops.largest(row, visible);
                            const A sum = loops.exp_sum(row, visible, A(1), top);
                            lse[(s.rows + i + r) * p.heads + h] = top + std::log(sum);
                            const A norm = A(1) / sum;
                            for (std::int64_t j = 0; j < visible; ++j) { row[j] *= norm; }
                            std::fill(row + visible, row + n, A(0));
                        }
                    });
                    cpu::multiply_panels<A>(on, m, d, n, {scores, room.keys, 1}, values, seen, out, room.width, false);
                    for (std::int64_t r = 0; r < m; ++r) {
                        T* to = y.row(s.rows + i + r) + h * d;
                        for (std::int64_t j = 0; j < d; ++j) { to[j] = T(out[r * room.width + j]); }
                    }
                }
            });
        }
    }

    template <class T, class A>
    static void backward(Sink<T> dq, Sink<T> dk, Sink<T> dv, View<const T> dy, View<const T> y, const A* lse,
                         View<const T> q, View<const T> k, View<const T> v, const std::vector<Segment>& segments,
                         const AttentionProblem& p, A scale, void* scratch, Stream)
    {
        const cpu::AttentionRoom<A> room(p);
        A* const base = cpu::aligned<A>(scratch);
        std::int64_t work = 0;
        for (const Segment& s : segments) { work += p.heads * s.count * (s.before + s.count) * p.head_dim / 4; }
        parallel_for(std::int64_t(segments.size()) * p.kv_heads, work, [&](std::int64_t task, int worker) {
            backward_head(dq, dk, dv, dy, y, lse, q, k, v, segments[std::size_t(task / p.kv_heads)], p,
                          task % p.kv_heads, scale, room, base + worker * room.backward());
        });
    }

private:
    // Decoding: one query against all keys, without packing any.
    template <class T, class A>
    static void one_row(View<T> y, A* lse, View<const T> q, View<const T> k, View<const T> v, const Segment& s,
                        const AttentionProblem& p, std::int64_t h, std::int64_t i, A scale, A* room)
    {
        const std::int64_t d = p.head_dim, g = h / (p.heads / p.kv_heads), n = s.before + i + 1;
        cpu::row_loops(machine().target, [&](auto loops) {
            const T* query = q.row(s.rows + i) + h * d;
            for (std::int64_t j = 0; j < n; ++j) { room[j] = loops.dot(query, k.row(s.keys + j) + g * d, d) * scale; }
            const A top = loops.largest(room, n), sum = loops.exp_sum(room, n, A(1), top);
            lse[(s.rows + i) * p.heads + h] = top + std::log(sum);
            A* out = room + n;
            std::fill(out, out + d, A(0));
            for (std::int64_t j = 0; j < n; ++j) {
                const T* value = v.row(s.keys + j) + g * d;
                for (std::int64_t e = 0; e < d; ++e) { out[e] += room[j] / sum * A(value[e]); }
            }
            T* to = y.row(s.rows + i) + h * d;
            for (std::int64_t e = 0; e < d; ++e) { to[e] = T(out[e]); }
        });
    }

    template <class T, class A>
    static void backward_head(Sink<T> dq, Sink<T> dk, Sink<T> dv, View<const T> dy, View<const T> y, const A* lse,
                              View<const T> q, View<const T> k, View<const T> v, const Segment& s,
                              const AttentionProblem& p, std::int64_t g, A scale, const cpu::AttentionRoom<A>& room,
                              A* at)
    {
        const Target on = machine().target;
        const std::int64_t d = p.head_dim, group = p.heads / p.kv_heads, big = room.keys * room.width;
        const std::int64_t small = room.block * room.width, all = s.before + s.count;
        A *keys = at, *values = keys + big, *key_rows = values + big, *sum_k = key_rows + big, *sum_v = sum_k + big;
        A *query = sum_v + big, *up = query + small, *packed = up + small;
        A *part = packed + small, *spare = part + small;
        A *prob = spare + small, *slope = prob + room.block * room.keys;

        cpu::pack_keys<A>(k.row(s.keys) + g * d, k.stride, all, d, keys);
        cpu::pack_keys<A>(v.row(s.keys) + g * d, v.stride, all, d, values);
        cpu::pack_values<A>(k.row(s.keys) + g * d, k.stride, all, d, key_rows);
        std::fill(sum_k, sum_k + big, A(0));
        std::fill(sum_v, sum_v + big, A(0));
        for (std::int64_t h = g * group; h < (g + 1) * group; ++h) {
            for (std::int64_t i = 0; i < s.count; i += room.block) {
                const std::int64_t m = std::min(room.block, s.count - i), n = s.before + i + m;
                cpu::head_rows<A>(q.row(s.rows + i) + h * d, q.stride, m, d, scale, query, room.width);
                cpu::head_rows<A>(dy.row(s.rows + i) + h * d, dy.stride, m, d, A(1), up, room.width);
                cpu::multiply_panels<A>(on, m, n, d, {query, room.width, 1}, keys, d, prob, room.keys, false);
                cpu::multiply_panels<A>(on, m, n, d, {up, room.width, 1}, values, d, slope, room.keys, false);
                cpu::row_loops(on, [&](auto loops) {
                    for (std::int64_t r = 0; r < m; ++r) {
                        const std::int64_t row = s.rows + i + r, visible = s.before + i + r + 1;
                        A* const pr = prob + r * room.keys;
                        A* const sl = slope + r * room.keys;
                        const A along = loops.dot(dy.row(row) + h * d, y.row(row) + h * d, d);
                        loops.exp_sum(pr, visible, A(1), lse[row * p.heads + h]);
                        for (std::int64_t j = 0; j < visible; ++j) { sl[j] = pr[j] * (sl[j] - along); }
                        std::fill(pr + visible, pr + n, A(0));
                        std::fill(sl + visible, sl + n, A(0));
                    }
                });
                if (dq) {
                    cpu::multiply_panels<A>(on, m, d, n, {slope, room.keys, 1}, key_rows, all, part, room.width, false);
                    for (std::int64_t r = 0; r < m; ++r) {
                        for (std::int64_t j = 0; j < d; ++j) {
                            dq.put(s.rows + i + r, h * d + j, part[r * room.width + j] * scale);
                        }
                    }
                }
                // query already carries the scale, so dk needs none.
                cpu::pack_values<A>(query, room.width, m, d, packed);
                cpu::multiply_panels<A>(on, n, d, m, {slope, 1, room.keys}, packed, m, sum_k, room.width, true);
                cpu::pack_values<A>(up, room.width, m, d, packed);
                cpu::multiply_panels<A>(on, n, d, m, {prob, 1, room.keys}, packed, m, sum_v, room.width, true);
            }
        }
        for (std::int64_t j = 0; j < all; ++j) {
            for (std::int64_t e = 0; e < d; ++e) {
                if (dk) { dk.put(s.keys + j, g * d + e, sum_k[j * room.width + e]); }
                if (dv) { dv.put(s.keys + j, g * d + e, sum_v[j * room.width + e]); }
            }
        }
    }
};

}  // namespace graft
