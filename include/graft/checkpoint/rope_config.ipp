#pragma once
#include "graft/checkpoint/rope_config.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/io/json_file.hpp"
#include "graft/io/text.hpp"
#include "graft/models/config.hpp"
#include "graft/models/rope.hpp"

namespace graft::detail {

inline constexpr std::array<std::pair<const char*, RopeKind>, 7> rope_kinds{{
    {"default", RopeKind::plain},
    {"linear", RopeKind::linear},
    {"dynamic", RopeKind::dynamic},
    {"llama3", RopeKind::llama3},
    {"yarn", RopeKind::yarn},
    {"longrope", RopeKind::longrope},
    {"su", RopeKind::longrope},
}};

inline const char* rope_kind_name(RopeKind kind)
{
    for (const auto& [name, value] : rope_kinds) {
        if (value == kind) { return name; }
    }
    return "default";
}

// One of the two objects.
class RopeReader {
public:
    RopeReader(const OrderedJson& from, const OrderedJson& whole, const ModelConfig& config, std::string where)
        : from_(from), whole_(whole), config_(config), where_(std::move(where))
    {}

    // All but theta.
    RopeSettings read() const
    {
        RopeSettings rope;
        rope.kind = kind();
        if (rope.kind == RopeKind::plain) { return rope; }
        if (rope.kind != RopeKind::longrope || json_find(from_, "factor") != nullptr) { rope.factor = factor(rope); }
        if (rope.kind != RopeKind::linear) { rope.original = original(rope.kind); }
        switch (rope.kind) {
        case RopeKind::llama3: read_llama3(rope); break;
        case RopeKind::yarn: read_yarn(rope); break;
        case RopeKind::longrope: read_longrope(rope); break;
        case RopeKind::dynamic: check_dynamic(); break;
        default: break;
        }
        return rope;
    }

private:
    void check(bool holds, const std::string& what) const
    {
        require(holds, [&] { return where_ + ": " + what; });
    }

    RopeKind kind() const
    {
        const std::string type = json_string_or(from_, "rope_type", json_string_or(from_, "type", "", where_), where_);
        if (type.empty()) {
            check(from_.size() == 1 && from_.contains("rope_theta"), "the field rope_type is missing");
            return RopeKind::plain;
        }
        if (type == "yarn" && json_find(from_, "long_factor") != nullptr) { return RopeKind::longrope; }
        for (const auto& [name, value] : rope_kinds) {
            if (type == name) { return value; }
        }
        throw Error(where_ + " of type " + printable(type)
                    + " is not supported: default, linear, dynamic, llama3, yarn and longrope are");
    }

    // Above 0, or what an absent field means.
    double above_zero(const char* key, double absent, bool zero_is_absent = false) const
    {
        const double value = json_number_or(from_, key, absent, where_);
        if (zero_is_absent && value == 0) { return absent; }
        check(std::isfinite(value) && value > 0, std::string(key) + " must be above 0, found " + shortest_text(value));
        return value;
    }

    double factor(const RopeSettings& rope) const
    {
        const bool null = from_.contains("factor") && from_.at("factor").is_null();
        if (null && rope.kind == RopeKind::yarn) { return double(config_.max_positions) / double(original(rope.kind)); }
        json_number(from_, "factor", where_);  // must be there
        return above_zero("factor", 1);
    }

    std::int64_t original(RopeKind kind) const
    {
        constexpr const char* key = "original_max_position_embeddings";
        if (kind == RopeKind::dynamic) { return config_.max_positions; }
        const std::int64_t inside = json_int_or(from_, key, config_.max_positions, where_);
        const std::int64_t value = json_int_or(whole_, key, inside, where_);
        check(value >= 1 && value <= std::int64_t(1) << 40,
              std::string(key) + " must be at least 1, found " + std::to_string(value));
        return value;
    }

    void check_dynamic() const { check(config_.head_dim > 2, "dynamic needs a head size above 2"); }

