// error: linear: x must have the element type of the layer
#include <graft/cpu.hpp>

using namespace graft;

#ifdef GRAFT_COMPILES
Linear<64, 128, bf16> layer;
#else
Linear<64, 128> layer;  // of f32
#endif

auto run(const Acts<bf16, 64, Cpu>& x) { return layer(x); }
