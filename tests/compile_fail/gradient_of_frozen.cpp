// error: a Frozen weight has no gradient: make it a Param to train it
#include <graft/cpu.hpp>

using namespace graft;

double first(const Frozen<float, Shape<64>, Cpu>& frozen, const Param<float, Shape<64>, Cpu>& trained)
{
#ifdef GRAFT_COMPILES
    static_cast<void>(frozen);
    return trained.grad().view().data[0];
#else
    static_cast<void>(trained);
    return frozen.grad().view().data[0];
#endif
}
