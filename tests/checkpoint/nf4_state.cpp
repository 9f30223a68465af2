#include "graft/checkpoint/nf4_state.hpp"

#include "../support.hpp"

#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/dtype.hpp"
#include "graft/io/json_file.hpp"
#include "graft/io/safetensors.hpp"

namespace nf4 = graft::nf4;
using graft::StoredTensor;
using graft::StoredType;

namespace {

template <class T> std::vector<T> values(const StoredTensor& tensor)
{
    std::vector<T> out(tensor.bytes.size() / sizeof(T));
    if (!out.empty()) { std::memcpy(out.data(), tensor.bytes.data(), out.size() * sizeof(T)); }
    return out;
}

template <class T> bool same_bits(const std::vector<T>& a, const std::vector<T>& b)
{
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

template <class T> std::vector<T> decode(const graft::Nf4State& state)
{
    std::vector<T> out(state.elements());
    state.dequantize(0, std::span<T>(out));
    return out;
}

// The tensors of one small weight, to be damaged in one place at a time.
struct Parts {
    std::map<std::string, std::pair<StoredType, std::vector<std::byte>>> tensors;

    template <class T> void put(const std::string& name, StoredType type, std::span<const T> data)
    {
        const auto bytes = std::as_bytes(data);
        tensors[name] = {type, {bytes.begin(), bytes.end()}};
    }
    void text(const std::string& json, const std::string& suffix = "nf4")
    {
        put<char>("p.weight.quant_state.bitsandbytes__" + suffix, StoredType::u8, json);
    }
    std::vector<StoredTensor> stored() const
    {
        std::vector<StoredTensor> list;
        for (const auto& [name, tensor] : tensors) {
            const auto elements = std::int64_t(tensor.second.size()) * 8 / graft::stored_bits(tensor.first);
            list.push_back({.name = name, .type = tensor.first, .shape = {elements, 1}, .bytes = tensor.second});
        }
        return list;
    }
    std::string refused() const
    {
        try {
            graft::read_nf4("p.weight", stored(), "model.safetensors");
        } catch (const graft::Error& error) {
            const std::string text = error.what();
            CHECK(text.starts_with("model.safetensors: p.weight: "));
            CHECK(text.find('\n') == std::string::npos);
            return text;
        }
        return "";
    }
};

constexpr const char* plain_json = R"({"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [7, 15]})";
constexpr const char* nested_json =
    R"({"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [7, 15], "nested_blocksize": 256, )"
    R"("nested_dtype": "float32", "nested_offset": 0.75})";

// 105 elements: 53 bytes, two blocks.
Parts plain()
{
    Parts p;
    p.put<std::uint8_t>("p.weight", StoredType::u8, std::vector<std::uint8_t>(53, 0xf7));
    p.put<float>("p.weight.absmax", StoredType::f32, std::vector<float>{0.5f, 2.0f});
    p.put<float>("p.weight.quant_map", StoredType::f32, nf4::code.at);
    p.text(plain_json);
    return p;
}
Parts nested()
{
    Parts p = plain();
    p.put<std::uint8_t>("p.weight.absmax", StoredType::u8, std::vector<std::uint8_t>{0, 255});
    p.put<float>("p.weight.nested_absmax", StoredType::f32, std::vector<float>{1.25f});
    p.put<float>("p.weight.nested_quant_map", StoredType::f32, nf4::dynamic_map());
    p.text(nested_json);
    return p;
}

struct Golden {
    graft::SafetensorsFile file;
    nlohmann::json cases;
};

std::optional<Golden> golden()
{
    const auto data = graft_test::data();
    if (!data) {
        graft_test::skip("GRAFT_TEST_DATA is not set");
        return std::nullopt;
    }
    return Golden{.file = graft::SafetensorsFile::open(*data / "golden/nf4/vectors.safetensors"),
                  .cases = graft::read_json(*data / "golden/nf4/vectors.json")};
}

