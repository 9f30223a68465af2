#include "graft/ops/attention/cpu.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "graft/autograd/gradcheck.hpp"
#include "numbers.hpp"

using namespace graft;
using namespace graft_test;

namespace {

template <class T> Context<T, Cpu> context(const std::vector<std::int64_t>& lengths)
{
    return context_for<T, Cpu>(lengths, nullptr);
}

struct Gradients {
    Matrix y, dq, dk, dv;
};

// The formulas of the header in double, element by element.
Gradients formula(const Matrix& q, const Matrix& k, const Matrix& v, const Matrix& dy,
                  const std::vector<std::int64_t>& lengths, std::int64_t head)
{
    const std::int64_t heads = q.cols / head, group = q.cols / k.cols;
    const double c = 1 / std::sqrt(double(head));
    Gradients out{Matrix(q.rows, q.cols), Matrix(q.rows, q.cols), Matrix(k.rows, k.cols), Matrix(k.rows, k.cols)};
    std::int64_t first = 0;
    for (std::int64_t length : lengths) {
        for (std::int64_t h = 0; h < heads; ++h) {
            const std::int64_t at = h * head, from = h / group * head;
            for (std::int64_t i = first; i < first + length; ++i) {
                std::vector<double> p, dp;
                double sum = 0, along = 0;
                for (std::int64_t j = first; j <= i; ++j) {
                    double score = 0, up = 0;
                    for (std::int64_t e = 0; e < head; ++e) {
                        score += q(i, at + e) * k(j, from + e), up += dy(i, at + e) * v(j, from + e);
                    }
                    p.push_back(std::exp(c * score)), dp.push_back(up);
                    sum += p.back();
                }
                for (std::size_t j = 0; j < p.size(); ++j) { p[j] /= sum, along += p[j] * dp[j]; }
                for (std::int64_t j = first; j <= i; ++j) {
                    const double pj = p[std::size_t(j - first)], ds = pj * (dp[std::size_t(j - first)] - along);
                    for (std::int64_t e = 0; e < head; ++e) {
                        out.y(i, at + e) += pj * v(j, from + e);
                        out.dq(i, at + e) += c * ds * k(j, from + e);
                        out.dk(j, from + e) += c * ds * q(i, at + e);
                        out.dv(j, from + e) += pj * dy(i, at + e);
                    }
                }
            }
        }
        first += length;
    }
    return out;
}

template <class T>
void against_formula(std::int64_t heads, std::int64_t kv_heads, std::int64_t head,
                     const std::vector<std::int64_t>& lengths)
{
    CAPTURE(heads);
    CAPTURE(kv_heads);
    CAPTURE(head);
    CAPTURE(lengths.size());
    std::int64_t rows = 0;
    for (std::int64_t each : lengths) { rows += each; }
    const auto pool = Pool<Cpu>::create({.poison = true});
    auto q = Acts<T, dyn, Cpu>(rows, heads * head, pool), up = Acts<T, dyn, Cpu>(rows, heads * head, pool);
    auto k = Acts<T, dyn, Cpu>(rows, kv_heads * head, pool), v = Acts<T, dyn, Cpu>(rows, kv_heads * head, pool);
    fill(q, 1), fill(k, 2), fill(v, 3), fill(up, 4);
    Tape tape;
    q.on(&tape).want_grad(), k.want_grad(), v.want_grad();
    const auto y = attention(q, k, v, int(head), context<T>(lengths));
    const Gradients expected = formula(matrix(q), matrix(k), matrix(v), matrix(up), lengths, head);
    const auto sink = y.grad().sink();
    for (std::int64_t i = 0; i < rows; ++i) { std::copy_n(up.view().row(i), up.cols(), sink.view.row(i)); }
    tape.run();
    // Sums of `head` and of up to `rows` products; in backward the rounding of y reaches ds through D, and dk and dv
    // are sums over the rows of all heads of a group.
    const double forward = epsilon<T>() + 8 * epsilon<acc<T>>() * std::sqrt(double(head));
    CHECK(difference(matrix(y), expected.y) < forward);
    // A row that sees only itself has dq = dk = 0: what is left of dy v - D, whose terms are of the size of dv.
    double size = 0;
    for (const double value : expected.dv.at) { size = std::fmax(size, std::abs(value)); }
    CHECK(difference(matrix(q.grad()), expected.dq, size) < 4 * forward);
    CHECK(difference(matrix(k.grad()), expected.dk, size) < 4 * forward);
    CHECK(difference(matrix(v.grad()), expected.dv) < 4 * forward);
}

}  // namespace