    void read_llama3(RopeSettings& rope) const
    {
        rope.low = json_number(from_, "low_freq_factor", where_);
        rope.high = json_number(from_, "high_freq_factor", where_);
        check(rope.low > 0 && rope.high > rope.low && std::isfinite(rope.high),
              "high_freq_factor must be above low_freq_factor, and that above 0");
    }

    void read_yarn(RopeSettings& rope) const
    {
        rope.beta_fast = above_zero("beta_fast", 32, true);
        rope.beta_slow = above_zero("beta_slow", 1, true);
        check(rope.beta_fast >= rope.beta_slow, "beta_fast must not be below beta_slow, found "
                                                    + shortest_text(rope.beta_fast) + " and "
                                                    + shortest_text(rope.beta_slow));
        rope.truncate = json_bool_or(from_, "truncate", true, where_);
        const auto grown = [&](double m) { return rope.factor <= 1 ? 1.0 : 0.1 * m * std::log(rope.factor) + 1.0; };
        const double mscale = json_number_or(from_, "mscale", 0, where_);
        const double all = json_number_or(from_, "mscale_all_dim", 0, where_);
        rope.attention =
            above_zero("attention_factor", mscale != 0 && all != 0 ? grown(mscale) / grown(all) : grown(1));
    }

    std::vector<double> factors(const char* key) const
    {
        const OrderedJson& list = json_at(from_, key, where_);
        if (!list.is_array()) { json_field_error(where_, key, "a list of numbers", list); }
        check(list.size() == std::size_t(config_.head_dim / 2),
              std::string(key) + " must have half the head size, " + std::to_string(config_.head_dim / 2)
                  + ", of numbers, found " + std::to_string(list.size()));
        std::vector<double> out;
        for (const OrderedJson& item : list) {
            out.push_back(json_as_number(item, key, where_));
            check(std::isfinite(out.back()) && out.back() > 0,
                  std::string(key) + " must hold numbers above 0, found " + shortest_text(out.back()));
        }
        return out;
    }

    void read_longrope(RopeSettings& rope) const
    {
        rope.short_factor = factors("short_factor");
        rope.long_factor = factors("long_factor");
        const bool given = json_find(from_, "factor") != nullptr;
        const double s = given ? rope.factor : double(config_.max_positions) / double(rope.original);
        check(s <= 1 || rope.original > 1, "original_max_position_embeddings must be above 1");
        rope.attention =
            above_zero("attention_factor", s <= 1 ? 1 : std::sqrt(1 + std::log(s) / std::log(double(rope.original))));
    }

    const OrderedJson& from_;
    const OrderedJson& whole_;
    const ModelConfig& config_;
    std::string where_;
};

GRAFT_INLINE const OrderedJson* object_of(const OrderedJson& json, const char* key, const std::string& where)
{
    const OrderedJson* field = json_find(json, key);
    if (field == nullptr) { return nullptr; }
    if (!field->is_object()) { json_field_error(where, key, "an object", *field); }
    return field->empty() ? nullptr : field;
}

}  // namespace graft::detail