template <class T> void check_quantize(const Golden& golden, const std::string& key, const nlohmann::json& expected)
{
    const auto input = values<T>(golden.file.at(key.substr(0, key.rfind('.')) + ".input"));
    const auto state = graft::read_nf4(key + ".weight", golden.file.tensors(), "vectors");
    std::vector<std::uint8_t> packed(nf4::bytes_of(input.size()));
    std::vector<float> absmax(nf4::blocks_of(input.size(), std::size_t(state.block)));
    nf4::quantize<T>(input, state.block, packed, absmax);
    CHECK(same_bits(packed, {state.packed.begin(), state.packed.end()}));

    if (!state.nested) {
        // The reference stores 1e-38 for a short last block of zeros, which decodes to the same zeros.
        for (const auto& block : expected.at("absmax_differs_from_the_rule_in_blocks")) {
            const auto b = block.get<std::size_t>();
            CHECK(absmax.at(b) == 0.0f);
            CHECK(state.absmax.at(b) == 1e-38f);
            absmax[b] = 1e-38f;
        }
        CHECK(same_bits(absmax, state.absmax));
        return;
    }
    // A short last block of zeros is 1e-38 there, before it is nested: below half an ulp of everything near it.
    const auto own = nf4::nest(absmax);
    CHECK(std::abs(own.offset - state.nested->offset) <= 4 * 0x1p-24f * std::abs(own.offset));
    REQUIRE(own.codes.size() == state.nested->codes.size());
    for (std::size_t i = 0; i < own.codes.size(); ++i) {
        const float theirs = state.nested->scales[i / 256];
        if (theirs == 0) { continue; }  // equal scales: any code
        CHECK(std::abs(int(own.codes[i]) - int(state.nested->codes[i])) <= 1);
        CHECK(own.scales[i / 256] == doctest::Approx(theirs).epsilon(1e-6));
    }
}

}  // namespace

TEST_CASE("nf4 state: the reference's vectors decode to the bit, and quantise to the same bytes")
{
    const auto data = golden();
    if (!data) { return; }
    std::size_t cases = 0;
    for (const auto& item : data->cases.items()) {
        const std::string& key = item.key();
        const auto& expected = item.value();
        if (key.starts_with("ties.")) { continue; }
        CAPTURE(key);
        const auto state = graft::read_nf4(key + ".weight", data->file.tensors(), "vectors");
        CHECK((state.type == nf4::Type::nf4) == (expected.at("quant_type") == "nf4"));
        CHECK(state.shape == expected.at("shape").get<std::vector<std::int64_t>>());
        CHECK(state.block == expected.at("blocksize").get<int>());
        CHECK(state.dtype == expected.at("dtype").get<std::string>());
        CHECK(state.nested.has_value() == expected.at("double_quant").get<bool>());
        CHECK(same_bits(state.absmax, values<float>(data->file.at(key + ".decoded_absmax"))));
        CHECK(same_bits(decode<float>(state), values<float>(data->file.at(key + ".dequantised.float32"))));
        CHECK(same_bits(decode<graft::bf16>(state), values<graft::bf16>(data->file.at(key + ".dequantised.bfloat16"))));

        const auto text = values<char>(
            data->file.at(key + ".weight.quant_state.bitsandbytes__" + expected.at("quant_type").get<std::string>()));
        CHECK(graft::nf4_state_text(state) == std::string(text.begin(), text.end()));
        if (state.type == nf4::Type::nf4) {
            if (state.dtype == "float32") {
                check_quantize<float>(*data, key, expected);
            } else {
                check_quantize<graft::bf16>(*data, key, expected);
            }
        }
        ++cases;
    }
    CHECK(cases == 56);
}

TEST_CASE("nf4 state: the reference's ties and tables")
{
    const auto data = golden();
    if (!data) { return; }
    const std::string key = "ties.float32.single";
    const auto input = values<float>(data->file.at("ties.float32.input"));
    std::vector<std::uint8_t> packed(8);
    std::vector<float> absmax(1);
    nf4::quantize<float>(input, 64, packed, absmax);
    CHECK(same_bits(packed, values<std::uint8_t>(data->file.at(key + ".weight"))));
    CHECK(same_bits(absmax, values<float>(data->file.at(key + ".weight.absmax"))));

    CHECK(same_bits(values<float>(data->file.at("map.nf4")), std::vector<float>(nf4::code.at, nf4::code.at + 16)));
    const auto fp4 = values<float>(data->file.at("map.fp4"));
    for (std::size_t i = 0; i < 16; ++i) { CHECK(fp4[i] == nf4::fp4_code.at[i]); }
    const auto map = values<float>(data->file.at("map.dynamic_signed"));
    const auto own = nf4::dynamic_map();
    for (std::size_t i = 0; i < 256; ++i) {
        CHECK(std::abs(std::bit_cast<std::int32_t>(map[i]) - std::bit_cast<std::int32_t>(own[i])) <= 1);
    }
}

