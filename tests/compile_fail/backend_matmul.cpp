// error: no kernels for this device here: include <graft/cpu.hpp>, or <graft/cuda.cuh>
#ifdef GRAFT_COMPILES
#include <graft/cpu.hpp>
#else
#include <graft/ops/matmul.hpp>
#endif

using namespace graft;

Acts<float, 128, Cpu> product(const Acts<float, 64, Cpu>& x, const Frozen<float, Shape<128, 64>, Cpu>& w)
{
    return matmul(x, w);
}