TEST_CASE_TEMPLATE("attention: value and gradients by the formula, query heads per key head 1, 3 and 8", T, double,
                   float, bf16)
{
    against_formula<T>(2, 2, 64, {5});
    against_formula<T>(3, 1, 16, {20, 31});
    against_formula<T>(6, 2, 16, {20, 1, 30});
    against_formula<T>(8, 1, 8, {33});
    against_formula<T>(16, 2, 8, {1, 1, 17});
}

TEST_CASE_TEMPLATE("attention: heads of 6, 64, 80 and 128", T, double, float, bf16)
{
    for (std::int64_t head : {2, 6, 64, 80, 128}) { against_formula<T>(2, 1, head, {19, 8}); }
}

TEST_CASE_TEMPLATE("attention: documents of one row, of a block, across blocks and tasks", T, double, float)
{
    against_formula<T>(2, 1, 6, {1});
    against_formula<T>(2, 1, 6, {1, 1, 1, 1});
    against_formula<T>(2, 1, 6, {48, 49, 47});
    against_formula<T>(2, 1, 6, {64, 65});
    against_formula<T>(1, 1, 6, {193, 192});  // 193: the last row is a task of its own
    against_formula<T>(1, 1, 70, {1, 300});
}

TEST_CASE("attention: gradients against differences")
{
    for (auto [heads, kv_heads] : {std::pair{2, 2}, {3, 1}, {8, 1}}) {
        auto q = filled<double>(7, heads * 6, 1), k = filled<double>(7, kv_heads * 6, 2),
             v = filled<double>(7, kv_heads * 6, 3);
        const auto c = context<double>({4, 1, 2});
        const auto all =
            gradcheck([&](TapeRef) { return probe(attention(q, k, v, 6, c)); }, {{"q", q}, {"k", k}, {"v", v}});
        CHECK_MESSAGE(all.right(), all.text());
        const auto only_v =
            gradcheck([&](TapeRef) { return probe(attention(q.detached(), k.detached(), v, 6, c)); }, {{"v", v}});
        CHECK_MESSAGE(only_v.right(), only_v.text());
        const auto only_q =
            gradcheck([&](TapeRef) { return probe(attention(q, k.detached(), v.detached(), 6, c)); }, {{"q", q}});
        CHECK_MESSAGE(only_q.right(), only_q.text());
    }
    auto x = filled<double>(5, 12, 1);
    const auto same =
        gradcheck([&](TapeRef) { return probe(attention(x, x, x, 6, context<double>({5}))); }, {{"x", x}});
    CHECK_MESSAGE(same.right(), same.text());
}

TEST_CASE("attention: gradients that were there already are added to")
{
    auto q = filled<float>(9, 12, 1), k = filled<float>(9, 6, 2), v = filled<float>(9, 6, 3);
    Matrix once[3];
    for (int step = 1; step <= 2; ++step) {
        Tape tape;
        q.on(&tape).want_grad(), k.on(&tape).want_grad(), v.on(&tape).want_grad();
        tape.backward(probe(attention(q, k, v, 6, context<float>({5, 4}))));
        if (step == 1) { once[0] = matrix(q.grad()), once[1] = matrix(k.grad()), once[2] = matrix(v.grad()); }
    }
    for (auto& each : once) {
        for (double& value : each.at) { value *= 2; }
    }
    CHECK(difference(matrix(q.grad()), once[0]) == 0);
    CHECK(difference(matrix(k.grad()), once[1]) == 0);
    CHECK(difference(matrix(v.grad()), once[2]) == 0);
}

