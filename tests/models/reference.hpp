#pragma once
#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "graft/models/llama.hpp"
#include "numbers.hpp"

// Llama in double, forward and backward, from nothing but loops: what whole models are held against. It shares no code
// with the library; weights are matrices by the names that `parts` gives.
namespace graft_test {

struct ReferenceBatch {
    std::vector<std::int64_t> lengths;  // of documents, back to back
    std::vector<std::int32_t> ids, labels;
};

class ReferenceLlama {
public:
    graft::ModelConfig c;
    std::map<std::string, Matrix> weight, grad;
    double lora_scale = 0, loss = 0;

    // Adds the loss of a batch, times scale, to loss and its gradients to grad.
    void add(const ReferenceBatch& batch, double scale)
    {
        const std::string embedding = "model.embed_tokens.weight", head = c.tied ? embedding : "lm_head.weight";
        Matrix x(std::int64_t(batch.ids.size()), c.dim);
        for (std::int64_t n = 0; n < x.rows; ++n) {
            for (std::int64_t j = 0; j < c.dim; ++j) { x(n, j) = weight.at(embedding)(batch.ids[std::size_t(n)], j); }
        }
        std::vector<Saved> saved;
        for (std::int64_t i = 0; i < c.layers; ++i) {
            saved.push_back(block(i, x, batch.lengths)), x = saved.back().out;
        }
        const Matrix normed = norm("model.norm.weight", x);
        const Matrix z = times(normed, weight.at(head), false, true);
        Matrix dz(z.rows, z.cols);
        for (std::int64_t n = 0; n < z.rows; ++n) {
            const std::int32_t label = batch.labels[std::size_t(n)];
            if (label < 0) { continue; }
            double top = z(n, 0), sum = 0;
            for (std::int64_t v = 0; v < z.cols; ++v) { top = std::fmax(top, z(n, v)); }
            for (std::int64_t v = 0; v < z.cols; ++v) { sum += std::exp(z(n, v) - top); }
            loss += scale * (top + std::log(sum) - z(n, label));
            for (std::int64_t v = 0; v < z.cols; ++v) {
                dz(n, v) = scale * (std::exp(z(n, v) - top) / sum - (v == label ? 1 : 0));
            }
        }
        note(head, times(dz, normed, true));
        Matrix dx = norm_back("model.norm.weight", x, times(dz, weight.at(head)));
        for (std::int64_t i = c.layers; i-- > 0;) { dx = block_back(i, saved[std::size_t(i)], dx, batch.lengths); }
        Matrix table(c.vocab, c.dim);
        for (std::int64_t n = 0; n < dx.rows; ++n) {
            for (std::int64_t j = 0; j < c.dim; ++j) { table(batch.ids[std::size_t(n)], j) += dx(n, j); }
        }
        note(embedding, table);
    }

private:
    struct Saved {
        Matrix in, a, q, k, v, y, middle, m, gate, up, act, out;
    };

    static Matrix sum(Matrix a, const Matrix& b)
    {
        for (std::size_t i = 0; i < a.at.size(); ++i) { a.at[i] += b.at[i]; }
        return a;
    }
    void note(const std::string& name, const Matrix& g)
    {
        const auto [at, fresh] = grad.try_emplace(name, g);
        if (!fresh) { at->second = sum(at->second, g); }
    }

