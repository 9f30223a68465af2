// error: silu_mul: the last extents of gate and up must be equal
#include <graft/cpu.hpp>

using namespace graft;

struct Gate {
    Linear<64, 256> gate;
#ifdef GRAFT_COMPILES
    Linear<64, 256> up;
#else
    Linear<64, 128> up;
#endif
    auto operator()(const Acts<float, 64, Cpu>& x) const { return silu_mul(gate(x), up(x)); }
};

auto run(const Gate& part, const Acts<float, 64, Cpu>& x) { return part(x); }
