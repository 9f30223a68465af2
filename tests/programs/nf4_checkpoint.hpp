#pragma once
#include "programs_support.hpp"

#include "graft/checkpoint/nf4_state.hpp"

// Checkpoints of 4 bits.
namespace graft_test {

// A copy of a dense f32 checkpoint with its linears in NF4, as bitsandbytes stores them, said to be from bf16.
inline fs::path quantized(const fs::path& dense, const fs::path& folder, bool nested, int block = 64)
{
    copy_folder(dense, folder);
    Tensors out;
    const auto put = [&](const std::string& name, const std::string& dtype, std::vector<std::int64_t> shape,
                         const auto& list) {
        const auto bytes = std::as_bytes(std::span(list));
        out.list.push_back(
            {name, dtype, std::move(shape), std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size())});
    };
    for (const auto& tensor : Tensors::read(dense / "model.safetensors").list) {
        if (tensor.name.find("_proj.weight") == std::string::npos) {
            out.list.push_back(tensor);
            continue;
        }
        const auto values = tensor.values();
        std::vector<std::uint8_t> packed(graft::nf4::bytes_of(values.size()));
        std::vector<float> absmax(graft::nf4::blocks_of(values.size(), std::size_t(block)));
        graft::nf4::quantize<float>(values, block, packed, absmax);
        graft::Nf4State state{.shape = tensor.shape,
                              .dtype = "bfloat16",
                              .block = block,
                              .packed = packed,
                              .absmax = absmax,
                              .nested = std::nullopt};
        const auto blocks = std::int64_t(absmax.size());
        put(tensor.name, "U8", {std::int64_t(packed.size()), 1}, packed);
        put(tensor.name + ".quant_map", "F32", {16}, graft::nf4::code.at);
        if (nested) {
            state.nested = graft::nf4::nest(absmax);
            put(tensor.name + ".absmax", "U8", {blocks}, state.nested->codes);
            put(tensor.name + ".nested_absmax", "F32", {std::int64_t(state.nested->scales.size())},
                state.nested->scales);
            put(tensor.name + ".nested_quant_map", "F32", {256}, state.nested->map);
        } else {
            put(tensor.name + ".absmax", "F32", {blocks}, absmax);
        }
        const std::string text = graft::nf4_state_text(state);
        put(tensor.name + ".quant_state.bitsandbytes__nf4", "U8", {std::int64_t(text.size())}, text);
    }
    out.write(folder / "model.safetensors");
    auto config = nlohmann::json::parse(read_text(dense / "config.json"));
    config["torch_dtype"] = "bfloat16";
    config["quantization_config"] = {{"quant_method", "bitsandbytes"},
                                     {"load_in_4bit", true},
                                     {"bnb_4bit_quant_type", "nf4"},
                                     {"bnb_4bit_use_double_quant", nested}};
    write_text(folder / "config.json", config.dump(2));
    return folder;
}

}  // namespace graft_test