    Matrix linear(const std::string& name, const Matrix& x)
    {
        Matrix y = times(x, weight.at(name + ".weight"), false, true);
        if (weight.contains(name + ".bias")) {
            for (std::int64_t n = 0; n < y.rows; ++n) {
                for (std::int64_t j = 0; j < y.cols; ++j) { y(n, j) += weight.at(name + ".bias")(0, j); }
            }
        }
        if (weight.contains(name + ".lora_A.weight")) {
            Matrix branch = times(times(x, weight.at(name + ".lora_A.weight"), false, true),
                                  weight.at(name + ".lora_B.weight"), false, true);
            for (double& each : branch.at) { each *= lora_scale; }
            y = sum(std::move(y), branch);
        }
        return y;
    }
    Matrix linear_back(const std::string& name, const Matrix& x, const Matrix& dy)
    {
        note(name + ".weight", times(dy, x, true));
        Matrix dx = times(dy, weight.at(name + ".weight"));
        Matrix bias(1, dy.cols);
        for (std::int64_t n = 0; n < dy.rows; ++n) {
            for (std::int64_t j = 0; j < dy.cols; ++j) { bias(0, j) += dy(n, j); }
        }
        note(name + ".bias", bias);
        if (weight.contains(name + ".lora_A.weight")) {
            const Matrix &a = weight.at(name + ".lora_A.weight"), &b = weight.at(name + ".lora_B.weight");
            Matrix dy_scaled = dy;
            for (double& each : dy_scaled.at) { each *= lora_scale; }
            note(name + ".lora_B.weight", times(dy_scaled, times(x, a, false, true), true));
            const Matrix dh = times(dy_scaled, b);
            note(name + ".lora_A.weight", times(dh, x, true));
            dx = sum(std::move(dx), times(dh, a));
        }
        return dx;
    }

    Matrix norm(const std::string& name, const Matrix& x)
    {
        Matrix y(x.rows, x.cols);
        for (std::int64_t n = 0; n < x.rows; ++n) {
            double squares = 0;
            for (std::int64_t j = 0; j < x.cols; ++j) { squares += x(n, j) * x(n, j); }
            const double r = 1 / std::sqrt(squares / double(x.cols) + c.eps);
            for (std::int64_t j = 0; j < x.cols; ++j) { y(n, j) = x(n, j) * r * weight.at(name)(0, j); }
        }
        return y;
    }
    Matrix norm_back(const std::string& name, const Matrix& x, const Matrix& dy)
    {
        Matrix dx(x.rows, x.cols), dw(1, x.cols);
        for (std::int64_t n = 0; n < x.rows; ++n) {
            double squares = 0, along = 0;
            for (std::int64_t j = 0; j < x.cols; ++j) {
                squares += x(n, j) * x(n, j), along += dy(n, j) * weight.at(name)(0, j) * x(n, j);
            }
            const double r = 1 / std::sqrt(squares / double(x.cols) + c.eps);
            for (std::int64_t j = 0; j < x.cols; ++j) {
                dx(n, j) = r * dy(n, j) * weight.at(name)(0, j) - r * r * r * x(n, j) * along / double(x.cols);
                dw(0, j) += dy(n, j) * x(n, j) * r;
            }
        }
        note(name, dw);
        return dx;
    }

    // Turns every head by its position's angles, or back. (Plain rotary positions.)
    Matrix turned(Matrix x, const std::vector<std::int64_t>& lengths, double sign) const
    {
        const std::int64_t half = c.head_dim / 2;
        std::int64_t row = 0;
        for (std::int64_t length : lengths) {
            for (std::int64_t p = 0; p < length; ++p, ++row) {
                for (std::int64_t at = 0; at < x.cols; at += c.head_dim) {
                    for (std::int64_t i = 0; i < half; ++i) {
                        const double angle = double(p) / std::pow(c.rope.theta, 2.0 * double(i) / double(c.head_dim));
                        const double s = sign * std::sin(angle), cs = std::cos(angle);
                        const double a = x(row, at + i), b = x(row, at + half + i);
                        x(row, at + i) = a * cs - b * s, x(row, at + half + i) = b * cs + a * s;
                    }
                }
            }
        }
        return x;
    }