TEST_CASE_TEMPLATE("attention: a document does not depend on its neighbours, to the bit", T, float, bf16)
{
    const auto q = filled<T>(90, 24, 1), k = filled<T>(90, 8, 2), v = filled<T>(90, 8, 3);
    const auto part = [](const Acts<T, dyn, Cpu>& x, std::int64_t first, std::int64_t count) {
        auto out = Acts<T, dyn, Cpu>(count, x.cols(), Pool<Cpu>::common());
        for (std::int64_t i = 0; i < count; ++i) { std::copy_n(x.view().row(first + i), x.cols(), out.view().row(i)); }
        return out;
    };
    const auto all = attention(q, k, v, 8, context<T>({17, 70, 3}));
    const auto alone = attention(part(q, 17, 70), part(k, 17, 70), part(v, 17, 70), 8, context<T>({70}));
    CHECK(difference(matrix(part(all, 17, 70)), matrix(alone)) == 0);
}

TEST_CASE_TEMPLATE("attention: token by token and by parts through a cache equals the whole document", T, double, float,
                   bf16)
{
    const std::int64_t rows = 61, head = 10;
    const auto q = filled<T>(rows, 6 * head, 1), k = filled<T>(rows, 2 * head, 2), v = filled<T>(rows, 2 * head, 3);
    const auto whole = matrix(attention(q, k, v, int(head), context<T>({rows})));
    for (std::int64_t first : {1, 40, 50}) {  // the prompt; then one token at a time, or two
        KvCache<T, Cpu> cache;
        for (int layer = 0; layer < 2; ++layer) { cache.layers.push_back({{rows, 2 * head}, {rows, 2 * head}}); }
        Matrix found(rows, 6 * head);
        for (std::int64_t at = 0; at < rows;) {
            const std::int64_t count = at == 0 ? first : std::min(rows - at, std::int64_t(first == 40 ? 2 : 1));
            const auto part = [&](const Acts<T, dyn, Cpu>& x) {
                auto out = Acts<T, dyn, Cpu>(count, x.cols(), Pool<Cpu>::common());
                for (std::int64_t i = 0; i < count; ++i) {
                    std::copy_n(x.view().row(at + i), x.cols(), out.view().row(i));
                }
                return out;
            };
            Context<T, Cpu> c;
            c.segments = std::make_shared<const std::vector<Segment>>(1, Segment{0, count, 0, at});
            c.cache = &cache, c.layer = 1;
            const Matrix y = matrix(attention(part(q), part(k), part(v), int(head), c));
            std::copy(y.at.begin(), y.at.end(), found.at.begin() + at * found.cols);
            at += count;
            cache.filled = at;
        }
        CHECK(difference(found, whole) < epsilon<T>() + 8 * epsilon<acc<T>>() * std::sqrt(double(head)));
    }
}

namespace {

struct Shared {
    std::int64_t prompt, first, second;  // rows of the prompt and of the two answers behind it
};

// Prompt, first and second answer behind each other; the second sees the prompt and itself.
template <class T> Context<T, Cpu> sharing(const std::vector<Shared>& documents, std::vector<std::int32_t>& key_rows)
{
    Context<T, Cpu> c;
    std::vector<Segment> segments;
    std::int64_t at = 0;
    const auto keys = [&](std::int64_t from, std::int64_t count) {
        for (std::int64_t i = 0; i < count; ++i) { key_rows.push_back(std::int32_t(from + i)); }
    };
    for (const Shared& d : documents) {
        const std::int64_t both = d.prompt + d.first;
        segments.push_back({at, both, std::int64_t(key_rows.size()), 0});
        keys(at, both);
        segments.push_back({at + both, d.second, std::int64_t(key_rows.size()), d.prompt});
        keys(at, d.prompt), keys(at + both, d.second);
        at += both + d.second;
    }
    c.key_rows = Buffer<std::int32_t, Cpu>(std::int64_t(key_rows.size()));
    std::copy(key_rows.begin(), key_rows.end(), c.key_rows.data());
    c.segments = std::make_shared<const std::vector<Segment>>(std::move(segments));
    return c;
}

Matrix spread(const Matrix& from, const std::vector<std::int32_t>& rows)
{
    Matrix out(std::int64_t(rows.size()), from.cols);
    for (std::int64_t i = 0; i < out.rows; ++i) {
        for (std::int64_t j = 0; j < out.cols; ++j) { out(i, j) = from(rows[std::size_t(i)], j); }
    }
    return out;
}

}  // namespace

