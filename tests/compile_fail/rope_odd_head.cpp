// error: llama: the head size must be even
#include <graft/cpu.hpp>

using namespace graft;

#ifdef GRAFT_COMPILES
inline constexpr LlamaShape shape{.vocab = 512, .dim = 64, .ffn = 172, .layers = 5, .heads = 8, .kv_heads = 4};
#else
inline constexpr LlamaShape shape{.vocab = 512, .dim = 72, .ffn = 172, .layers = 5, .heads = 8, .kv_heads = 4};
#endif

Llama<shape, FullKit<float>> make() { return Llama<shape, FullKit<float>>(config_of(shape)); }
