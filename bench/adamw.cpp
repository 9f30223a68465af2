#include "graft/cpu.hpp"

#include "support.hpp"

// AdamW on the adapters of SmolLM2-135M, r = 16 on all linears: 4.9 M parameters in 420 tensors, with clipping. Least
// bytes: the norm reads g; the step reads p, g, m, v and writes p, m, v; with bf16 the working copy is refreshed too.
namespace {

using namespace graft_bench;

template <Float T_> struct Adapters {
    using T = T_;
    using Dev = Cpu;
    struct Tensors {
        std::vector<Param<T, Shape<dyn, dyn>, Cpu>> each;
        static void parts(auto& self, auto&& part)
        {
            for (std::size_t i = 0; i < self.each.size(); ++i) { part(std::to_string(i), self.each[i]); }
        }
    } tensors;

    explicit Adapters(Inputs& in, std::int64_t layers)
    {
        constexpr auto kv = smol::kv_heads * smol::head;
        for (std::int64_t l = 0; l < layers; ++l) {
            for (const auto& [from, to] : {std::pair{smol::dim, smol::dim},
                                           {smol::dim, kv},
                                           {smol::dim, kv},
                                           {smol::dim, smol::dim},
                                           {smol::dim, smol::ffn},
                                           {smol::dim, smol::ffn},
                                           {smol::ffn, smol::dim}}) {
                tensors.each.push_back(in.param<T>(smol::rank, from, 0.05));
                tensors.each.push_back(in.param<T>(to, smol::rank, 0.05));
            }
        }
    }
    static void parts(auto& self, auto&& part) { part("adapters", self.tensors); }
};

template <Float T> struct Training {
    Inputs in;
    Adapters<T> model;
    AdamW<T> adamw;

    Training(bool half, std::int64_t layers)
        : in{half}, model(in, layers), adamw(model, {.lr = 1e-3, .weight_decay = 0.01, .clip = 1.0})
    {}

    double step()
    {
        for (const auto& tensor : adamw.trained()) {
            const auto to = tensor.grad.sink().view;
            in.drawn = std::uint64_t(to.cols());  // the same every time: what is timed is the step
            in.fill(to, 0.01);
        }
        return seconds_of([&] { adamw.step().check(); });
    }
};

template <Float T> void run(benchmark::State& state, const std::string& name)
{
    struct Now {
        std::shared_ptr<Training<T>> training;
        double error = 0, parameters = 0;
    };
    constexpr bool half = std::same_as<T, bf16>;
    Now& now = kept<Now>(name, [&] {
        Training<T> got(half, 2);
        Training<double> exact(half, 2);
        for (int i = 0; i < 3; ++i) { got.step(), exact.step(); }
        Now made{std::make_shared<Training<T>>(half, smol::layers)};
        for (std::size_t i = 0; i < exact.adamw.trained().size(); ++i) {
            const auto& mine = got.adamw.trained()[i].value;
            const auto& other = exact.adamw.trained()[i].value;
            made.error = std::max(made.error, distance(doubles(mine.view()), doubles(other.view())));
        }
        for (const auto& t : made.training->adamw.trained()) {
            made.parameters += double(t.value.rows() * t.value.cols());
        }
        return made;
    });
    double seconds = 0;
    for (auto _ : state) {
        const double t = now.training->step();
        state.SetIterationTime(t);
        seconds += t;
    }
    report(state, {.bytes = now.parameters * (32 + (half ? 2 : 0))}, seconds / double(state.iterations()), now.error);
}

template <Float T> bool add_run(const std::string& name)
{
    benchmark::RegisterBenchmark(name.c_str(), [name](benchmark::State& state) { run<T>(state, name); })
        ->UseManualTime()
        ->MinTime(0.05)
        ->Unit(benchmark::kMicrosecond);
    return true;
}
const bool known = add_run<float>("adamw/4.9M parameters/f32") && add_run<bf16>("adamw/4.9M parameters/bf16");

}  // namespace