    // y of attention, and where dy is given the gradients too.
    Matrix attention(const Matrix& q, const Matrix& k, const Matrix& v, const std::vector<std::int64_t>& lengths,
                     const Matrix* dy, Matrix* dq, Matrix* dk, Matrix* dv) const
    {
        Matrix y(q.rows, q.cols);
        const double scale = 1 / std::sqrt(double(c.head_dim));
        std::int64_t first = 0;
        for (std::int64_t length : lengths) {
            for (std::int64_t h = 0; h < c.heads; ++h) {
                const std::int64_t at = h * c.head_dim, from = h / (c.heads / c.kv_heads) * c.head_dim;
                for (std::int64_t i = first; i < first + length; ++i) {
                    std::vector<double> p, dp;
                    double total = 0, along = 0;
                    for (std::int64_t j = first; j <= i; ++j) {
                        double score = 0, up = 0;
                        for (std::int64_t e = 0; e < c.head_dim; ++e) {
                            score += q(i, at + e) * k(j, from + e);
                            if (dy != nullptr) { up += (*dy)(i, at + e) * v(j, from + e); }
                        }
                        p.push_back(std::exp(score * scale)), dp.push_back(up);
                        total += p.back();
                    }
                    for (std::size_t j = 0; j < p.size(); ++j) { p[j] /= total, along += p[j] * dp[j]; }
                    for (std::int64_t j = first; j <= i; ++j) {
                        const double pj = p[std::size_t(j - first)],
                                     ds = pj * (dp[std::size_t(j - first)] - along) * scale;
                        for (std::int64_t e = 0; e < c.head_dim; ++e) {
                            y(i, at + e) += pj * v(j, from + e);
                            if (dy == nullptr) { continue; }
                            (*dq)(i, at + e) += ds * k(j, from + e);
                            (*dk)(j, from + e) += ds * q(i, at + e);
                            (*dv)(j, from + e) += pj * (*dy)(i, at + e);
                        }
                    }
                }
            }
            first += length;
        }
        return y;
    }

