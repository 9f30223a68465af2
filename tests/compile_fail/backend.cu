// error: no memory for this device here: include <graft/cuda.cuh> in a file compiled by nvcc
#ifdef GRAFT_COMPILES
#include <graft/cuda.cuh>
#else
#include <graft/cpu.hpp>
#endif

using namespace graft;

using Rows = Acts<float, 64, Cuda>;

Rows normed(const Rows& x, const Frozen<float, Shape<64>, Cuda>& w) { return rms_norm(x, w); }
