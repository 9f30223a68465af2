#include "graft/ops/embedding/cpu.hpp"

#include "support.hpp"

// embedding with a trained table. Backward fills the whole gradient of the table with zeros and adds the rows.
namespace {

using namespace graft_bench;

template <class T> struct Case {
    Buffer<std::int32_t, Cpu> ids;
    Param<T, Shape<dyn, dyn>, Cpu> table;
    Acts<T, dyn, Cpu> dy;

    Case(Inputs in, std::int64_t n, std::int64_t v, std::int64_t d)
        : ids(n), table(in.param<T>(v, d)), dy(in.rows<T>(n, d))
    {
        for (std::int64_t i = 0; i < n; ++i) { ids.data()[i] = in.below(v); }
    }

    auto forward(TapeRef tape) { return embedding(tape, ids, table); }
    void grads(auto&& use) { use(table.grad()); }
    double elements() const { return double(dy.rows() * dy.cols()); }
    Work forward_work() const { return {.bytes = 2 * elements() * sizeof(T)}; }
    Work backward_work() const
    {
        const double all = double(table.value().rows() * dy.cols());
        return {.bytes = all * sizeof(acc<T>) + elements() * (sizeof(T) + 2 * sizeof(acc<T>))};
    }
};

const bool known = add<Case>("embedding/1024 of 49152x576", smol::rows, smol::vocab, smol::dim);

}  // namespace
