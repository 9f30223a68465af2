// error: lora: the ranks of A and B must be equal
#include <graft/cpu.hpp>

using namespace graft;

using A = Param<float, Shape<8, 64>, Cpu>;
#ifdef GRAFT_COMPILES
using B = Param<float, Shape<128, 8>, Cpu>;
#else
using B = Param<float, Shape<128, 16>, Cpu>;
#endif

Acts<float, 128, Cpu> adapted(Acts<float, 128, Cpu> y, const Acts<float, 64, Cpu>& x, const A& a, const B& b)
{
    return lora(std::move(y), x, a, b, 2.0);
}
