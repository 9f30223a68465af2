#include "../ops/cross_entropy.cpp"  // the same cases, for Cuda
