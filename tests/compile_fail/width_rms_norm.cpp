// error: rms_norm: the last extents of x and of w must be equal
#include <graft/cpu.hpp>

using namespace graft;

#ifdef GRAFT_COMPILES
using Scale = Param<float, Shape<64>, Cpu>;
#else
using Scale = Param<float, Shape<48>, Cpu>;
#endif

Acts<float, 64, Cpu> normed(const Acts<float, 64, Cpu>& x, const Scale& w) { return rms_norm(x, w); }
