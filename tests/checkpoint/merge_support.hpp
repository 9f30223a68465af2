#pragma once
#include "checkpoint_support.hpp"

#include "graft/checkpoint/adapter.hpp"
#include "graft/checkpoint/load_model.hpp"
#include "graft/checkpoint/merge.hpp"
#include "graft/cpu.hpp"

// Made-up adapters for the tiny model, and what merging them should give, computed from the files in plain f64.
namespace graft_test {

struct Made {
    std::int64_t rank = 2;
    double alpha = 4;
    bool rslora = false;
    std::uint64_t seed = 1;
    bool tied = false;
    std::vector<std::string> targets{};  // none: all
    std::vector<std::pair<std::string, std::int64_t>> ranks{};
    std::vector<std::int64_t> tokens{};  // whose rows of the embedding are trained
};

inline graft::AdapterConfig config_of(const Made& made)
{
    graft::AdapterConfig config;
    config.rank = made.rank, config.alpha = made.alpha, config.rslora = made.rslora, config.rank_pattern = made.ranks;
    using Kind = graft::ModuleChoice::Kind;
    config.targets.kind = made.targets.empty() ? Kind::all_linear : Kind::list;
    config.targets.names = made.targets;
    config.trained_tokens = made.tokens;
    return config;
}

// Neither A nor B is zero. Of a tied model that LoRA on the embedding unties, it is trained untied.
inline fs::path made_adapter(const fs::path& folder, const Made& made)
{
    fs::create_directories(folder);
    const auto config = config_of(made);
    const bool untied = graft::adapter_targets(config, tiny_config(made.tied)).saved.untie;
    auto model = graft::make_model<float>(tiny_config(made.tied && !untied), {});
    graft::add_adapter(model, config, made.seed);
    int at = int(made.seed) * 17;
    graft::leaves(model, [&](const std::string& name, auto& leaf) {
        if constexpr (requires { leaf.value(); }) {
            if (!name.ends_with("lora_B.weight") && !name.ends_with("lora_embedding_A")
                && !name.ends_with("trainable_tokens_delta")) {
                return;
            }
            auto view = leaf.value().view();
            using Value = std::remove_pointer_t<decltype(view.data)>;
            for (std::int64_t i = 0; i < view.rows; ++i) {
                for (std::int64_t j = 0; j < view.cols(); ++j) { view.row(i)[j] = Value(float(++at % 89 - 44) / 61); }
            }
        }
    });
    graft::save_adapter(model, folder);
    return folder;
}

inline std::vector<double> values_in(const Tensors::One& tensor)
{
    const graft::StoredTensor stored{tensor.name, *graft::stored_type(tensor.dtype), tensor.shape,
                                     std::as_bytes(std::span(tensor.bytes))};
    return graft::detail::all_values(stored);
}

// Overwrites the first elements of an F32 tensor; the rest becomes zero.
inline void set(Tensors::One& tensor, std::vector<float> values)
{
    REQUIRE(tensor.dtype == "F32");
    values.resize(tensor.bytes.size() / sizeof(float));
    std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
}

// W + sum of s B A, by three loops; of the embedding, its transpose; then the rows of tokens.
inline std::vector<double> reference(const Tensors::One& weight, const std::vector<fs::path>& adapters)
{
    auto out = values_in(weight);
    const std::string module = weight.name.substr(0, weight.name.rfind('.'));
    for (const auto& folder : adapters) {
        auto file = Tensors::read(folder / "adapter_model.safetensors");
        const std::string name = "base_model.model." + module;
        const auto settings = nlohmann::json::parse(read_text(folder / "adapter_config.json"));
        const auto cols = std::size_t(weight.shape.back());
        if (const auto rows = name + ".token_adapter.trainable_tokens_delta"; file.has(rows)) {
            const auto tokens = settings["trainable_token_indices"]["embed_tokens"].get<std::vector<std::size_t>>();
            const auto values = values_in(file.at(rows));
            for (std::size_t i = 0; i < values.size(); ++i) { out[tokens[i / cols] * cols + i % cols] = values[i]; }
        }
        const bool embedding = file.has(name + ".lora_embedding_A");
        const std::string name_a = name + (embedding ? ".lora_embedding_A" : ".lora_A.weight"),
                          name_b = name + (embedding ? ".lora_embedding_B" : ".lora_B.weight");
        if (!file.has(name_a)) { continue; }
        const auto a = values_in(file.at(name_a)), b = values_in(file.at(name_b));
        const auto rank = std::size_t(file.at(name_a).shape[0]), vocab = a.size() / rank;
        const double scale = settings["lora_alpha"].get<double>()
                             / (settings["use_rslora"].get<bool>() ? std::sqrt(double(rank)) : double(rank));
        for (std::size_t i = 0; i < out.size(); ++i) {
            double sum = 0;
            for (std::size_t k = 0; k < rank; ++k) {
                sum += embedding ? b[i % cols * rank + k] * a[k * vocab + i / cols]
                                 : b[i / cols * rank + k] * a[k * cols + i % cols];
            }
            out[i] += scale * sum;
        }
    }
    return out;
}

// The number of a type that is nearest to x, found among the neighbours of a first guess; of two, the even one.
inline double nearest(double x, graft::StoredType type)
{
    if (type == graft::StoredType::f32) { return double(float(x)); }
    const auto value = [&](std::uint16_t bits) {
        return type == graft::StoredType::bf16 ? double(float(std::bit_cast<graft::bf16>(bits)))
                                               : double(float(std::bit_cast<graft::f16>(bits)));
    };
    const bool is_bf16 = type == graft::StoredType::bf16;
    const std::uint16_t guess = is_bf16 ? graft::bf16(float(x)).bits : graft::f16(float(x)).bits;
    std::uint16_t best = guess;
    for (const int step : {-1, 1}) {
        const auto other = std::uint16_t(guess + step);
        if (!std::isfinite(value(other))) { continue; }
        const double d = std::abs(value(other) - x), least = std::abs(value(best) - x);
        if (d < least || (d == least && other % 2 == 0)) { best = other; }
    }
    return value(best);
}

// Logits of one row of ids, as f64.
template <class Model> std::vector<double> logits_of(const Model& model, const std::vector<std::int32_t>& ids)
{
    using T = typename Model::T;
    const auto n = std::int64_t(ids.size());
    graft::Buffer<std::int32_t, graft::Cpu> buffer(n), positions(n);
    for (std::int64_t i = 0; i < n; ++i) { buffer.data()[i] = ids[std::size_t(i)], positions.data()[i] = int(i); }
    graft::Context<T, graft::Cpu> context;
    context.positions = positions;
    context.segments = std::make_shared<const std::vector<graft::Segment>>(1, graft::Segment{0, n, 0, 0, 0});
    context.rope = model.positions(n);
    const auto z = model(graft::no_tape, buffer, context);
    std::vector<double> out;
    for (std::int64_t i = 0; i < z.rows(); ++i) {
        for (std::int64_t j = 0; j < z.cols(); ++j) { out.push_back(double(z.view().row(i)[j])); }
    }
    return out;
}

inline double largest_difference(const std::vector<double>& a, const std::vector<double>& b)
{
    REQUIRE(a.size() == b.size());
    double most = 0;
    for (std::size_t i = 0; i < a.size(); ++i) { most = std::max(most, std::abs(a[i] - b[i])); }
    return most;
}

inline graft::MergeReceipt merge(const fs::path& base, const std::vector<fs::path>& adapters, const fs::path& out,
                                 const graft::MergeOptions& options = {})
{
    const auto config = graft::read_config(base);
    std::vector<graft::StoredAdapter> files;
    for (const auto& folder : adapters) { files.push_back(graft::StoredAdapter::open(folder, config)); }
    return graft::merge_adapter(base, files, out, options);
}

}  // namespace graft_test