    Saved block(std::int64_t i, const Matrix& x, const std::vector<std::int64_t>& lengths)
    {
        const std::string at = "model.layers." + std::to_string(i) + ".";
        Saved s;
        s.in = x;
        s.a = norm(at + "input_layernorm.weight", x);
        s.q = turned(linear(at + "self_attn.q_proj", s.a), lengths, 1);
        s.k = turned(linear(at + "self_attn.k_proj", s.a), lengths, 1);
        s.v = linear(at + "self_attn.v_proj", s.a);
        s.y = attention(s.q, s.k, s.v, lengths, nullptr, nullptr, nullptr, nullptr);
        s.middle = sum(linear(at + "self_attn.o_proj", s.y), x);
        s.m = norm(at + "post_attention_layernorm.weight", s.middle);
        s.gate = linear(at + "mlp.gate_proj", s.m), s.up = linear(at + "mlp.up_proj", s.m);
        s.act = s.gate;
        for (std::size_t e = 0; e < s.act.at.size(); ++e) {
            s.act.at[e] = s.gate.at[e] / (1 + std::exp(-s.gate.at[e])) * s.up.at[e];
        }
        s.out = sum(linear(at + "mlp.down_proj", s.act), s.middle);
        return s;
    }
    Matrix block_back(std::int64_t i, const Saved& s, const Matrix& dout, const std::vector<std::int64_t>& lengths)
    {
        const std::string at = "model.layers." + std::to_string(i) + ".";
        const Matrix dact = linear_back(at + "mlp.down_proj", s.act, dout);
        Matrix dgate = dact, dup = dact;
        for (std::size_t e = 0; e < dact.at.size(); ++e) {
            const double g = s.gate.at[e], sigmoid = 1 / (1 + std::exp(-g));
            dgate.at[e] = dact.at[e] * s.up.at[e] * (sigmoid + g * sigmoid * (1 - sigmoid));
            dup.at[e] = dact.at[e] * g * sigmoid;
        }
        const Matrix dm = sum(linear_back(at + "mlp.gate_proj", s.m, dgate), linear_back(at + "mlp.up_proj", s.m, dup));
        const Matrix dmiddle = sum(norm_back(at + "post_attention_layernorm.weight", s.middle, dm), dout);
        const Matrix dy = linear_back(at + "self_attn.o_proj", s.y, dmiddle);
        Matrix dq(s.q.rows, s.q.cols), dk(s.k.rows, s.k.cols), dv(s.v.rows, s.v.cols);
        attention(s.q, s.k, s.v, lengths, &dy, &dq, &dk, &dv);
        Matrix da = linear_back(at + "self_attn.q_proj", s.a, turned(std::move(dq), lengths, -1));
        da = sum(std::move(da), linear_back(at + "self_attn.k_proj", s.a, turned(std::move(dk), lengths, -1)));
        da = sum(std::move(da), linear_back(at + "self_attn.v_proj", s.a, dv));
        return sum(norm_back(at + "input_layernorm.weight", s.in, da), dmiddle);
    }
};

// Fills every part of a model with made-up numbers: norms around 1, adapters on both sides, NF4 from quantised numbers.
template <class Model> void fill_model(Model& model, std::uint64_t seed = 1)
{
    graft::modules(model, [&](const std::string&, auto& module) {
        if constexpr (requires {
                          module.weight.view().codes;
                          module.in;
                      }) {
            const std::int64_t elements = module.in * module.out;
            const auto values = filled<float>(1, elements, ++seed, 0.3);
            std::vector<std::uint8_t> codes(graft::nf4::bytes_of(std::size_t(elements)));
            std::vector<float> absmax(graft::nf4::blocks_of(std::size_t(elements), 64));
            graft::nf4::quantize(std::span<const float>(values.data(), std::size_t(elements)), 64, codes, absmax);
            module.weight = {module.out, module.in, codes, absmax, 64};
        }
    });
    graft::leaves(model, [&](const std::string& name, auto& leaf) {
        if constexpr (requires { leaf.value(); }) {
            fill(leaf.value(), ++seed, 0.3);
            if (name.find("norm") != std::string::npos) {
                for (std::int64_t j = 0; j < leaf.value().cols(); ++j) {
                    using M = std::remove_reference_t<decltype(leaf.value().data()[0])>;
                    leaf.value().data()[j] = M(graft::acc<M>(leaf.value().data()[j]) + graft::acc<M>(1));
                }
            }
            if constexpr (std::remove_cvref_t<decltype(leaf)>::trainable) { refresh(leaf); }
        }
    });
}

// The reference with the weights that a model computes with.
template <class Model> ReferenceLlama reference_of(Model& model, double lora_scale)
{
    ReferenceLlama out;
    out.c = model.config, out.lora_scale = lora_scale;
    graft::leaves(model, [&](const std::string& name, auto& leaf) {
        if constexpr (requires { leaf.working(); }) {
            out.weight[name] = matrix(leaf.working());
        } else {
            const auto w = leaf.view();
            Matrix& to = out.weight[name] = Matrix(w.rows, w.cols);
            for (std::size_t i = 0; i < to.at.size(); ++i) {
                const int nibble = i % 2 == 0 ? w.codes[i / 2] >> 4 : w.codes[i / 2] & 15;
                to.at[i] = double(graft::nf4::code.at[nibble] * w.absmax[i / 64]);
            }
        }
    });
    return out;
}

// Runs the library's model over a batch: returns scale times the loss, adds gradients.
template <class Model>
double add_batch(Model& model, const ReferenceBatch& batch, double scale, bool recompute,
                 const std::shared_ptr<graft::Pool<graft::Cpu>>& pool)
{
    using T = typename Model::T;
    auto ids = graft::Buffer<std::int32_t, graft::Cpu>(std::int64_t(batch.ids.size()), pool);
    std::copy(batch.ids.begin(), batch.ids.end(), ids.data());
    auto context = graft::context_for<T, graft::Cpu>(batch.lengths, model.positions(100), pool);
    context.training = true, context.recompute = recompute;
    graft::Tape tape;
    const auto loss = model.loss(tape, ids, context, batch.labels, scale);
    const double value = graft::item(loss);
    tape.backward(loss);
    return value;
}

}  // namespace graft_test
