// error: a Frozen weight has no gradient: make it a Param to train it
#include <graft/cpu.hpp>

using namespace graft;

bool learnt(const Lora<FrozenLinear<64, 64>, 8>& layer)
{
#ifdef GRAFT_COMPILES
    return layer.branch.b.grad().written();
#else
    return layer.base.weight.grad().written();
#endif
}
