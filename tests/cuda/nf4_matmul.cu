#include "../ops/nf4_matmul.cpp"  // the same cases, for Cuda
