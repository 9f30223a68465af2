#include "../ops/rms_norm.cpp"  // the same cases, for Cuda
