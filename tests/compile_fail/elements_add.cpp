// error: add: both tensors must have the same element type
#include <graft/cpu.hpp>

using namespace graft;

#ifdef GRAFT_COMPILES
using Checked = double;
#else
using Checked = float;
#endif

Acts<double, 64, Cpu> residual(const Acts<double, 64, Cpu>& x, const Acts<Checked, 64, Cpu>& delta)
{
    return x + delta;
}
