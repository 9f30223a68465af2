// error: an NF4 weight has no gradient: train an adapter over it
#include <graft/cpu.hpp>

using namespace graft;

inline constexpr LlamaShape small{.vocab = 512, .dim = 64, .ffn = 172, .layers = 5, .heads = 8, .kv_heads = 4};

bool learnt(const LlamaMlp<small, QloraKit<bf16>>& mlp)
{
#ifdef GRAFT_COMPILES
    return mlp.down.branch.a.grad().written();
#else
    return mlp.down.base.weight.grad().written();
#endif
}
