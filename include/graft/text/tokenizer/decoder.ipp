#pragma once
#include "graft/text/tokenizer/decoder.hpp"

#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "graft/core/error.hpp"
#include "graft/text/tokenizer/byte_level.hpp"
#include "graft/text/tokenizer/json.hpp"
#include "graft/text/tokenizer/pre_tokenizer.hpp"
#include "graft/text/tokenizer/unicode.hpp"

namespace graft::detail::tokens {

GRAFT_INLINE Decoder::Decoder(const Json& json, const std::string& where)
{
    add(json, where);
    spaces_ = json.is_null();
}

GRAFT_INLINE void Decoder::push(State& state, std::string_view token, std::string& out) const
{
    if (spaces_) {  // no decoder: tokens with spaces between, as the reference does
        if (state.steps.back().begun) { out += ' '; }
        state.steps.back().begun = true;
    }
    step(0, state, token, out);
}

GRAFT_INLINE void Decoder::finish(State& state, std::string& out) const
{
    for (std::size_t i = 0; i < steps_.size(); ++i) {
        State::Step& at = state.steps[i];
        switch (steps_[i].kind) {
        case Kind::byte_level: {
            std::string text;
            append_lossy(text, at.held, true);
            at.held.clear();
            if (!text.empty()) { step(i + 1, state, text, out); }
            break;
        }
        case Kind::byte_fallback: flush_bytes(i, state, out); break;
        default: break;  // what Strip holds of the fused text is stripped
        }
    }
    for (State::Step& at : state.steps) { at = {}; }
}

GRAFT_INLINE void Decoder::add(const Json& json, const std::string& where)
{
    if (json.is_null()) { return; }
    const std::string type = type_field(json, where);
    bool fused = false;
    for (const Step& earlier : steps_) {
        fused = fused || earlier.kind == Kind::fuse || earlier.kind == Kind::byte_level;
    }
    require(!fused || type == "Fuse" || type == "Strip" || type == "Sequence",
            [&] { return where + ": " + type + " after Fuse or ByteLevel is not supported"; });
    Step step{Kind::fuse, {}, 0, 0, {}, false};
    if (type == "Sequence") {
        const Json& list = field(json, "decoders");
        require(list.is_array(), where + ": decoders must be a list");
        for (const Json& entry : list) { add(entry, where); }
        return;
    }
    if (type == "ByteLevel") {
        step.kind = Kind::byte_level;
    } else if (type == "ByteFallback") {
        step.kind = Kind::byte_fallback;
    } else if (type == "Strip") {
        step.kind = fused ? Kind::strip_fused : Kind::strip;
        step.content = text_field(json, "content", where);
        require(!invalid_utf8(step.content) && !step.content.empty()
                    && char_length(step.content, 0) == step.content.size(),
                where + ": Strip's content must be one character");
        step.start = count_field(json, "start", 0, where);
        step.stop = count_field(json, "stop", 0, where);
    } else if (type == "Replace") {
        step.kind = Kind::replace;
        step.content = text_field(json, "content", where);
        step.pattern.emplace(field(json, "pattern"), where);
    } else if (type == "Metaspace") {
        step.kind = Kind::metaspace;
        const Metaspace metaspace(json, where);
        step.content = " ";
        step.pattern.emplace(Json::object({{"String", metaspace.replacement}}), where);
        step.drop_first = metaspace.prepend != Metaspace::Prepend::never;
    } else if (type != "Fuse") {
        throw Error(where + ": unknown type \"" + type
                    + "\"; known: ByteFallback, ByteLevel, Fuse, Metaspace, Replace, Sequence, Strip");
    }
    steps_.push_back(std::move(step));
}

GRAFT_INLINE void Decoder::step(std::size_t i, State& state, std::string_view token, std::string& out) const
{
    if (i == steps_.size()) {
        out += token;
        return;
    }
    const Step& what = steps_[i];
    State::Step& at = state.steps[i];
    switch (what.kind) {
    case Kind::fuse: return step(i + 1, state, token, out);
    case Kind::byte_level: {
        if (!append_bytes_of(at.held, token)) { at.held += token; }
        std::string text;
        at.held.erase(0, append_lossy(text, at.held, false));
        return step(i + 1, state, text, out);
    }
    case Kind::byte_fallback:
        if (const auto byte = byte_of(token)) {
            at.held += static_cast<char>(*byte);
            return;
        }
        flush_bytes(i, state, out);
        return step(i + 1, state, token, out);
    case Kind::strip: {
        std::size_t start = what.start, stop = what.stop;
        for (; start > 0 && token.starts_with(what.content); --start) { token.remove_prefix(what.content.size()); }
        for (; stop > 0 && token.ends_with(what.content); --stop) { token.remove_suffix(what.content.size()); }
        return step(i + 1, state, token, out);
    }
    case Kind::strip_fused: {
        while (!at.begun && at.removed < what.start && token.starts_with(what.content)) {
            token.remove_prefix(what.content.size());
            ++at.removed;
        }
        if (!token.empty() || at.removed == what.start) { at.begun = true; }
        if (what.stop == 0) { return step(i + 1, state, token, out); }
        // The last `stop` characters, where they are `content`, must wait: the text may end with them.
        std::string text = at.held.append(token);
        std::size_t keep = text.size();
        for (std::size_t n = 0; n < what.stop; ++n) {
            if (!std::string_view(text).substr(0, keep).ends_with(what.content)) { break; }
            keep -= what.content.size();
        }
        at.held = text.substr(keep);
        return step(i + 1, state, std::string_view(text).substr(0, keep), out);
    }
    case Kind::replace:
    case Kind::metaspace: {
        const bool drop = what.drop_first && !at.begun;
        at.begun = true;
        std::string text;
        std::size_t done = 0;
        what.pattern->each(token, state.data, [&](std::size_t begin, std::size_t end) {
            text += token.substr(done, begin - done);
            if (!drop) { text += what.content; }
            done = end;
        });
        text += token.substr(done);
        return step(i + 1, state, text, out);
    }
    }
}

GRAFT_INLINE std::optional<unsigned char> Decoder::byte_of(std::string_view token)
{
    if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') { return std::nullopt; }
    unsigned value = 0;
    for (const char c : token.substr(3, 2)) {
        const int digit = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                                 : -1;
        if (digit < 0) { return std::nullopt; }
        value = 16 * value + static_cast<unsigned>(digit);
    }
    return static_cast<unsigned char>(value);
}

GRAFT_INLINE void Decoder::flush_bytes(std::size_t i, State& state, std::string& out) const
{
    std::string bytes;
    bytes.swap(state.steps[i].held);
    if (bytes.empty()) { return; }
    if (!invalid_utf8(bytes)) { return step(i + 1, state, bytes, out); }
    for (std::size_t k = 0; k < bytes.size(); ++k) { step(i + 1, state, replacement_character, out); }
}

}  // namespace graft::detail::tokens
