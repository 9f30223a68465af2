// error: matmul: the last extent of x must equal In of the weight
#include <graft/cpu.hpp>

using namespace graft;

struct Mlp {
    Linear<64, 256> wide;
#ifdef GRAFT_COMPILES
    Linear<256, 64> narrow;
#else
    Linear<64, 256> narrow;
#endif
    auto operator()(const Acts<float, 64, Cpu>& x) const { return narrow(wide(x)); }
};

auto run(const Mlp& mlp, const Acts<float, 64, Cpu>& x) { return mlp(x); }