namespace graft {

GRAFT_INLINE RopeSettings read_rope(const OrderedJson& json, const ModelConfig& config, const std::string& where)
{
    RopeSettings rope;
    double theta = json_number_or(json, "rope_theta", 10000, where);
    const OrderedJson* first = nullptr;
    for (const char* key : {"rope_scaling", "rope_parameters"}) {  // the newer one wins with its theta
        const OrderedJson* from = detail::object_of(json, key, where);
        if (from == nullptr) { continue; }
        const RopeSettings said = detail::RopeReader(*from, json, config, where + ": " + key).read();
        require(first == nullptr || said == rope,
                [&] { return where + ": rope_parameters and rope_scaling do not say the same; remove one"; });
        rope = said, first = from;
        theta = json_number_or(*from, "rope_theta", theta, where + ": " + key);
    }
    rope.theta = theta;
    require(std::isfinite(theta) && theta > 1,
            [&] { return where + ": rope_theta must be above 1, found " + std::to_string(theta); });
    return rope;
}

GRAFT_INLINE std::string scaling_text(const ModelConfig& config)
{
    const auto& rope = config.rope;
    if (rope.kind == RopeKind::plain) { return ""; }
    const std::int64_t reach = covered_positions(config);
    const std::int64_t from = rope.original > 0 ? rope.original : config.max_positions;
    return std::string(detail::rope_kind_name(rope.kind))
           + (rope.kind == RopeKind::longrope ? "" : ", factor " + shortest_text(rope.factor)) + ", from "
           + std::to_string(from) + " to " + std::to_string(reach) + " positions";
}

GRAFT_INLINE void name_scaling(ModelConfig& config, const std::string& named)
{
    const std::string where = "--rope-scaling " + printable(named);
    const auto colon = named.find(':');
    const std::string kind = named.substr(0, colon);
    RopeSettings rope{.theta = config.rope.theta};
    for (const auto& [name, value] : detail::rope_kinds) {
        if (kind == name && value != RopeKind::longrope) { rope.kind = value; }
    }
    const char* begin = colon == std::string::npos ? nullptr : named.data() + colon + 1;
    const char* end = named.data() + named.size();
    const auto read = begin == nullptr ? std::from_chars_result{} : std::from_chars(begin, end, rope.factor);
    require(rope.kind != RopeKind::plain && begin != nullptr && read.ec == std::errc() && read.ptr == end, [&] {
        return where + ": must be a kind and a factor: linear:2, dynamic:2, yarn:4 or llama3:8"
               + (kind == "longrope" ? "; longrope needs lists of factors, which only a config.json can give" : "");
    });
    require(std::isfinite(rope.factor) && rope.factor > 1 && rope.factor <= 4096,
            [&] { return where + ": the factor must be above 1, and at most 4096"; });
    if (config.rope.kind == rope.kind && config.rope.factor == rope.factor) { return; }
    require(config.rope.kind == RopeKind::plain, [&] {
        return where + ": the model's config.json has a scaling already: " + scaling_text(config)
               + "; leave the option out, or take the scaling out of the file";
    });
    require(rope.kind != RopeKind::dynamic || config.head_dim > 2,
            [&] { return where + ": dynamic needs a head size above 2"; });
    if (rope.kind != RopeKind::linear) { rope.original = config.max_positions; }
    if (rope.kind == RopeKind::yarn) { rope.attention = 0.1 * std::log(rope.factor) + 1.0; }
    if (rope.kind == RopeKind::yarn || rope.kind == RopeKind::llama3) {
        config.max_positions = std::int64_t(std::min(double(config.max_positions) * rope.factor, 0x1p40));
    }
    config.rope = rope;
    config.rope_named = named;
}

GRAFT_INLINE bool has_scaling(ModelConfig config, const std::string& named)
{
    const RopeSettings before = config.rope;
    try {
        name_scaling(config, named);
    } catch (const Error&) {  // another one, or a record that is none
        return false;
    }
    return config.rope == before;
}

GRAFT_INLINE void write_rope(OrderedJson& json, const ModelConfig& config)
{
    if (config.rope_named.empty()) { return; }
    const auto& rope = config.rope;
    OrderedJson said = {{"rope_type", detail::rope_kind_name(rope.kind)}, {"factor", rope.factor}};
    if (rope.kind == RopeKind::llama3) { said["low_freq_factor"] = rope.low, said["high_freq_factor"] = rope.high; }
    if (rope.kind == RopeKind::llama3 || rope.kind == RopeKind::yarn) {
        said["original_max_position_embeddings"] = rope.original;
    }
    const bool newer = json_find(json, "rope_parameters") != nullptr;
    if (newer) { said["rope_theta"] = rope.theta; }
    json[newer ? "rope_parameters" : "rope_scaling"] = said;
    if (newer) { json.erase("rope_scaling"); }
    json["max_position_embeddings"] = config.max_positions;
}

}  // namespace graft
