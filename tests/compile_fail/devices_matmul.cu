// error: matmul: x and the weight must have the same element type and device
#include <graft/cuda.cuh>

using namespace graft;

#ifdef GRAFT_COMPILES
using Weights = Frozen<float, Shape<128, 64>, Cuda>;
#else
using Weights = Frozen<float, Shape<128, 64>, Cpu>;
#endif

Acts<float, 128, Cuda> product(const Acts<float, 64, Cuda>& x, const Weights& w) { return matmul(x, w); }
