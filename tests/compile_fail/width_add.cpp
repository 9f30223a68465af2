// error: add: the last extents of both tensors must be equal
#include <graft/cpu.hpp>

using namespace graft;

#ifdef GRAFT_COMPILES
Acts<float, 64, Cpu> residual(const Acts<float, 64, Cpu>& x, const Acts<float, 64, Cpu>& delta)
#else
Acts<float, 64, Cpu> residual(const Acts<float, 64, Cpu>& x, const Acts<float, 48, Cpu>& delta)
#endif
{
    return x + delta;
}
