// error: gradcheck: an input must be a Tensor or a Param in f64: a Frozen weight has no gradient
#include <graft/autograd/gradcheck.hpp>
#include <graft/cpu.hpp>

using namespace graft;

#ifdef GRAFT_COMPILES
using Scale = Param<double, Shape<8>, Cpu>;
#else
using Scale = Frozen<double, Shape<8>, Cpu>;
#endif

double worst(Acts<double, 8, Cpu>& x, Scale& w)
{
    return gradcheck([&](TapeRef) { return probe(rms_norm(x, w)); }, {{"x", x}, {"w", w}}).worst;
}
