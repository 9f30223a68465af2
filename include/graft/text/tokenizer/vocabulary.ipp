#pragma once
#include "graft/text/tokenizer/vocabulary.hpp"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "graft/core/error.hpp"

namespace graft::detail::tokens {

GRAFT_INLINE std::uint64_t mix(std::uint64_t x)
{
    x ^= x >> 32;
    x *= 0xD6E8FEB86659FD93u;
    x ^= x >> 32;
    x *= 0xD6E8FEB86659FD93u;
    return x ^ x >> 32;
}

GRAFT_INLINE std::uint64_t hash_bytes(std::string_view bytes)
{
    std::uint64_t h = bytes.size() * 0x9E3779B97F4A7C15u;
    const char* at = bytes.data();
    std::size_t left = bytes.size();
    for (; left >= 8; at += 8, left -= 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, at, 8);
        h = (std::rotl(h, 23) ^ word) * 0x9FB21C651E98DF25u;
    }
    std::uint64_t tail = 0;
    for (std::size_t i = 0; i < left; ++i) { tail |= std::uint64_t(static_cast<unsigned char>(at[i])) << (8 * i); }
    return mix((std::rotl(h, 23) ^ tail) * 0x9FB21C651E98DF25u);
}

GRAFT_INLINE std::uint64_t pair_key(std::int32_t a, std::int32_t b)
{
    return std::uint64_t(static_cast<std::uint32_t>(a)) << 32 | static_cast<std::uint32_t>(b);
}

GRAFT_INLINE std::string byte_name(char byte)
{
    constexpr std::string_view digits = "0123456789ABCDEF";
    const auto b = static_cast<unsigned char>(byte);
    return {'<', '0', 'x', digits[b >> 4], digits[b & 15], '>'};
}

GRAFT_INLINE void StringTable::reserve(std::size_t ids, std::size_t bytes)
{
    at_.reserve(ids);
    bytes_.reserve(bytes);
    if (std::bit_ceil(2 * ids + 1) > slots_.size()) { rehash(std::bit_ceil(2 * ids + 1)); }
}

GRAFT_INLINE bool StringTable::has(std::int32_t id) const
{
    return id >= 0 && static_cast<std::size_t>(id) < at_.size() && at_[static_cast<std::size_t>(id)].there;
}

GRAFT_INLINE std::string_view StringTable::operator[](std::int32_t id) const
{
    const Place& place = at_[static_cast<std::size_t>(id)];
    return std::string_view(bytes_).substr(place.begin, place.length);
}

GRAFT_INLINE std::int32_t StringTable::find(std::string_view text) const
{
    if (text.size() > longest_) { return no_id; }
    const std::uint64_t hash = hash_bytes(text);
    for (std::size_t i = hash & mask_;; i = (i + 1) & mask_) {
        const Slot& slot = slots_[i];
        if (slot.id == no_id) { return no_id; }
        if (slot.tag == static_cast<std::uint32_t>(hash >> 32) && (*this)[slot.id] == text) { return slot.id; }
    }
}

GRAFT_INLINE bool StringTable::add(std::string_view text, std::int32_t id)
{
    if (has(id) || find(text) != no_id) { return false; }
    if (2 * (count_ + 1) > slots_.size()) { rehash(2 * slots_.size()); }
    const auto index = static_cast<std::size_t>(id);
    if (index >= at_.size()) { at_.resize(index + 1); }
    at_[index] = {bytes_.size(), static_cast<std::uint32_t>(text.size()), true};
    bytes_ += text;
    longest_ = text.size() > longest_ ? text.size() : longest_;
    ++count_;
    place(id);
    return true;
}

GRAFT_INLINE void StringTable::place(std::int32_t id)
{
    const std::uint64_t hash = hash_bytes((*this)[id]);
    std::size_t i = hash & mask_;
    while (slots_[i].id != no_id) { i = (i + 1) & mask_; }
    slots_[i] = {static_cast<std::uint32_t>(hash >> 32), id};
}

GRAFT_INLINE void StringTable::rehash(std::size_t count)
{
    slots_.assign(count, {});
    mask_ = count - 1;
    for (std::size_t id = 0; id < at_.size(); ++id) {
        if (at_[id].there) { place(static_cast<std::int32_t>(id)); }
    }
}

}  // namespace graft::detail::tokens