TEST_CASE("nf4 state: the weights of three checkpoints that transformers saved")
{
    const auto data = graft_test::data();
    if (!data) { return graft_test::skip("GRAFT_TEST_DATA is not set"); }
    for (const char* name : {"checkpoint_double_f32", "checkpoint_single_bf16", "checkpoint_double_bf16"}) {
        CAPTURE(name);
        const auto folder = *data / "golden/nf4" / name;
        const auto file = graft::SafetensorsFile::open(folder / "model.safetensors");
        const auto expected = graft::SafetensorsFile::open(folder / "expected.safetensors");
        std::set<std::string> weights;
        for (const auto& tensor : file.tensors()) {
            if (const auto weight = graft::nf4_weight_of(tensor.name); !weight.empty()) { weights.emplace(weight); }
        }
        CHECK(weights.size() == 14);
        for (const auto& weight : weights) {
            CAPTURE(weight);
            const auto state = graft::read_nf4(weight, file.tensors(), name);
            const auto& wanted = expected.at("dequantised." + weight);
            CHECK(wanted.shape == state.shape);
            if (wanted.type == StoredType::f32) {
                CHECK(same_bits(decode<float>(state), values<float>(wanted)));
            } else {
                CHECK(same_bits(decode<graft::bf16>(state), values<graft::bf16>(wanted)));
            }
        }
    }
}

TEST_CASE("nf4 state: a small weight, plain and nested, and what its parts are called")
{
    const auto p = plain();
    const auto state = graft::read_nf4("p.weight", p.stored(), "f");
    CHECK(state.shape == std::vector<std::int64_t>{7, 15});
    CHECK(state.absmax == std::vector<float>{0.5f, 2.0f});
    const auto decoded = decode<float>(state);
    CHECK(decoded.size() == 105);
    CHECK(decoded[0] == 0.5f);
    CHECK(decoded[1] == 0.0f);
    CHECK(decoded[104] == 2.0f);
    CHECK(graft::nf4_state_text(state) == plain_json);

    const auto n = nested();
    const auto double_quantised = graft::read_nf4("p.weight", n.stored(), "f");
    CHECK(double_quantised.absmax[0] == nf4::dynamic_map()[0] * 1.25f + 0.75f);  // negative, and accepted
    CHECK(double_quantised.absmax[0] < 0);
    CHECK(double_quantised.absmax[1] == 2.0f);
    CHECK(graft::nf4_state_text(double_quantised) == nested_json);

    for (const char* part : {"absmax", "quant_map", "nested_absmax", "nested_quant_map",
                             "quant_state.bitsandbytes__nf4", "quant_state.bitsandbytes__fp4"}) {
        CHECK(graft::nf4_weight_of(std::string("a.b.weight.") + part) == "a.b.weight");
    }
    CHECK(graft::nf4_weight_of("a.b.weight").empty());
    CHECK(graft::nf4_weight_of("a.b.bias").empty());
}

TEST_CASE("nf4 state: another storage type is a name for the same bytes")
{
    Parts p = plain();
    auto bytes = p.tensors["p.weight"].second;
    bytes.resize(52);
    const std::string json = R"({"shape":[8,13],"dtype":"float16","blocksize":64,"quant_type":"nf4"})";
    p.text(json);
    for (const auto type : {StoredType::u8, StoredType::i8, StoredType::bf16, StoredType::f16, StoredType::f32}) {
        p.tensors["p.weight"] = {type, bytes};
        const auto stored = p.stored();
        const auto state = graft::read_nf4("p.weight", stored, "f");
        CHECK(std::memcmp(state.packed.data(), bytes.data(), bytes.size()) == 0);
        CHECK(state.dtype == "float16");
    }
}

TEST_CASE("nf4 state: fp4 is told by its name, and must have its own codes")
{
    Parts p = plain();
    p.tensors.erase("p.weight.quant_state.bitsandbytes__nf4");
    p.text(R"({"quant_type": "fp4", "blocksize": 64, "dtype": "float32", "shape": [7, 15]})", "fp4");
    CHECK(p.refused().find("not the codes of fp4") != std::string::npos);
    p.put<float>("p.weight.quant_map", StoredType::f32, nf4::fp4_code.at);
    const auto stored = p.stored();
    const auto decoded = decode<float>(graft::read_nf4("p.weight", stored, "f"));
    CHECK(decoded[0] == -0.5f * nf4::fp4_code.at[7]);
    CHECK(decoded[1] == 0.5f * nf4::fp4_code.at[7]);
}

