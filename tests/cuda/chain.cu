#include "../ops/chain.cpp"  // the same cases, for Cuda