TEST_CASE_TEMPLATE("attention: documents that share their beginning give what each gives alone, and sum its gradients",
                   T, double, float, bf16)
{
    for (const auto& documents :
         {std::vector<Shared>{{5, 3, 4}}, {{1, 1, 1}, {0, 2, 3}}, {{60, 49, 1}, {3, 2, 100}}, {{47, 150, 97}}}) {
        std::vector<std::int32_t> key_rows;
        const auto c = sharing<T>(documents, key_rows);
        std::vector<std::int64_t> lengths;
        std::vector<char> repeated;  // rows of the separate documents that are a second copy of a prompt
        std::int64_t rows = 0;
        for (const Shared& d : documents) {
            lengths.push_back(d.prompt + d.first), lengths.push_back(d.prompt + d.second);
            rows += d.prompt + d.first + d.second;
            repeated.insert(repeated.end(), std::size_t(d.prompt + d.first), 0);
            repeated.insert(repeated.end(), std::size_t(d.prompt), 1);
            repeated.insert(repeated.end(), std::size_t(d.second), 0);
        }
        CAPTURE(rows);
        const auto pool = Pool<Cpu>::create({.poison = true});
        const std::int64_t head = 10;
        auto q = Acts<T, dyn, Cpu>(rows, 6 * head, pool), up = Acts<T, dyn, Cpu>(rows, 6 * head, pool);
        auto k = Acts<T, dyn, Cpu>(rows, 2 * head, pool), v = Acts<T, dyn, Cpu>(rows, 2 * head, pool);
        fill(q, 1), fill(k, 2), fill(v, 3), fill(up, 4);
        Tape tape;
        q.on(&tape).want_grad(), k.want_grad(), v.want_grad();
        const auto y = attention(q, k, v, int(head), c);
        const auto sink = y.grad().sink();
        for (std::int64_t i = 0; i < rows; ++i) { std::copy_n(up.view().row(i), up.cols(), sink.view.row(i)); }
        tape.run();

        Matrix up_alone = spread(matrix(up), key_rows);
        for (std::int64_t i = 0; i < up_alone.rows; ++i) {
            for (std::int64_t j = 0; j < up_alone.cols && repeated[std::size_t(i)] != 0; ++j) { up_alone(i, j) = 0; }
        }
        const auto alone = formula(spread(matrix(q), key_rows), spread(matrix(k), key_rows),
                                   spread(matrix(v), key_rows), up_alone, lengths, head);
        const auto together = [&](const Matrix& from) {
            Matrix out(rows, from.cols);
            for (std::int64_t i = 0; i < from.rows; ++i) {
                for (std::int64_t j = 0; j < from.cols; ++j) { out(key_rows[std::size_t(i)], j) += from(i, j); }
            }
            return out;
        };
        const double near = epsilon<T>() + 8 * epsilon<acc<T>>() * std::sqrt(double(head));
        double size = 0;
        for (const double value : alone.dv.at) { size = std::fmax(size, std::abs(value)); }
        CHECK(difference(spread(matrix(y), key_rows), alone.y) < near);
        CHECK(difference(matrix(q.grad()), together(alone.dq), size) < 4 * near);
        CHECK(difference(matrix(k.grad()), together(alone.dk), size) < 8 * near);
        CHECK(difference(matrix(v.grad()), together(alone.dv)) < 8 * near);
    }
}

