#include "graft/checkpoint/audit.hpp"

#include "graft/checkpoint/adapter_config.hpp"
#include "graft/checkpoint/hf_config.hpp"
#include "graft/checkpoint/saved_types.hpp"
#include "graft/io/safetensors.hpp"
#include "support.hpp"

#include <set>

namespace {

graft::ModelConfig config(const char* name)
{
    return graft::read_config(graft_test::repo() / "data" / "configs" / (std::string(name) + ".json"));
}

// Another model of a family, by its sizes: V, D, layers, heads, key/value heads, head size, F, tied.
graft::ModelConfig sized(const char* like, std::int64_t vocab, std::int64_t dim, std::int64_t layers,
                         std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim, std::int64_t ffn, bool tied)
{
    graft::ModelConfig c = config(like);
    c.vocab = vocab, c.dim = dim, c.layers = layers, c.heads = heads, c.kv_heads = kv_heads, c.head_dim = head_dim,
    c.ffn = ffn;
    c.tied = tied;
    return c;
}

graft::Audit lora(const graft::ModelConfig& model, std::int64_t rank, bool attention_only = false,
                  graft::TrainMethod method = graft::TrainMethod::lora)
{
    graft::AdapterConfig adapter{.rank = rank};
    adapter.targets.kind = graft::ModuleChoice::Kind::all_linear;
    if (attention_only) {
        adapter.targets = {.kind = graft::ModuleChoice::Kind::list, .names = {"q_proj", "k_proj", "v_proj", "o_proj"}};
    }
    return graft::make_audit(
        model,
        {.method = method, .targets = graft::adapter_targets(adapter, model), .base_type = graft::StoredType::bf16});
}

}  // namespace

