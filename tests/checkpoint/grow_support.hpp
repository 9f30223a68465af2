#pragma once
#include "../programs/nf4_checkpoint.hpp"
#include "merge_support.hpp"

#include "graft/checkpoint/grow_vocabulary.hpp"
#include "graft/text/tokenizer.hpp"

// The small model of the examples, in forms that its authors did not publish; and what growing it should give.
namespace graft_test {

inline constexpr const char* embedding = "model.embed_tokens.weight";
inline constexpr const char* head = "lm_head.weight";

inline const std::vector<std::string> chat_tokens{"<|im_start|>", "<|im_end|>"};

inline bool stories()
{
    const bool there = fs::exists(small_model() + "/model.safetensors");
    if (!there) { skip("there is no examples/data/stories260K"); }
    return there;
}

inline nlohmann::ordered_json json_of(const fs::path& path) { return nlohmann::ordered_json::parse(read_text(path)); }
template <class Change> void change_json(const fs::path& path, Change&& change)
{
    auto json = json_of(path);
    change(json);
    write_text(path, json.dump(2) + "\n");
}

// Values as an element of that type, in bytes.
inline std::string stored(const std::vector<double>& values, const std::string& dtype)
{
    std::string out;
    const auto put = [&](const auto& value) { out.append(reinterpret_cast<const char*>(&value), sizeof value); };
    for (const double value : values) {
        if (dtype == "BF16") {
            put(graft::bf16(float(value)));
        } else if (dtype == "F16") {
            put(graft::f16(float(value)));
        } else {
            put(float(value));
        }
    }
    return out;
}

// A copy of the model; each tensor of another type, and with a head of its own where it is not tied.
inline fs::path variant(const fs::path& folder, const std::string& dtype = "F32", bool tied = true)
{
    copy_folder(small_model(), folder);
    auto file = Tensors::read(folder / "model.safetensors");
    if (!tied) {
        auto own = file.at(embedding);
        own.name = head;
        auto values = own.values();
        for (std::size_t i = 0; i < values.size(); ++i) { values[i] = values[i] * 0.75f + float(i % 13) / 64; }
        own.bytes = stored({values.begin(), values.end()}, "F32");
        file.list.push_back(own);
        change_json(folder / "config.json", [](auto& json) { json["tie_word_embeddings"] = false; });
    }
    if (dtype != "F32") {
        for (auto& tensor : file.list) {
            tensor.bytes = stored(values_in(tensor), dtype);
            tensor.dtype = dtype;
        }
    }
    file.write(folder / "model.safetensors");
    return folder;
}

// More rows at the end of the tables, and in config.json; their values are far from all others.
inline void pad_tables(const fs::path& folder, std::int64_t rows)
{
    auto file = Tensors::read(folder / "model.safetensors");
    for (auto& tensor : file.list) {
        if (tensor.name != embedding && tensor.name != head) { continue; }
        const auto count = std::size_t((rows - tensor.shape[0]) * tensor.shape[1]);
        tensor.bytes += stored(std::vector<double>(count, 77), tensor.dtype);
        tensor.shape[0] = rows;
    }
    file.write(folder / "model.safetensors");
    change_json(folder / "config.json", [&](auto& json) { json["vocab_size"] = rows; });
}

// The mean of the first rows of a table, by one loop after the other, to the nearest value of its type.
inline std::vector<double> mean_of(const Tensors::One& table, std::int64_t rows)
{
    const auto values = values_in(table);
    const auto cols = std::size_t(table.shape[1]);
    std::vector<double> out(cols);
    for (std::size_t j = 0; j < cols; ++j) {
        for (std::size_t i = 0; i < std::size_t(rows); ++i) { out[j] += values[i * cols + j]; }
        out[j] = nearest(out[j] / double(rows), *graft::stored_type(table.dtype));
    }
    return out;
}

inline std::vector<double> row_of(const Tensors::One& table, std::int64_t row)
{
    const auto values = values_in(table);
    const auto begin = values.begin() + row * table.shape[1];
    return {begin, begin + table.shape[1]};
}

inline graft::GrowReceipt grow(const fs::path& base, const fs::path& out, const graft::GrowOptions& options)
{
    fs::create_directories(out);
    return graft::grow_vocabulary(base, out, options);
}

// Why a base cannot be grown; the folder of the result must be as it was.
inline std::string refusal(const fs::path& base, const std::vector<std::string>& tokens = chat_tokens)
{
    const TempFolder temp;
    const auto text = refusal_of([&] { graft::grow_vocabulary(base, temp.path(), {.tokens = tokens}); });
    CHECK(fs::is_empty(temp.path()));
    return text;
}

}  // namespace graft_test
