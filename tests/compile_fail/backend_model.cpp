// error: no kernels for this device here: include <graft/cpu.hpp>, or <graft/cuda.cuh>
#ifdef GRAFT_COMPILES
#include <graft/cpu.hpp>
#else
#include <graft/graft.hpp>
#endif

using namespace graft;

double loss(const AnyModel<float>& model, Tape& tape, const Buffer<std::int32_t, Cpu>& ids,
            const Context<float, Cpu>& context, std::span<const std::int32_t> labels)
{
    return item(model.loss(tape, ids, context, labels, 1.0));
}
