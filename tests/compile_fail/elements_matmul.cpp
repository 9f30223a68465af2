// error: matmul: x and the weight must have the same element type and device
#include <graft/cpu.hpp>

using namespace graft;

#ifdef GRAFT_COMPILES
using Weights = Frozen<bf16, Shape<128, 64>, Cpu>;
#else
using Weights = Frozen<float, Shape<128, 64>, Cpu>;
#endif

Acts<bf16, 128, Cpu> product(const Acts<bf16, 64, Cpu>& x, const Weights& w) { return matmul(x, w); }
