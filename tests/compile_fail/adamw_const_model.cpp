// error: AdamW: the model is const, and a step changes it
#include <graft/cpu.hpp>

using namespace graft;

inline constexpr LlamaShape shape{.vocab = 16, .dim = 8, .ffn = 8, .layers = 1, .heads = 2, .kv_heads = 1};
using Model = Llama<shape, FullKit<float>>;

#ifdef GRAFT_COMPILES
using Given = Model;
#else
using Given = const Model;
#endif

double norm(Given& model)
{
    AdamW<float> adamw(model, {.lr = 1e-3});
    return adamw.step().grad_norm;
}
