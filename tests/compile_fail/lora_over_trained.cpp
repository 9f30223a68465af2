// error: Lora: the base must be frozen: use FrozenLinear or Nf4Linear
#include <graft/cpu.hpp>

using namespace graft;

#ifdef GRAFT_COMPILES
using Proj = Lora<FrozenLinear<64, 64>, 8>;
#else
using Proj = Lora<Linear<64, 64>, 8>;
#endif

Proj make() { return Proj(64, 64, false, Pool<Cpu>::common()); }
