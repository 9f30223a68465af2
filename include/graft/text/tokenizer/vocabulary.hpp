#pragma once
#include "graft/core/error.hpp"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

// The tables of the tokeniser: strings by id, ids by string, values by a pair of ids. All are flat arrays.
namespace graft::detail::tokens {

inline constexpr std::int32_t no_id = -1;

inline std::uint64_t mix(std::uint64_t x)
{
    x ^= x >> 32;
    x *= 0xD6E8FEB86659FD93u;
    x ^= x >> 32;
    x *= 0xD6E8FEB86659FD93u;
    return x ^ x >> 32;
}

inline std::uint64_t hash_bytes(std::string_view bytes)
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

// 64-bit keys to values, open addressing, at most half full. The key ~0 is not allowed.
template <class Value> class FlatMap {
public:
    FlatMap() { rehash(16); }
    void reserve(std::size_t count)
    {
        if (std::bit_ceil(2 * count + 1) > slots_.size()) { rehash(std::bit_ceil(2 * count + 1)); }
    }
    std::size_t size() const { return size_; }
    const Value* find(std::uint64_t key) const
    {
        for (std::size_t i = mix(key) & mask_;; i = (i + 1) & mask_) {
            if (slots_[i].key == key) { return &slots_[i].value; }
            if (slots_[i].key == empty) { return nullptr; }
        }
    }
    Value& operator[](std::uint64_t key)
    {
        if (2 * (size_ + 1) > slots_.size()) { rehash(2 * slots_.size()); }
        std::size_t i = mix(key) & mask_;
        while (slots_[i].key != key && slots_[i].key != empty) { i = (i + 1) & mask_; }
        if (slots_[i].key == empty) {
            slots_[i].key = key;
            ++size_;
        }
        return slots_[i].value;
    }

private:
    static constexpr std::uint64_t empty = ~std::uint64_t(0);
    struct Slot {
        std::uint64_t key = empty;
        Value value{};
    };

    void rehash(std::size_t count)
    {
        std::vector<Slot> old(count);
        old.swap(slots_);
        mask_ = count - 1;
        for (Slot& slot : old) {
            if (slot.key == empty) { continue; }
            std::size_t i = mix(slot.key) & mask_;
            while (slots_[i].key != empty) { i = (i + 1) & mask_; }
            slots_[i] = slot;
        }
    }

    std::vector<Slot> slots_;
    std::size_t mask_ = 0, size_ = 0;
};

inline std::uint64_t pair_key(std::int32_t a, std::int32_t b)
{
    return std::uint64_t(static_cast<std::uint32_t>(a)) << 32 | static_cast<std::uint32_t>(b);
}

// How the token that stands for a byte is spelt: <0x0A>.
inline std::string byte_name(char byte)
{
    constexpr std::string_view digits = "0123456789ABCDEF";
    const auto b = static_cast<unsigned char>(byte);
    return {'<', '0', 'x', digits[b >> 4], digits[b & 15], '>'};
}

// Strings with ids, both ways. An id may have no string.
class StringTable {
public:
    void reserve(std::size_t ids, std::size_t bytes)
    {
        at_.reserve(ids);
        bytes_.reserve(bytes);
        if (std::bit_ceil(2 * ids + 1) > slots_.size()) { rehash(std::bit_ceil(2 * ids + 1)); }
    }
    // One more than the largest id.
    std::size_t size() const { return at_.size(); }
    std::size_t count() const { return count_; }  // of strings
    std::size_t longest() const { return longest_; }
    bool has(std::int32_t id) const
    {
        return id >= 0 && static_cast<std::size_t>(id) < at_.size() && at_[static_cast<std::size_t>(id)].there;
    }
    // Only for an id that has a string.
    std::string_view operator[](std::int32_t id) const
    {
        const Place& place = at_[static_cast<std::size_t>(id)];
        return std::string_view(bytes_).substr(place.begin, place.length);
    }
    std::int32_t find(std::string_view text) const
    {
        if (text.size() > longest_) { return no_id; }
        const std::uint64_t hash = hash_bytes(text);
        for (std::size_t i = hash & mask_;; i = (i + 1) & mask_) {
            const Slot& slot = slots_[i];
            if (slot.id == no_id) { return no_id; }
            if (slot.tag == static_cast<std::uint32_t>(hash >> 32) && (*this)[slot.id] == text) { return slot.id; }
        }
    }
    // The id must be free and the string new: false where not.
    bool add(std::string_view text, std::int32_t id)
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

private:
    struct Place {
        std::size_t begin = 0;
        std::uint32_t length = 0;
        bool there = false;
    };
    struct Slot {
        std::uint32_t tag = 0;
        std::int32_t id = no_id;
    };

    void place(std::int32_t id)
    {
        const std::uint64_t hash = hash_bytes((*this)[id]);
        std::size_t i = hash & mask_;
        while (slots_[i].id != no_id) { i = (i + 1) & mask_; }
        slots_[i] = {static_cast<std::uint32_t>(hash >> 32), id};
    }
    void rehash(std::size_t count)
    {
        slots_.assign(count, {});
        mask_ = count - 1;
        for (std::size_t id = 0; id < at_.size(); ++id) {
            if (at_[id].there) { place(static_cast<std::int32_t>(id)); }
        }
    }

    std::string bytes_;
    std::vector<Place> at_;
    std::vector<Slot> slots_ = std::vector<Slot>(16);
    std::size_t mask_ = 15, count_ = 0, longest_ = 0;
};

}  // namespace graft::detail::tokens
