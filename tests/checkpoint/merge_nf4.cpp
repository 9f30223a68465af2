#include "../programs/nf4_checkpoint.hpp"
#include "merge_support.hpp"

// Merging into bases of 4 bits.
using namespace graft_test;

namespace {

// Every weight of a folder, decoded to f32, as f64.
std::map<std::string, std::vector<double>> decoded(const fs::path& folder)
{
    auto model = graft::make_model<float>(graft::read_config(folder), {});
    graft::load_weights(model, graft::Checkpoint::open(folder));
    return values_of(model);
}

}  // namespace

TEST_CASE("merge over NF4: into what the 4 bits decode to, in bf16 by default, one rounding")
{
    for (const bool nested : {false, true}) {
        const TempFolder temp;
        const auto base = quantized(tiny_checkpoint(temp.path()), temp / "nf4", nested);
        const auto adapter = made_adapter(temp / "adapter", {.rank = 3, .alpha = 7, .targets = {"q_proj", "up_proj"}});
        const auto out = temp / "out", wide = temp / "wide";
        fs::create_directories(out), fs::create_directories(wide);
        const auto receipt = merge(base, {adapter}, out);
        merge(base, {adapter}, wide, {.type = graft::StoredType::f32});
        CHECK(receipt.dtype == "bfloat16");
        const auto before = decoded(base);
        auto after = Tensors::read(out / "model.safetensors"), in_f32 = Tensors::read(wide / "model.safetensors");
        CHECK(after.list.size() == 21);
        for (auto& tensor : after.list) {
            CAPTURE(tensor.name);
            const bool linear = tensor.name.find("_proj.") != std::string::npos;
            CHECK(tensor.dtype == (linear ? "BF16" : "F32"));  // dense ones keep their type
            auto weight = tensor;
            const auto& from = before.at(tensor.name);
            weight.dtype = "F64";
            weight.bytes.assign(reinterpret_cast<const char*>(from.data()), from.size() * sizeof(double));
            const auto exact = reference(weight, {adapter}), found = values_in(tensor),
                       found_f32 = values_in(in_f32.at(tensor.name));
            for (std::size_t i = 0; i < exact.size(); ++i) {
                CHECK(found[i] == nearest(exact[i], linear ? graft::StoredType::bf16 : graft::StoredType::f32));
                CHECK(found_f32[i] == double(float(exact[i])));
            }
        }
    }
}

TEST_CASE("merge --requantize: NF4 again, with the blocks and scales of the base, untouched weights as they are")
{
    for (const bool nested : {false, true}) {
        for (const int block : {32, 64}) {
            const TempFolder temp;
            const auto base = quantized(tiny_checkpoint(temp.path()), temp / "nf4", nested, block);
            const auto adapter =
                made_adapter(temp / "adapter", {.rank = 3, .alpha = 7, .targets = {"q_proj", "up_proj"}});
            const auto out = temp / "out", wide = temp / "wide";
            fs::create_directories(out), fs::create_directories(wide);
            const auto receipt = merge(base, {adapter}, out, {.requantize = true});
            CHECK(receipt.requantized);
            CHECK(read_text(out / "config.json") == read_text(base / "config.json"));
            merge(base, {adapter}, wide, {.type = graft::StoredType::f32});

            auto before = Tensors::read(base / "model.safetensors"), after = Tensors::read(out / "model.safetensors"),
                 exact = Tensors::read(wide / "model.safetensors");
            CHECK(after.list.size() == before.list.size());
            const auto got = decoded(out);
            double most = 0;
            for (auto& tensor : before.list) {
                CAPTURE(tensor.name);
                const auto& now = after.at(tensor.name);
                CHECK(now.dtype == tensor.dtype);
                const bool touched = tensor.name.find("q_proj.") != std::string::npos
                                     || tensor.name.find("up_proj.") != std::string::npos;
                if (!touched) { CHECK(now.bytes == tensor.bytes); }
                if (!touched || !tensor.name.ends_with(".weight")) { continue; }
                // The same as quantising the exact weights.
                const auto values = exact.at(tensor.name).values();
                std::vector<std::uint8_t> packed(graft::nf4::bytes_of(values.size()));
                std::vector<float> absmax(graft::nf4::blocks_of(values.size(), std::size_t(block)));
                graft::nf4::quantize<float>(values, block, packed, absmax);
                CHECK(now.bytes == std::string(packed.begin(), packed.end()));
                if (nested) { graft::nf4::unnest(graft::nf4::nest(absmax), absmax); }
                std::vector<float> wanted(values.size());
                graft::nf4::dequantize<float>(packed, absmax, block, 0, wanted);
                for (std::size_t i = 0; i < wanted.size(); ++i) {
                    CHECK(got.at(tensor.name)[i] == double(wanted[i]));
                    most = std::max(most, double(std::abs(wanted[i] - values[i])));
                }
            }
            CHECK(receipt.max_error() == doctest::Approx(most).epsilon(1e-5));
        }
    }
}

TEST_CASE("merge --requantize: refused for a dense base, and beside --dtype")
{
    const TempFolder temp;
    const auto dense = tiny_checkpoint(temp.path());
    const auto base = quantized(dense, temp / "nf4", false);
    const auto adapter = made_adapter(temp / "adapter", {.rank = 2, .alpha = 2});
    const auto out = temp / "out";
    fs::create_directories(out);
    CHECK(says(refusal_of([&] { merge(dense, {adapter}, out, {.requantize = true}); }), {"--requantize", "dense"}));
    CHECK(says(refusal_of([&] { merge(base, {adapter}, out, {.type = graft::StoredType::bf16, .requantize = true}); }),
               {"--requantize", "--dtype"}));
    CHECK(contents(out).empty());
}
