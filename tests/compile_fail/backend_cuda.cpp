// error: no memory for this device here: include <graft/cuda.cuh> in a file compiled by nvcc
#include <graft/cpu.hpp>

using namespace graft;

#ifdef GRAFT_COMPILES
using Where = Cpu;
#else
using Where = Cuda;
#endif

Acts<float, 64, Where> rows() { return Acts<float, 64, Where>(4); }
