// Several ops through one tape and one pool, up to a loss: where a gradient is released too early, handed to the wrong
// step or written over, every op is still right alone.
#include "device_support.hpp"

using namespace graft;
using namespace graft_test;

namespace {

constexpr std::int64_t chain_rows = 5, chain_dim = 20, chain_vocab = 11, chain_rank = 2;
constexpr double chain_eps = 1e-5, chain_scale = 1.5;

// x + lora(nf4 base)(norm(x)) + bias, then a head and the loss: the skeleton of a block.
struct Chain {
    Matrix x, norm, base, a, b, bias, head;
    std::vector<std::int32_t> labels{3, ignore, 0, 10, ignore};

    Matrix logits() const
    {
        Matrix normed = x;
        for (std::int64_t i = 0; i < x.rows; ++i) {
            double squares = 0;
            for (std::int64_t j = 0; j < x.cols; ++j) { squares += x(i, j) * x(i, j); }
            for (std::int64_t j = 0; j < x.cols; ++j) {
                normed(i, j) *= norm(0, j) / std::sqrt(squares / double(x.cols) + chain_eps);
            }
        }
        Matrix sum = times_transposed(normed, base);
        const Matrix low = times_transposed(times_transposed(normed, a), b);
        for (std::int64_t i = 0; i < x.rows; ++i) {
            for (std::int64_t j = 0; j < x.cols; ++j) { sum(i, j) += x(i, j) + chain_scale * low(i, j) + bias(0, j); }
        }
        return times_transposed(sum, head);
    }
    double loss() const
    {
        const Matrix z = logits();
        double total = 0;
        for (std::int64_t i = 0; i < z.rows; ++i) {
            if (labels[std::size_t(i)] == ignore) { continue; }
            double sum = 0;
            for (std::int64_t j = 0; j < z.cols; ++j) { sum += std::exp(z(i, j)); }
            total += std::log(sum) - z(i, labels[std::size_t(i)]);
        }
        return total / 3;
    }
};

template <class T, class S, class Dev> auto chain_param(const Matrix& value, const std::shared_ptr<Pool<Dev>>& from)
{
    auto param = Param<T, S, Dev>(upload<acc<T>, S>(value, from));
    if constexpr (!std::same_as<T, acc<T>>) {
        auto working = param.working();
        put<T>(View<T>(working.view()), value, from);
    }
    return param;
}

}  // namespace

TEST_CASE_TEMPLATE("chain: gradients of a block's skeleton, through one tape and one pool", Case, GRAFT_TEST_TYPES)
{
    using Dev = typename Case::Dev;
    using T = typename Case::T;
    if (!ready<Dev>()) { return; }
    using M = Shape<dyn, dyn>;
    using V = Shape<dyn>;
    const auto from = pool<Dev>();

    Chain chain{numbers<T>(chain_rows, chain_dim, 1),    numbers<T>(1, chain_dim, 2),
                numbers<float>(chain_dim, chain_dim, 3), numbers<T>(chain_rank, chain_dim, 4),
                numbers<T>(chain_dim, chain_rank, 5),    numbers<T>(1, chain_dim, 6),
                numbers<T>(chain_vocab, chain_dim, 7)};
    const auto n = std::size_t(chain_dim * chain_dim);
    std::vector<float> weights(chain.base.at.begin(), chain.base.at.end());
    std::vector<std::uint8_t> codes(nf4::bytes_of(n));
    std::vector<float> absmax(nf4::blocks_of(n, 64));
    nf4::quantize<float>(weights, 64, codes, absmax);
    nf4::dequantize<float>(codes, absmax, 64, 0, weights);
    for (std::size_t i = 0; i < n; ++i) { chain.base.at[i] = double(T(weights[i])); }

    auto x = upload<T, M>(chain.x, from);
    const auto base = Nf4Weight<M, Dev>(chain_dim, chain_dim, codes, absmax, 64, nf4::Type::nf4, from);
    const auto norm = chain_param<T, V>(chain.norm, from), bias = chain_param<T, V>(chain.bias, from);
    const auto a = chain_param<T, M>(chain.a, from), b = chain_param<T, M>(chain.b, from);
    const auto head = chain_param<T, M>(chain.head, from);
    const auto labels = upload(chain.labels, from);

    std::size_t asked = 0;
    for (int round = 0; round < 2; ++round) {
        Tape tape;
        x.on(&tape).want_grad();
        double loss_there = 0;
        {
            const auto h = rms_norm(x, norm, chain_eps);
            const auto branch = add_bias(lora(nf4_matmul(h, base), h, a, b, chain_scale), bias);
            const auto loss = cross_entropy(matmul(x + branch.template as<M>(), head), labels, 1.0 / 3);
            loss_there = item(loss);
            tape.backward(loss);
        }
        CHECK(loss_there == doctest::Approx(chain.loss()).epsilon(4 * tolerance<T>(chain_dim)));

        const auto check = [&](const Matrix& got, Matrix Chain::*part) {
            Chain at = chain;
            const auto want = differences(chain.*part, [&](const Matrix& value) {
                at.*part = value;
                return at.loss();
            });
            CHECK(distance(got, want) < 4 * gradient_tolerance<T>(chain_dim));
        };
        check(download(x.grad()), &Chain::x);
        check(download(norm.grad()), &Chain::norm);
        check(download(bias.grad()), &Chain::bias);
        check(download(a.grad()), &Chain::a);
        check(download(b.grad()), &Chain::b);
        check(download(head.grad()), &Chain::head);
        for (const auto& grad : {norm.grad(), bias.grad(), a.grad(), b.grad(), head.grad()}) { grad.clear(); }
        x.grad().clear();
        if (round == 0) { asked = from->system_calls(); }
    }
    CHECK(from->system_calls() == asked);  // the second step of a shape asks the system for no memory
}

TEST_CASE_TEMPLATE("chain: a counting pool plans the memory of a step and runs no kernel", Case, GRAFT_TEST_TYPES)
{
    using Dev = typename Case::Dev;  // needs no device: it must work where the step itself could not
    using T = typename Case::T;
    using M = Shape<dyn, dyn>;
    const auto from = Pool<Dev>::create({.counting = true});
    const auto head = Param<T, M, Dev>(Tensor<acc<T>, M, Dev>(chain_vocab, chain_dim, from));
    const auto norm = Frozen<T, Shape<dyn>, Dev>(Tensor<T, Shape<dyn>, Dev>(1, chain_dim, from));
    Tape tape;
    auto x = Tensor<T, M, Dev>(chain_rows, chain_dim, from);
    x.on(&tape).want_grad();
    const auto loss = cross_entropy(matmul(rms_norm(x, norm), head), Buffer<std::int32_t, Dev>(chain_rows, from));
    CHECK(tape.size() == 3);
    tape.backward(loss);
    CHECK(from->peak_bytes() > 0);
    CHECK(from->system_calls() == 0);
}
