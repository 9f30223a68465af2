#include "graft/checkpoint/load.hpp"

#include "checkpoint_support.hpp"
#include "graft/checkpoint/hf_config.hpp"
#include "graft/cpu.hpp"

using namespace graft_test;

namespace {

template <class T = float> std::string refused(const fs::path& folder, bool tied = false)
{
    return refusal_of([&] {
        auto model = graft::make_model<T>(tiny_config(tied), {});
        graft::load_weights(model, graft::Checkpoint::open(folder));
    });
}

template <class T> double worst_logit(const fs::path& folder)
{
    auto model = graft::make_model<T>(graft::read_config(folder), {});
    graft::load_weights(model, graft::Checkpoint::open(folder));
    double worst = 0;
    const auto golden = nlohmann::json::parse(read_text(folder / "golden.json"));
    for (const auto& record : golden.at("records")) {
        auto ids = record.at("prompt_ids").get<std::vector<std::int32_t>>();
        const auto more = record.at("greedy_ids").get<std::vector<std::int32_t>>();
        ids.insert(ids.end(), more.begin(), more.end());
        graft::Buffer<std::int32_t, graft::Cpu> buffer(std::int64_t(ids.size()));
        std::copy(ids.begin(), ids.end(), buffer.data());
        const auto logits = model(graft::no_tape, buffer,
                                  graft::context_for<T, graft::Cpu>({std::int64_t(ids.size())}, model.positions(512)));
        for (const auto& at : record.at("logits")) {
            for (const auto& top : at.at("top5")) {
                const double z =
                    double(logits.view().row(at.at("position").get<std::int64_t>())[top[0].get<std::int64_t>()]);
                const double off = std::abs(z - top[1].get<double>());
                worst = off <= worst ? worst : off;
            }
        }
    }
    return worst;
}

}  // namespace

TEST_CASE("load: every element type, frozen and trained, gives the values of the file")
{
    const auto expected = [] {
        auto model = tiny_model<float>();
        return values_of(model);
    }();
    for (const auto type : {graft::StoredType::f32, graft::StoredType::bf16, graft::StoredType::f16}) {
        const TempFolder temp;
        const auto checkpoint = graft::Checkpoint::open(tiny_checkpoint(temp.path(), false, type));
        for (const auto base : {graft::Base::frozen, graft::Base::trained}) {
            CAPTURE(int(base));
            CAPTURE(std::string(graft::stored_name(type)));
            auto model =
                graft::make_model<float>(tiny_config(), {.base = base, .train_rest = base == graft::Base::trained});
            graft::load_weights(model, checkpoint);
            CHECK(values_of(model) == expected);
            auto half = graft::make_model<graft::bf16>(tiny_config(), {.base = base, .train_rest = true});
            graft::load_weights(half, checkpoint);
            CHECK(values_of(half) == expected);
            for (const auto& tensor : graft::trained_tensors(half)) {  // the copies that products read follow
                CHECK(double(tensor.working.view().row(0)[0]) == expected.at(tensor.name)[0]);
            }
        }
    }
}

TEST_CASE("load: what is missing, extra and misshaped is listed together, before anything is read")
{
    const TempFolder temp;
    const auto folder = tiny_checkpoint(temp.path());
    auto tensors = Tensors::read(folder / "model.safetensors");
    const std::string q = "model.layers.0.self_attn.q_proj.weight";
    tensors.erase(q);
    tensors.at("model.norm.weight").name = "model.norm.scale";
    auto& k = tensors.at("model.layers.1.self_attn.k_proj.weight");
    std::swap(k.shape[0], k.shape[1]);
    tensors.at("model.layers.1.mlp.up_proj.weight").dtype = "I32";
    tensors.write(folder / "model.safetensors");
    const auto text = refused(folder);
    CAPTURE(text);
    CHECK(says(text, {"missing", q, "model.norm.weight", "model.norm.scale", "k_proj", "[8, 4]", "[4, 8]", "I32"}));
}

TEST_CASE("load: buffers of old files are passed over; a head beside a tied embedding must equal it")
{
    const TempFolder temp;
    const auto folder = tiny_checkpoint(temp.path(), true);
    auto tensors = Tensors::read(folder / "model.safetensors");
    tensors.list.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", "F32", {2}, std::string(8, '\0')});
    tensors.list.push_back({"lm_head.weight", "F32", {11, 8}, tensors.at("model.embed_tokens.weight").bytes});
    tensors.write(folder / "model.safetensors");
    CHECK(refused(folder, true) == "");
    tensors.at("lm_head.weight").bytes[5] ^= 1;
    tensors.write(folder / "model.safetensors");
    CHECK(says(refused(folder, true), {"tie_word_embeddings", "lm_head.weight", "model.embed_tokens.weight"}));
}

TEST_CASE("load: NF4 weights are quantised as they are read; a weight that is not finite is named")
{
    const TempFolder temp;
    const auto folder = tiny_checkpoint(temp.path());
    const auto expected = values_of(*std::make_unique<graft::AnyModel<float>>(tiny_model<float>()));
    for (const bool twice : {false, true}) {
        auto model = graft::make_model<float>(tiny_config(), {.base = graft::Base::nf4});
        graft::load_weights(model, graft::Checkpoint::open(folder), {.double_quant = twice});
        int weights = 0;
        graft::leaves(model, [&](const std::string& name, auto& leaf) {
            if constexpr (requires { leaf.view().absmax; }) {
                ++weights;
                const auto& want = expected.at(name);
                std::vector<float> got(want.size());
                graft::cpu::nf4_decode<float>(leaf.view(), 0, std::int64_t(got.size()), got.data());
                for (std::size_t i = 0; i < got.size(); ++i) { CHECK(std::abs(double(got[i]) - want[i]) <= 0.16); }
            }
        });
        CHECK(weights == 14);
    }
    auto tensors = Tensors::read(folder / "model.safetensors");
    const float inf = INFINITY;
    std::memcpy(tensors.at("model.layers.1.mlp.up_proj.weight").bytes.data() + 8, &inf, 4);
    tensors.write(folder / "model.safetensors");
    const auto text = refusal_of([&] {
        auto model = graft::make_model<float>(tiny_config(), {.base = graft::Base::nf4});
        graft::load_weights(model, graft::Checkpoint::open(folder));
    });
    CHECK(says(text, {"model.layers.1.mlp.up_proj.weight"}));
}

TEST_CASE("load: stories260K meets its recorded logits, from one f32 file and from bf16 shards")
{
    const auto root = data();
    if (!root) { return skip("GRAFT_TEST_DATA is not set"); }
    const auto models = *root / "data/models";
    CHECK(worst_logit<float>(models / "stories260K") <= 1e-4);
    CHECK(worst_logit<float>(models / "stories260K-bf16-sharded") <= 1e-4);       // recorded from the bf16 weights
    CHECK(worst_logit<graft::bf16>(models / "stories260K-bf16-sharded") <= 0.5);  // logits up to 19: some ulps of 2^-4
}