TEST_CASE("attention: gradients against differences where documents share their beginning; keys out of place: Errors")
{
    std::vector<std::int32_t> key_rows;
    auto c = sharing<double>({{2, 1, 3}, {1, 1, 1}}, key_rows);
    auto q = filled<double>(9, 12, 1), k = filled<double>(9, 6, 2), v = filled<double>(9, 6, 3);
    const auto all =
        gradcheck([&](TapeRef) { return probe(attention(q, k, v, 6, c)); }, {{"q", q}, {"k", k}, {"v", v}});
    CHECK_MESSAGE(all.right(), all.text());
    auto segments = *c.segments;
    segments[1].keys += 1;
    c.segments = std::make_shared<const std::vector<Segment>>(segments);
    CHECK_THROWS_WITH_AS(attention(q, k, v, 6, c), doctest::Contains("back to back"), Error);
}

TEST_CASE("attention: large scores do not overflow, and do not become NaN")
{
    auto q = filled<float>(20, 8, 1, 100.0), k = filled<float>(20, 8, 2, 100.0), v = filled<float>(20, 8, 3);
    Tape tape;
    q.on(&tape).want_grad(), k.want_grad(), v.want_grad();
    const auto y = attention(q, k, v, 8, context<float>({20}));
    tape.backward(probe(y));
    for (const Matrix& each : {matrix(y), matrix(q.grad()), matrix(k.grad()), matrix(v.grad())}) {
        for (double value : each.at) { CHECK(std::isfinite(value)); }
    }
}

TEST_CASE_TEMPLATE("attention: equal to the bit for 1, 2, 3 and 5 threads", T, float, bf16)
{
    CHECK(same_for_threads([](Bits& bits) {
        auto q = filled<T>(331, 48, 1), k = filled<T>(331, 16, 2), v = filled<T>(331, 16, 3);
        Tape tape;
        q.on(&tape).want_grad(), k.on(&tape).want_grad(), v.on(&tape).want_grad();
        const auto y = attention(q, k, v, 8, context<T>({250, 1, 80}));
        bits.add(y);
        tape.backward(probe(y));
        bits.add(q.grad()), bits.add(k.grad()), bits.add(v.grad());
    }));
}

TEST_CASE("attention: wrong widths, uncovered rows, a full cache, a cache or a continued segment in training: Errors")
{
    auto q = filled<float>(4, 12, 1), k = filled<float>(4, 6, 2);
    CHECK_THROWS_AS(attention(q, k, k, 5, context<float>({4})), Error);
    CHECK_THROWS_AS(attention(q, filled<float>(4, 9, 1), filled<float>(4, 9, 1), 3, context<float>({4})), Error);
    CHECK_THROWS_AS(attention(q, k, k, 0, context<float>({4})), Error);
    CHECK_THROWS_AS(attention(q, k, k, 6, context<float>({3})), Error);
    CHECK_THROWS_AS(attention(q, filled<float>(3, 6, 1), k, 6, context<float>({4})), Error);
    KvCache<float, Cpu> cache;
    cache.layers.push_back({{3, 6}, {3, 6}});
    auto c = context<float>({4});
    c.cache = &cache;
    CHECK_THROWS_WITH_AS(attention(q, k, k, 6, c), "attention: the cache holds 3 positions and is full", Error);
    Tape tape;
    q.on(&tape).want_grad();
    CHECK_THROWS_AS(attention(q, k, k, 6, c), Error);
    auto continued = context<float>({4});
    continued.segments = std::make_shared<const std::vector<Segment>>(std::vector<Segment>{{0, 2, 0, 0}, {2, 2, 0, 2}});
    CHECK_THROWS_WITH_AS(attention(q, k, k, 6, continued), doctest::Contains("train on whole documents"), Error);
    q.on(nullptr);
    const auto parts = attention(q.detached(), k, k, 6, continued),
               whole = attention(q.detached(), k, k, 6, context<float>({4}));
    CHECK(difference(matrix(parts), matrix(whole)) < 8 * epsilon<float>());
}
