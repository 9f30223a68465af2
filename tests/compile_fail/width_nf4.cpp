// error: nf4_matmul: the last extent of x must equal In of the weight
#include <graft/cpu.hpp>

using namespace graft;

#ifdef GRAFT_COMPILES
using Down = Nf4Linear<256, 64, bf16>;
#else
using Down = Nf4Linear<64, 256, bf16>;
#endif

auto run(const Down& down, const Acts<bf16, 256, Cpu>& h) { return down(h); }
