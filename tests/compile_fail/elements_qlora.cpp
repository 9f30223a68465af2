// error: linear: x must have the element type of the layer
#include <graft/cpu.hpp>

using namespace graft;

#ifdef GRAFT_COMPILES
using Proj = Lora<Nf4Linear<64, 128, bf16>, 8>;
#else
using Proj = Lora<Nf4Linear<64, 128, float>, 8>;
#endif

auto run(const Proj& proj, const Acts<bf16, 64, Cpu>& x, const Context<Proj::T, Cpu>& context)
{
    return proj(x, context);
}
