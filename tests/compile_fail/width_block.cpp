// error: matmul: the last extent of x must equal In of the weight
#include <graft/cpu.hpp>

using namespace graft;

template <LlamaShape S, class Kit> struct PlainMlp {  // a block's MLP without a gate
    typename Kit::template Proj<S.dim, S.ffn> up;
#ifdef GRAFT_COMPILES
    typename Kit::template Proj<S.ffn, S.dim> down;
#else
    typename Kit::template Proj<S.dim, S.dim> down;
#endif
    using T = typename Kit::T;
    Acts<T, S.dim, Cpu> operator()(const Acts<T, S.dim, Cpu>& x, const Context<T, Cpu>& context) const
    {
        return down(up(x, context), context);
    }
};

inline constexpr LlamaShape small{.vocab = 512, .dim = 64, .ffn = 172, .layers = 5, .heads = 8, .kv_heads = 4};
using Mlp = PlainMlp<small, LoraKit<float>>;

auto run(const Mlp& mlp, const Acts<float, 64, Cpu>& x, const Context<float, Cpu>& context) { return mlp(x, context); }
