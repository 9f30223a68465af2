#include "../ops/lora.cpp"  // the same cases, for Cuda
