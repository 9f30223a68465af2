// error: rms_norm: x and w must have the same element type and device
#include <graft/cpu.hpp>

using namespace graft;

#ifdef GRAFT_COMPILES
using Scale = Frozen<bf16, Shape<64>, Cpu>;
#else
using Scale = Frozen<float, Shape<64>, Cpu>;
#endif

Acts<bf16, 64, Cpu> normed(const Acts<bf16, 64, Cpu>& x, const Scale& w) { return rms_norm(x, w); }
