#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "graft/checkpoint/checkpoint.hpp"
#include "graft/checkpoint/load_model.hpp"
#include "graft/checkpoint/modules.hpp"
#include "graft/checkpoint/nf4_state.hpp"
#include "graft/core/buffer.hpp"
#include "graft/core/device.hpp"
#include "graft/core/dtype.hpp"
#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/io/json_file.hpp"
#include "graft/io/safetensors/types.hpp"
#include "graft/models/config.hpp"

// Whether a checkpoint folder stands alone: everything that is wrong with its weights, not only the first thing.
//
//   const Verification found = verify_weights(folder, read_config(folder));
//   findings(found)          how many; 0 means that the model loads and answers with numbers
//
//   part       holds
//   files      model.safetensors, or every shard of the index, is a whole safetensors file
//   names      each tensor of the model is there, and no other but what every reader passes over (checkpoint.hpp)
//   shapes     as config.json's sizes ask for
//   types      F32, F16, BF16 or F64; linears of a bitsandbytes checkpoint as it stores them
//   values     all finite; 4-bit weights decode
//   head       where tied: not stored, or stored with the embedding's values
//   total      parameters, against config.json, and against total_size and total_parameters of an index
//   forward    one pass over a few tokens gives finite logits; in BF16 where that is what is stored, else in f32
//
// A part that needs one with findings is not looked at, and says so. Memory: the model, frozen, for the last part.
//
// Throws: nothing that a file can cause, but std::bad_alloc.
namespace graft {

struct VerifiedPart {
    std::string name, said;  // said: what was seen, for people
    std::vector<std::string> findings{};
    bool looked = true;
};

using Verification = std::vector<VerifiedPart>;

std::int64_t findings(const Verification& parts);

namespace detail {

// How many values of a dense tensor are NaN or infinite, and where the first is.
struct BadValues {
    std::int64_t count = 0, first = 0;
};

BadValues values_not_finite(const StoredTensor& t);

template <Device Dev> class Verifier {
public:
    Verifier(const std::filesystem::path& folder, const ModelConfig& config) : folder_(folder), config_(config)
    {
        for (const TensorInfo& tensor : checkpoint_tensors(config)) { expected_.emplace(tensor.name, tensor); }
    }

    Verification run()
    {
        if (!open()) {
            for (const char* rest : {"names", "shapes", "types", "values", "head", "total", "forward"}) { skip(rest); }
            return std::move(out_);
        }
        names();
        shapes();
        types();
        values();
        head();
        total();
        if (findings(out_) > 0) {
            skip("forward");
        } else if (config_.stored_dtype == "bfloat16") {
            forward<bf16>();
        } else {
            forward<float>();
        }
        return std::move(out_);
    }

private:
    void skip(const char* name) { out_.push_back({.name = name, .said = "not looked at", .looked = false}); }

    // Runs a reader of files; what it refuses is a finding.
    template <class Call> static void attempt(VerifiedPart& part, Call&& call)
    {
        try {
            call();
        } catch (const Error& error) {
            part.findings.emplace_back(error.what());
        }
    }

    bool open()
    {
        VerifiedPart part{.name = "files", .said = {}};
        attempt(part, [&] { checkpoint_ = Checkpoint::open(folder_); });
        if (part.findings.empty()) {
            part.said = with_commas(checkpoint_->stored_count()) + " tensors, "
                        + with_commas(checkpoint_->stored_bytes()) + " bytes";
        }
        out_.push_back(std::move(part));
        return checkpoint_.has_value();
    }

    bool is_four_bit(const std::string& weight) const { return four_bit_.contains(weight); }

    void names()
    {
        VerifiedPart part{.name = "names", .said = {}};
        for (const auto& [name, tensor] : checkpoint_->tensors()) {
            const std::string weight(nf4_weight_of(name));
            if (!weight.empty() && expected_.contains(weight) && config_.quantization) {
                four_bit_[weight].push_back(*tensor);
            } else if (expected_.contains(name)) {
                stored_.emplace(name, tensor);
            } else if (!(config_.tied && name == "lm_head.weight")) {
                part.findings.push_back("not a tensor of this model: " + printable(name));
            }
        }
        for (auto& [weight, parts] : four_bit_) {
            if (const auto at = stored_.find(weight); at != stored_.end()) { parts.push_back(*at->second); }
        }
        for (const auto& entry : expected_) {
            if (!stored_.contains(entry.first)) { part.findings.push_back("missing: " + entry.first); }
        }
        part.said = "the " + with_commas(std::int64_t(expected_.size())) + " that config.json asks for";
        if (const auto text = passed_over_text(*checkpoint_); !text.empty()) { part.said += "; passed over: " + text; }
        if (const auto& renamed = checkpoint_->renamed(); renamed.count > 0) {
            part.said += "; " + renamed_text(renamed);
        }
        out_.push_back(std::move(part));
    }

    void shapes()
    {
        VerifiedPart part{.name = "shapes", .said = "as its sizes ask for"};
        for (const auto& [name, tensor] : stored_) {
            const auto& shape = expected_.at(name).shape;
            if (is_four_bit(name) || tensor->shape == shape) { continue; }
            part.findings.push_back(name + " is " + shape_text(tensor->shape) + ", expected " + shape_text(shape));
            unread_.insert(name);
        }
        out_.push_back(std::move(part));
    }

    void types()
    {
        VerifiedPart part{.name = "types", .said = {}};
        std::map<std::string, std::int64_t> counts;
        for (const auto& [name, tensor] : stored_) {
            const std::string type = is_four_bit(name) ? "4-bit" : std::string(stored_name(tensor->type));
            counts[type] += 1;
            if (is_four_bit(name) || is_float(tensor->type)) { continue; }
            part.findings.push_back(name + " is " + type + ", expected F32, F16, BF16 or F64");
            unread_.insert(name);
        }
        for (const auto& [type, count] : counts) {
            part.said += (part.said.empty() ? "" : ", ") + with_commas(count) + " in " + type;
        }
        if (!config_.stored_dtype.empty()) { part.said += "; config.json says " + printable(config_.stored_dtype); }
        out_.push_back(std::move(part));
    }

    void values()
    {
        VerifiedPart part{.name = "values", .said = "all finite"};
        for (const auto& [name, tensor] : stored_) {
            if (unread_.contains(name)) { continue; }
            if (const auto at = four_bit_.find(name); at != four_bit_.end()) {
                const auto& shape = expected_.at(name).shape;
                const auto& parts = at->second;
                const std::string weight = name;  // clang 14 captures no structured binding
                attempt(part, [&] {
                    const Nf4State state = read_nf4(weight, parts, printable(folder_.string(), 1000));
                    require(state.shape == shape, [&] {
                        return weight + " decodes to " + shape_text(state.shape) + ", expected " + shape_text(shape);
                    });
                });
                continue;
            }
            const BadValues bad = values_not_finite(*tensor);
            if (bad.count == 0) { continue; }
            part.findings.push_back(name + ": " + with_commas(bad.count) + " of "
                                    + with_commas(elements_of(tensor->shape))
                                    + " values are not finite, the first is element " + std::to_string(bad.first));
        }
        if (!unread_.empty()) { part.said += " but for tensors that cannot be read"; }
        out_.push_back(std::move(part));
    }

    void head()
    {
        VerifiedPart part{.name = "head", .said = config_.tied ? "the embedding (tied), stored once" : "its own"};
        const auto* embed = checkpoint_->find("model.embed_tokens.weight");
        const auto* head = checkpoint_->find("lm_head.weight");
        if (config_.tied && head != nullptr) {
            part.said = "the embedding (tied), stored twice with the same values";
            if (embed == nullptr || !same_values(*head, *embed)) {
                part.findings.push_back("config.json says tie_word_embeddings, but lm_head.weight differs from "
                                        "model.embed_tokens.weight: set it to false if the head is one of its own");
            }
        }
        out_.push_back(std::move(part));
    }

    void total()
    {
        VerifiedPart part{.name = "total", .said = {}};
        std::int64_t expected = 0, found = 0;
        for (const auto& [name, tensor] : expected_) { expected += elements_of(tensor.shape); }
        for (const auto& [name, tensor] : stored_) {
            found += elements_of(is_four_bit(name) ? expected_.at(name).shape : tensor->shape);
        }
        part.said = with_commas(found) + " parameters";
        if (found != expected) {
            part.findings.push_back("the files hold " + with_commas(found) + " parameters, config.json asks for "
                                    + with_commas(expected));
        }
        const auto index = folder_ / "model.safetensors.index.json";
        std::error_code ignored;
        if (std::filesystem::exists(index, ignored)) {
            attempt(part, [&] {
                const auto json = read_json<nlohmann::json>(index);
                const std::string where = "model.safetensors.index.json: metadata";
                const auto* said = json_find(json, "metadata");
                const auto compare = [&](const char* key, std::int64_t is) {
                    if (said == nullptr || json_find(*said, key) == nullptr) { return; }
                    const double value = json_number(*said, key, where);  // older writers give 1.0e9
                    if (value != double(is)) {
                        part.findings.push_back(where + " says " + key + " " + json_text(said->at(key))
                                                + ", the files hold " + std::to_string(is));
                    }
                };
                compare("total_size", checkpoint_->stored_bytes());
                if (!config_.quantization) { compare("total_parameters", found); }
            });
        }
        out_.push_back(std::move(part));
    }

    template <class T> void forward()
    {
        VerifiedPart part{.name = "forward", .said = {}};
        attempt(part, [&] {
            const auto model = load_model<T, Dev>(folder_);
            const std::int64_t covered = std::min(config_.max_positions, config_.sliding_window.value_or(16));
            const std::int64_t n = std::min<std::int64_t>(16, covered);
            std::vector<std::int32_t> some;  // from all over the vocabulary
            for (std::int64_t i = 0; i < n; ++i) { some.push_back(std::int32_t(i * (config_.vocab - 1) / 16)); }
            const auto ids = uploaded(std::span(some), Pool<Dev>::common());
            const auto stream = ids.pool()->stream();
            const auto logits = model(no_tape, ids, context_for<T, Dev>({n}, model.positions(n)));
            std::vector<T> z(std::size_t(logits.cols()));
            double low = INFINITY, high = -INFINITY;
            std::int64_t bad = 0;
            for (std::int64_t i = 0; i < logits.rows(); ++i) {
                memory<Dev>::copy(z.data(), logits.view().row(i), z.size() * sizeof(T), stream);
                for (const T value : z) {
                    bad += !std::isfinite(double(value));
                    low = std::min(low, double(value)), high = std::max(high, double(value));
                }
            }
            char text[128];
            std::snprintf(text, sizeof text, "%lld tokens, logits from %.4g to %.4g", static_cast<long long>(n), low,
                          high);
            part.said = text;
            if (bad > 0) {
                part.findings.push_back(with_commas(bad) + " logits of a pass over " + std::to_string(n)
                                        + " tokens are not finite");
            }
        });
        out_.push_back(std::move(part));
    }

    std::filesystem::path folder_;
    const ModelConfig& config_;
    std::optional<Checkpoint> checkpoint_;
    std::map<std::string, TensorInfo> expected_;
    std::map<std::string, const StoredTensor*> stored_;          // of those that are expected
    std::map<std::string, std::vector<StoredTensor>> four_bit_;  // by the weight
    std::set<std::string> unread_;                               // shape or type is wrong
    Verification out_;
};

}  // namespace detail

template <Device Dev = Cpu> Verification verify_weights(const std::filesystem::path& folder, const ModelConfig& config)
{
    return detail::Verifier<Dev>(folder, config).run();
}

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/checkpoint/verify.ipp"
#endif