TEST_CASE("parameters of published models and their adapters")
{
    struct Row {
        graft::ModelConfig model;
        std::int64_t total, rank16;
    };
    const Row rows[] = {
        {config("SmolLM2-135M"), 134'515'008, 4'884'480},
        {sized("SmolLM2-135M", 49152, 960, 32, 15, 5, 64, 2560, true), 361'821'120, 8'683'520},
        {config("Qwen2-0.5B"), 494'032'768, 8'798'208},
        {sized("Qwen2-0.5B", 151936, 1536, 28, 12, 2, 128, 8960, true), 1'543'714'304, 18'464'768},
        {sized("Qwen2-0.5B", 152064, 3584, 28, 28, 4, 128, 18944, false), 7'615'616'512, 40'370'176},
        {config("TinyLlama-1.1B-Chat-v1.0.resaved"), 1'100'048'384, 12'615'680},
        {config("Llama-3.2-1B"), 1'235'814'400, 11'272'192},
        {sized("Llama-3.2-1B", 128256, 3072, 28, 24, 8, 128, 8192, true), 3'212'749'824, 24'313'856},
        {config("Llama-2-7b-hf"), 6'738'415'616, 39'976'960},
        {config("Llama-3.1-8B"), 8'030'261'248, 41'943'040},
        {config("Mistral-7B-v0.1"), 7'241'732'096, 41'943'040},
        {sized("Mistral-7B-v0.1", 32768, 4096, 32, 32, 8, 128, 14336, false), 7'248'023'552, 41'943'040},
        {config("Mistral-Nemo-Base-2407"), 12'247'782'400, 57'016'320},
    };
    for (const Row& row : rows) {
        const auto audit = lora(row.model, 16);
        CHECK(audit.base_parameters == row.total);
        CHECK(audit.added_parameters == row.rank16);
        CHECK(audit.trainable_parameters == row.rank16);
        CHECK(audit.parameters == row.total + row.rank16);
        const auto full = graft::make_audit(row.model, {.method = graft::TrainMethod::full});
        CHECK(full.trainable_parameters == row.total);
        CHECK(full.bytes == 4 * row.total);
    }
    const auto llama = config("Llama-3.1-8B");
    CHECK(lora(llama, 64).trainable_parameters == 167'772'160);
    CHECK(lora(llama, 64).trainable_tensors == 448);
    CHECK(lora(llama, 64, true).trainable_parameters == 54'525'952);
    CHECK(lora(llama, 8, true).trainable_parameters == 6'815'744);
}

TEST_CASE("bytes, and the table")
{
    const auto model = config("SmolLM2-135M");
    const auto dense = lora(model, 16);
    CHECK(dense.bytes == 2 * 134'515'008 + 4 * 4'884'480);
    const auto packed = lora(model, 16, false, graft::TrainMethod::qlora);
    std::int64_t blocks = 0;
    for (const auto& linear : graft::linear_modules(model)) { blocks += linear.in * linear.out / 64; }
    const std::int64_t linears = blocks * 64;
    CHECK(packed.bytes == dense.bytes - 2 * linears + linears / 2 + 4 * blocks);
    CHECK(graft::detail::nf4_bytes(65, false) == 33 + 8);
    CHECK(graft::detail::nf4_bytes(65, true) == 33 + 2 + 4 + 256 * 4);

    const std::string text = graft::to_text(dense);
    CHECK(text.find("lora A     F32              210       2,396,160        9,584,640  trainable")
          != std::string::npos);
    CHECK(text.find("trainable                   420       4,884,480                   3.504 % of all")
          != std::string::npos);
    CHECK(text.find("adapter on 210 modules (q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj and down_proj), rank "
                    "16, scale 0.5")
          != std::string::npos);
    CHECK(text.find("tied") != std::string::npos);
    CHECK(dense.trainable_names.size() == 420);
    CHECK(dense.trainable_names.front() == "model.layers.0.self_attn.q_proj.lora_A.weight");
    MESSAGE(text);

    graft::ModelConfig stored = model;
    stored.quantization = graft::QuantizationSettings{};
    CHECK(lora(stored, 16).bytes == packed.bytes);
    stored.quantization->skipped = {"lm_head", "layers.0.mlp"};
    CHECK(lora(stored, 16).bytes > packed.bytes);
    CHECK_THROWS_AS(graft::make_audit(stored, {.method = graft::TrainMethod::full}), graft::Error);
    const auto frozen = graft::make_audit(model, {.targets = dense.targets});
    CHECK(frozen.trainable_parameters == 0);
    CHECK(frozen.parameters == dense.parameters);
}

TEST_CASE("adapters below the one that is trained are counted as frozen")
{
    const auto model = config("SmolLM2-135M");
    graft::AuditSettings settings{.method = graft::TrainMethod::lora,
                                  .targets = lora(model, 16).targets,
                                  .base_type = graft::StoredType::bf16,
                                  .stacked = {lora(model, 8, true).targets, lora(model, 16).targets}};
    const auto one = lora(model, 16), audit = graft::make_audit(model, settings);
    const std::int64_t below = lora(model, 8, true).trainable_parameters + one.trainable_parameters;
    CHECK(audit.trainable_parameters == one.trainable_parameters);
    CHECK(audit.trainable_names == one.trainable_names);
    CHECK(audit.base_parameters == one.base_parameters);
    CHECK(audit.parameters == one.parameters + below);
    CHECK(audit.bytes == one.bytes + 2 * below);
    const std::string text = graft::to_text(audit);
    CAPTURE(text);
    CHECK(text.find(graft::with_commas(below) + " parameters of 2 stacked adapters, frozen") != std::string::npos);
    CHECK(text.find("stacked 1, frozen: 120 modules (q_proj, k_proj, v_proj and o_proj), rank 8") != std::string::npos);
    CHECK(text.find("stacked A  BF16             330") != std::string::npos);
    settings.method = graft::TrainMethod::full;
    CHECK_THROWS_AS(graft::make_audit(model, settings), graft::Error);
}

TEST_CASE("the base's own total stands beside what is added and trained, with every method")
{
    using graft::TrainMethod;
    const auto llama = config("Llama-3.1-8B");
    const auto has = [](const graft::Audit& audit, const std::string& line) {
        const std::string text = graft::to_text(audit);
        CAPTURE(text);
        CHECK(text.find("\n" + line + "\n") != std::string::npos);
    };
    const std::string base = "base 8,030,261,248 parameters; over it ";
    has(lora(llama, 16), base + "41,943,040 are added; 41,943,040 are trained");
    has(lora(llama, 16, false, TrainMethod::qlora), base + "41,943,040 are added; 41,943,040 are trained");
    has(graft::make_audit(llama, {.method = TrainMethod::full}), base + "0 are added; 8,030,261,248 are trained");
    has(graft::make_audit(llama, {}), base + "0 are added; 0 are trained");
    has(graft::make_audit(llama, {.targets = lora(llama, 16).targets}), base + "41,943,040 are added; 0 are trained");
    auto stored = llama;
    stored.quantization = graft::QuantizationSettings{};
    has(lora(stored, 16), base + "41,943,040 are added; 41,943,040 are trained");
    has(graft::make_audit(
            llama,
            {.method = TrainMethod::lora, .targets = lora(llama, 16).targets, .stacked = {lora(llama, 8).targets}}),
        base + "62,914,560 are added; 41,943,040 are trained");

    graft::AdapterConfig adapter{.rank = 16};
    adapter.targets.kind = graft::ModuleChoice::Kind::all_linear;
    adapter.modules_to_save = {"embed_tokens", "lm_head"};  // in place: nothing is added for them
    has(graft::make_audit(llama, {.method = TrainMethod::lora, .targets = graft::adapter_targets(adapter, llama)}),
        base + "41,943,040 are added; 1,092,616,192 are trained");

    // A tied model: once, also where the run unties it; the copy of the embedding is added.
    auto small = config("Llama-3.2-1B");
    const std::string one = "base 1,235,814,400 parameters; over it ";
    has(lora(small, 16), one + "11,272,192 are added; 11,272,192 are trained");
    const auto untied = graft::adapter_targets(adapter, small);
    REQUIRE(untied.saved.untie);
    small.tied = false;  // as the run makes the model
    const std::int64_t pair = small.vocab * small.dim;
    has(graft::make_audit(small, {.method = TrainMethod::lora, .targets = untied}),
        one + graft::with_commas(11'272'192 + pair) + " are added; " + graft::with_commas(11'272'192 + 2 * pair)
            + " are trained");
    small.tied = true;
    adapter.modules_to_save.clear(), adapter.trained_tokens = {5, 7};
    has(graft::make_audit(small, {.method = TrainMethod::qlora, .targets = graft::adapter_targets(adapter, small)}),
        one + "11,276,288 are added; 11,276,288 are trained");
}

TEST_CASE("modules trained whole: rows, groups and the size of the adapter's file")
{
    const auto llama = config("Llama-3.1-8B");
    graft::AdapterConfig adapter{.rank = 64};
    adapter.targets.kind = graft::ModuleChoice::Kind::all_linear;
    adapter.modules_to_save = {"embed_tokens", "lm_head"};
    const auto audit_of = [&](const graft::ModelConfig& model, bool frozen = false) {
        graft::AuditSettings settings{.method = graft::TrainMethod::lora,
                                      .targets = graft::adapter_targets(adapter, model),
                                      .base_type = graft::StoredType::bf16};
        settings.targets.saved.frozen = frozen;
        settings.saved_types = graft::saved_types(settings.targets.saved, model, "nowhere");
        return graft::make_audit(model, settings);
    };
    const auto audit = audit_of(llama);
    CHECK(audit.trainable_parameters == 1'218'445'312);
    CHECK(audit.trainable_tensors == 450);
    CHECK(audit.trainable_names.size() == 450);
    CHECK(audit.base_parameters == 8'030'261'248);
    REQUIRE(audit.groups.size() == 2);
    CHECK(audit.groups[0].parameters == 1'050'673'152);
    CHECK(audit.groups[0].name == "model.embed_tokens, lm_head");
    CHECK(audit.groups[1].parameters == 167'772'160);
    CHECK(audit.file_tensors == 450);
    CHECK(audit.file_bytes == 2'772'434'944);
    const auto text = graft::to_text(audit);
    MESSAGE(text);
    CHECK(text.find("group model.embed_tokens, lm_head  2 tensors, 1,050,673,152 parameters\n") != std::string::npos);
    CHECK(text.find("group adapter                      448 tensors, 167,772,160 parameters\n") != std::string::npos);
    CHECK(text.find("the adapter's file will hold 450 tensors, 2,772,434,944 bytes\n") != std::string::npos);

    const auto kept = audit_of(llama, true);
    CHECK(kept.trainable_parameters == 167'772'160);
    CHECK(kept.file_bytes == 2'772'434'944);
    CHECK(kept.groups.empty());
    CHECK(graft::to_text(kept).find("from the adapter's file, frozen") != std::string::npos);

    // A tied pair counts once and is written twice.
    const auto small = config("Llama-3.2-1B");
    adapter.ensure_weight_tying = true;
    const auto tied = audit_of(small);
    const std::int64_t pair = small.vocab * small.dim;
    CHECK(tied.groups[0].parameters == pair);
    CHECK(tied.groups[0].tensors == 1);
    CHECK(tied.file_bytes == 2 * 2 * pair + 4 * tied.groups[1].parameters);
    CHECK(graft::to_text(tied).find("trained as one tensor") != std::string::npos);

    adapter.modules_to_save = {"norm", "embed_tokens"};
    const auto norms = audit_of(llama);
    REQUIRE(norms.groups.size() == 3);
    CHECK(norms.groups[1].name == "other modules");
    CHECK(norms.groups[1].parameters == 65 * 4096);
    CHECK(norms.groups[1].tensors == 65);
}

TEST_CASE("the tensors of a checkpoint are those of the reference's files")
{
    const auto data = graft_test::data();
    if (!data) { return graft_test::skip("GRAFT_TEST_DATA is not set"); }
    for (const char* name :
         {"llama", "llama_headdim_bias", "llama_linear_rope", "llama_tied_llama3rope", "mistral_window", "qwen2"}) {
        INFO(name);
        const auto folder = *data / "golden" / "archs" / name;
        const auto file = graft::SafetensorsFile::open(folder / "model.safetensors");
        const auto tensors = graft::checkpoint_tensors(graft::read_config(folder));
        CHECK(tensors.size() == file.tensors().size());
        for (const auto& tensor : tensors) {
            INFO(tensor.name);
            REQUIRE(file.find(tensor.name) != nullptr);
            CHECK(file.find(tensor.name)->shape == tensor.shape);
        }
        const auto cases = graft::read_json(folder / "cases.json");
        CHECK(graft::make_audit(graft::read_config(folder), {}).base_parameters
              == graft::json_int(cases, "parameters", "cases"));
    }
}
