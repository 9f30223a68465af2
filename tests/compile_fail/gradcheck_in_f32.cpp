// error: gradcheck: an input must be a Tensor or a Param in f64
#include <graft/autograd/gradcheck.hpp>
#include <graft/cpu.hpp>

using namespace graft;

#ifdef GRAFT_COMPILES
using Rows = Acts<double, 8, Cpu>;
#else
using Rows = Acts<float, 8, Cpu>;
#endif

double worst(Rows& x)
{
    return gradcheck([&](TapeRef) { return probe(x + x); }, {{"x", x}}).worst;
}