TEST_CASE("nf4 state: what does not fit is refused in one line that says why")
{
    using Damage = std::function<void(Parts&)>;
    const auto json = [](std::string text) { return [text](Parts& p) { p.text(text); }; };
    const auto with = [&json](const std::string& from, const std::string& to) {
        std::string text = nested_json;
        REQUIRE(text.find(from) != std::string::npos);
        return json(text.replace(text.find(from), from.size(), to));
    };
    const auto floats = [](std::string name, std::size_t count, float value) {
        return [=](Parts& p) { p.put<float>("p.weight." + name, StoredType::f32, std::vector<float>(count, value)); };
    };
    const auto drop = [](std::string name) { return [=](Parts& p) { p.tensors.erase(name); }; };
    const float infinity = std::numeric_limits<float>::infinity();

    const std::vector<std::pair<std::string, Damage>> damages = {
        {"packed weight is missing", drop("p.weight")},
        {"absmax is missing", drop("p.weight.absmax")},
        {"quant_map is missing", drop("p.weight.quant_map")},
        {"nested_absmax is missing", drop("p.weight.nested_absmax")},
        {"nested_quant_map is missing", drop("p.weight.nested_quant_map")},
        {"not a weight of 4 bits", drop("p.weight.quant_state.bitsandbytes__nf4")},
        {"two quantisation states", [](Parts& p) { p.text(nested_json, "fp4"); }},
        {"unknown part p.weight.quant_state.bitsandbytes__nf5", [](Parts& p) { p.text(nested_json, "nf5"); }},
        {"unknown part p.weight.g_idx", floats("g_idx", 1, 0)},
        {"has nested scales, but", json(plain_json)},
        {"absmax must have 2 elements",
         [](Parts& p) { p.put<std::uint8_t>("p.weight.absmax", StoredType::u8, std::vector<std::uint8_t>(3)); }},
        {"absmax must be U8, found F32", floats("absmax", 2, 1)},
        {"quant_map must have 16 elements", floats("quant_map", 15, 0)},
        {"quant_map[0] is 0.000000, expected -1.000000: not the codes of nf4", floats("quant_map", 16, 0)},
        {"nested_quant_map must have 256 elements", floats("nested_quant_map", 255, 0)},
        {"nested_quant_map[0] is not finite", floats("nested_quant_map", 256, infinity)},
        {"nested_absmax must have 1 elements", floats("nested_absmax", 2, 1)},
        {"nested_absmax[0] is not finite", floats("nested_absmax", 1, std::nanf(""))},
        {"decoded absmax[1] is not finite",
         [&](Parts& p) {
             floats("nested_absmax", 1, 3e38f)(p);
             with("0.75", "3e38")(p);
         }},
        {"does not fit 53 bytes", with("[7, 15]", "[7, 16]")},
        {"does not fit 53 bytes", with("[7, 15]", "[104]")},
        {"does not fit 53 bytes", with("[7, 15]", "[-7, -15]")},
        {"does not fit 53 bytes", with("[7, 15]", "[0, 15]")},
        {"does not fit 53 bytes", with("[7, 15]", "[4294967296, 4294967296, 105]")},
        {"shape must have 1 to 8 extents", with("[7, 15]", "[]")},
        {"shape must have 1 to 8 extents", with("[7, 15]", "[105, 1, 1, 1, 1, 1, 1, 1, 1]")},
        {"shape must be a list", with("[7, 15]", "105")},
        {"shape must be a whole number", with("[7, 15]", "[7.0, 15]")},
        {"field shape is missing", with(R"("shape": [7, 15], )", "")},
        {"blocksize must be a power of two", with("64", "48")},
        {"blocksize must be a power of two", with("64", "-64")},
        {"blocksize must be a power of two", with("64", "4294967360")},
        {"blocksize must be a whole number", with("64", "64.0")},
        {"nested_blocksize must be a power of two", with("256", "0")},
        {"field nested_blocksize is missing", with(R"("nested_blocksize": 256, )", "")},
        {"field nested_offset is missing", with(R"(, "nested_offset": 0.75)", "")},
        {"nested_offset must be a number", with("0.75", R"("0.75")")},
        {"nested_offset must fit into float32", with("0.75", "1e39")},
        {"nested_dtype must be float32", with(R"("float32")", R"("float16")")},
        {"dtype must be float32, float16 or bfloat16, found int8", with("bfloat16", "int8")},
        {"quant_type is fp4, but", with(R"("nf4")", R"("fp4")")},
        {"unknown field zero_point", with("{", R"({"zero_point": 1, )")},
        {"must be an object", json("[1]")},
        {"not JSON", json("")},
        {"not JSON", json(R"({"quant_type": )")},
        {"not JSON", json(std::string(60000, '['))},
        {"at most 65536", json(std::string(70000, ' '))},
    };
    for (const auto& entry : damages) {
        const std::string& reason = entry.first;
        CAPTURE(reason);
        Parts p = nested();
        entry.second(p);
        const auto text = p.refused();
        CAPTURE(text);
        CHECK(text.find(reason) != std::string::npos);
    }

    Parts p = plain();
    p.put<float>("p.weight.absmax", StoredType::f32, std::vector<float>{1, std::nanf("")});
    CHECK(p.refused().find("absmax[1] is not finite") != std::string::npos);
    p = plain();
    p.put<std::uint8_t>("p.weight.absmax", StoredType::u8, std::vector<std::uint8_t>(2));
    CHECK(p.refused().find("absmax must be F32, found U8") != std::string::npos);
}
