#include "graft/ops/attention/cpu.hpp"

#include "support.hpp"

// attention of two causal documents, nine query heads on three of keys and values, heads of 64. Operations are
// those below the diagonal: two products forward, five backward, where the scores are formed again.
namespace {

using namespace graft_bench;

template <class T> struct Case {
    Acts<T, dyn, Cpu> q, k, v, dy;
    Context<T, Cpu> context;
    std::int64_t head = 0;
    double pairs = 0;  // of a query and a key that it sees, in all heads

    Case(Inputs in, std::int64_t documents, std::int64_t tokens)
        : q(in.input<T>(documents * tokens, smol::heads * smol::head, 2)),
          k(in.input<T>(documents * tokens, smol::kv_heads * smol::head, 2)),
          v(in.input<T>(documents * tokens, smol::kv_heads * smol::head)),
          dy(in.rows<T>(documents * tokens, smol::heads * smol::head)),
          context(context_for<T, Cpu>(std::vector<std::int64_t>(std::size_t(documents), tokens), nullptr)),
          head(smol::head), pairs(double(smol::heads * documents) * double(tokens) * double(tokens + 1) / 2)
    {}

    auto forward(TapeRef tape) { return attention(q.on(tape.tape), k, v, int(head), context); }
    void grads(auto&& use) { use(q.grad()), use(k.grad()), use(v.grad()); }
    Work forward_work() const { return {.flops = 4 * pairs * double(head)}; }
    Work backward_work() const { return {.flops = 10 * pairs * double(head)}; }
};

const bool known = add<Case>("attention/2x512", std::int64_t(2), smol::tokens)
                   && add<Case>("attention/1x2048", std::int64_t(1), 4 * smol::tokens);

}  // namespace
