#pragma once
#include "graft/core/device.hpp"
#include "graft/core/dtype.hpp"
#include "graft/core/shape.hpp"

// The names of what others pass about by reference: for headers of yours that need no more of graft than that. Default
// arguments of templates stand with their definitions, so AdamW is AdamW<float, Cpu> here.
namespace graft {

// core
class Error;
template <Device Dev> class Pool;
template <class T, Device Dev> class Buffer;
template <class T, int D> struct View;
template <Float T, class S, Device Dev> class Tensor;

// autograd
class Tape;
struct TapeRef;
template <Float T, Device Dev> class Grad;
template <Float T, class S, Device Dev> class Frozen;
template <Float T, class S, Device Dev> class Param;

// ops, nn, models
template <Float T, Device Dev> struct Context;
template <Float T, Device Dev> struct KvCache;
template <Float T, Device Dev> struct RopeTable;
template <Float T, Device Dev> struct TrainedTensor;
template <class S, Device Dev> class Nf4Weight;
struct AdapterConfig;
struct GenerateOptions;
struct ModelConfig;
struct ModelOptions;
struct RopeSettings;

// optim
struct AdamWOptions;
struct StepInfo;
template <Float T, Device Dev> class AdamW;

// io, checkpoint
class AtomicFile;
class Checkpoint;
class SafetensorsFile;
class Sha256;
struct Audit;
struct Loaded;
struct LoadOptions;

// text
class ChatTemplate;
class JinjaTemplate;
class Tokenizer;
struct Dataset;
struct Example;

// train
class Batches;
struct Batch;
struct MemoryPlan;
struct PreferenceData;
struct RunState;
struct StepMetrics;
struct StepSettings;

}  // namespace graft
