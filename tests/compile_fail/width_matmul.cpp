// error: matmul: the last extent of x must equal In of the weight
#include <graft/cpu.hpp>

using namespace graft;

Acts<float, 128, Cpu> product(const Acts<float, 64, Cpu>& x)
{
#ifdef GRAFT_COMPILES
    const Frozen<float, Shape<128, 64>, Cpu> w(Tensor<float, Shape<128, 64>, Cpu>(128));
#else
    const Frozen<float, Shape<128, 48>, Cpu> w(Tensor<float, Shape<128, 48>, Cpu>(128));
#endif
    return matmul(x, w);
}
