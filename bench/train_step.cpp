#include "train_step_model.hpp"

// The whole training step: forward, backward, clipping, AdamW. Each row is a process of its own that steps when asked;
// where GRAFT_BENCH_PYTHON names a Python with PyTorch, peer_torch_step.py does the same step, and the two take turns.
//
//   tokens/s        of the two documents of 512 tokens; the first step of a process is not counted
//   of FMA peak     operations by formula (below) a second over the f32 peak, measured between the steps: the share of
//                   the compute floor. bf16 is held against the same peak
//   peak MiB        of memory resident in the process (VmHWM), its start included
//   error           of all gradients together on one row of 64 tokens against f64, relative; loss error: of the loss
namespace {

using namespace graft_bench;

// Operations of one step: a product of the base forward and for dx; the head twice; an adapter's product three times;
// attention below the diagonal, two products forward and five backward. Nothing else is counted.
double step_operations()
{
    constexpr double dim = smol::dim, ffn = smol::ffn, kv = smol::kv_heads * smol::head, rows = smol::rows;
    constexpr double base = 2 * dim * dim + 2 * dim * kv + 3 * dim * ffn;
    constexpr double adapters = smol::rank * (4 * dim + 2 * (dim + kv) + 3 * (dim + ffn));
    constexpr double pairs = rows * (smol::tokens + 1) / 2 * smol::heads;
    constexpr double layer = 4 * rows * base + 6 * rows * adapters + 14 * pairs * smol::head;
    return smol::layers * layer + 4 * rows * smol::vocab * dim;
}

struct Kind {
    std::string name, method, type;  // "LoRA/f32", "lora" or "qlora", "f32" or "bf16"
    bool with_peer = false;
};

std::string python() { return std::getenv("GRAFT_BENCH_PYTHON") == nullptr ? "" : std::getenv("GRAFT_BENCH_PYTHON"); }

Worker peer_worker(const std::string& type)
{
    return Worker({python(), GRAFT_BENCH_DIR "/peer_torch_step.py", type, std::to_string(graft::threads())});
}

// What the peer took while it was the other one's turn: one a repetition, shown in a row of its own.
std::vector<StepLine>& peer_steps(const std::string& type)
{
    static std::map<std::string, std::vector<StepLine>> steps;
    return steps[type];
}

void show(benchmark::State& state, const StepLine& step, double first_loss)
{
    if (!std::isfinite(step.loss) || !(step.grad_norm > 0) || !(step.loss < first_loss)) {
        return state.SkipWithError("the loss does not fall: the time is worth nothing");
    }
    state.SetIterationTime(step.seconds);
    state.counters["tokens/s"] = double(smol::rows) / step.seconds;
    state.counters["GFLOP/s"] = step_operations() / step.seconds / 1e9;
    state.counters["of FMA peak"] = step_operations() / step.seconds / fma_peak();
    state.counters["peak MiB"] = step.peak_kib / 1024;
    state.counters["loss"] = step.loss;
}

void ours(benchmark::State& state, const Kind& kind)
{
    struct Now {
        Worker worker;
        std::vector<Worker> peer;
        double first_loss, peer_first_loss;
        Errors error;
    };
    Now& now = kept<Now>(kind.name, [&] {
        const bool nf4 = kind.method == "qlora";
        const auto error = kind.type == "f32" ? errors<float>(nf4) : errors<bf16>(nf4);
        Pool<Cpu>::common()->trim();
        Now made{Worker({"/proc/self/exe", "--worker", kind.method, kind.type}), {}, 0, 0, error};
        made.first_loss = made.worker.step().loss;
        if (kind.with_peer && !python().empty()) {
            made.peer.push_back(peer_worker(kind.type));
            made.peer_first_loss = made.peer[0].step().loss;
        }
        return made;
    });
    for (auto _ : state) {
        const StepLine step = now.worker.step();
        show(state, step, now.first_loss);
        state.counters["weights MiB"] = step.weights / (1 << 20);
        state.counters["pool MiB"] = step.pool_peak / (1 << 20);
    }
    if (!(now.error.gradient < 0.05)) { return state.SkipWithError("the gradients are wrong"); }
    state.counters["error"] = now.error.gradient;
    state.counters["loss error"] = now.error.loss;
    for (Worker& peer : now.peer) {
        peer_steps(kind.type).push_back(peer.step());
        const bool learns = peer_steps(kind.type).back().loss < now.peer_first_loss;
        if (!learns) { state.SkipWithError("the peer does not learn"); }
    }
}

void theirs(benchmark::State& state, const std::string& type)
{
    auto& steps = peer_steps(type);
    if (steps.empty()) {  // asked for alone
        auto peer = peer_worker(type);
        peer.step();
        steps.push_back(peer.step());
    }
    for (auto _ : state) { show(state, steps.front(), 1e9); }
    if (steps.size() > 1) { steps.erase(steps.begin()); }
}

template <class Run> void add_row(const std::string& name, Run run)
{
    const auto safely = [run](benchmark::State& state) {
        try {
            run(state);
        } catch (const std::exception& error) {
            state.SkipWithError(error.what());
        }
    };
    benchmark::RegisterBenchmark(("train_step/" + name).c_str(), safely)
        ->UseManualTime()
        ->Iterations(1)
        ->Unit(benchmark::kMillisecond);
}

}  // namespace

int main(int argc, char** argv)
{
    if (argc == 4 && std::string(argv[1]) == "--worker") {
        const bool nf4 = std::string(argv[2]) == "qlora";
        return std::string(argv[3]) == "f32" ? work<float>(nf4) : work<bf16>(nf4);
    }
    benchmark::Initialize(&argc, argv);
    const std::vector<Kind> kinds = {{"LoRA/f32", "lora", "f32", true},
                                     {"LoRA/bf16", "lora", "bf16", true},
                                     {"QLoRA/f32", "qlora", "f32"},
                                     {"QLoRA/bf16", "qlora", "bf16"}};
    for (const Kind& kind : kinds) {
        add_row(kind.name, [kind](benchmark::State& state) { ours(state, kind); });
        if (kind.with_peer && !python().empty()) {
            add_row("PyTorch " + kind.name, [kind](benchmark::State& state) { theirs(state, kind.type); });
        }
    }
    benchmark::RunSpecifiedBenchmarks();
}
