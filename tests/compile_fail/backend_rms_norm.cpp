// error: no kernels for this device here: include <graft/cpu.hpp>, or <graft/cuda.cuh>
#include <graft/ops/rms_norm.hpp>
#ifdef GRAFT_COMPILES
#include <graft/ops/rms_norm/cpu.hpp>
#endif

using namespace graft;

Acts<float, 64, Cpu> normed(const Acts<float, 64, Cpu>& x, const Param<float, Shape<64>, Cpu>& w)
{
    return rms_norm(x, w);
}
