#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"

// The tables of the tokeniser: strings by id, ids by string, values by a pair of ids. All are flat arrays.
namespace graft::detail::tokens {

inline constexpr std::int32_t no_id = -1;

std::uint64_t mix(std::uint64_t x);

std::uint64_t hash_bytes(std::string_view bytes);

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

std::uint64_t pair_key(std::int32_t a, std::int32_t b);

// How the token that stands for a byte is spelt: <0x0A>.
std::string byte_name(char byte);

// Strings with ids, both ways. An id may have no string.
class StringTable {
public:
    void reserve(std::size_t ids, std::size_t bytes);
    // One more than the largest id.
    std::size_t size() const { return at_.size(); }
    std::size_t count() const { return count_; }  // of strings
    std::size_t longest() const { return longest_; }
    bool has(std::int32_t id) const;
    // Only for an id that has a string.
    std::string_view operator[](std::int32_t id) const;
    std::int32_t find(std::string_view text) const;
    // The id must be free and the string new: false where not.
    bool add(std::string_view text, std::int32_t id);

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

    void place(std::int32_t id);
    void rehash(std::size_t count);

    std::string bytes_;
    std::vector<Place> at_;
    std::vector<Slot> slots_ = std::vector<Slot>(16);
    std::size_t mask_ = 15, count_ = 0, longest_ = 0;
};

}  // namespace graft::detail::tokens

#if GRAFT_HEADER_ONLY
#include "graft/text/tokenizer/vocabulary.ipp"
#endif
