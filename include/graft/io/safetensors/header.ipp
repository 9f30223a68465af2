#pragma once
#include "graft/io/safetensors/header.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/io/safetensors/types.hpp"
#include "graft/io/text.hpp"

namespace graft::detail {

// Takes the events of the JSON parser, so that a header of 100 MB builds no tree; sees every name, repeated ones too.
class HeaderReader {
public:
    using number_integer_t = std::int64_t;
    using number_unsigned_t = std::uint64_t;
    using number_float_t = double;
    using string_t = std::string;
    using binary_t = std::vector<std::uint8_t>;

    HeaderReader(const std::string& where, Header& out) : where_(where), out_(out) {}

    bool start_object(std::size_t)
    {
        if (state_ == State::start) {
            state_ = State::top;
        } else if (state_ == State::top_value) {
            state_ = is_metadata_ ? State::metadata : State::entry;
        } else {
            wrong("an object");
        }
        return true;
    }
    bool key(std::string& name)
    {
        if (state_ == State::top) {
            if (!names_.insert(name).second) { bad("the name " + printable(name) + " occurs twice"); }
            is_metadata_ = name == "__metadata__";
            if (!is_metadata_) {
                out_.entries.emplace_back();
                out_.entries.back().name = name;
            }
            has_type_ = has_shape_ = has_offsets_ = false;
            state_ = State::top_value;
        } else if (state_ == State::metadata) {
            field_ = name;
            if (out_.metadata.contains(name)) { bad("the metadata name " + printable(name) + " occurs twice"); }
            state_ = State::metadata_value;
        } else {
            const auto once = [&](bool& seen, State next) {
                if (seen) { bad_entry("has " + printable(name) + " twice"); }
                seen = true;
                state_ = next;
            };
            if (name == "dtype") {
                once(has_type_, State::type);
            } else if (name == "shape") {
                once(has_shape_, State::shape);
            } else if (name == "data_offsets") {
                once(has_offsets_, State::offsets);
            } else {
                bad_entry("has the unknown field " + printable(name));
            }
        }
        return true;
    }
    bool string(std::string& value)
    {
        if (state_ == State::metadata_value) {
            out_.metadata.emplace(std::move(field_), value);
            state_ = State::metadata;
        } else if (state_ == State::type) {
            const auto type = stored_type(value);
            if (!type) { bad_entry("has the unknown element type " + printable(value)); }
            out_.entries.back().type = *type;
            state_ = State::entry;
        } else {
            wrong("a text");
        }
        return true;
    }
    bool start_array(std::size_t)
    {
        if (state_ == State::shape) {
            state_ = State::shape_items;
        } else if (state_ == State::offsets) {
            state_ = State::offset_items;
            seen_ = 0;
        } else {
            wrong("a list");
        }
        return true;
    }
    bool number_unsigned(std::uint64_t value)
    {
        if (state_ == State::shape_items) {
            if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
                bad_entry("has an extent that is too large");
            }
            if (out_.entries.back().shape.size() >= 64) { bad_entry("has more than 64 axes"); }
            out_.entries.back().shape.push_back(static_cast<std::int64_t>(value));
        } else if (state_ == State::offset_items) {
            if (seen_ >= 2) { bad_entry("has more than two data_offsets"); }
            (seen_ == 0 ? out_.entries.back().begin : out_.entries.back().end) = value;
            seen_ += 1;
        } else {
            wrong("a number");
        }
        return true;
    }
    bool end_array()
    {
        if (state_ == State::offset_items && seen_ != 2) { bad_entry("must have two data_offsets"); }
        state_ = State::entry;
        return true;
    }
    bool end_object()
    {
        if (state_ == State::entry && !(has_type_ && has_shape_ && has_offsets_)) {
            bad_entry(std::string("has no ") + (!has_type_ ? "dtype" : !has_shape_ ? "shape" : "data_offsets"));
        }
        state_ = state_ == State::top ? State::done : State::top;
        return true;
    }

    bool null() { return wrong("null"); }
    bool boolean(bool) { return wrong("true or false"); }
    bool number_integer(std::int64_t) { return wrong("a negative number"); }
    bool number_float(double, const std::string&) { return wrong("a fraction"); }
    bool binary(binary_t&) { return wrong("binary data"); }
    bool parse_error(std::size_t byte, const std::string&, const nlohmann::detail::exception& error)
    {
        std::string_view reason = error.what();
        if (const auto cut = reason.find(": "); cut != std::string_view::npos) { reason.remove_prefix(cut + 2); }
        bad("it is not JSON at byte " + std::to_string(byte) + ": " + printable(reason, 200));
    }

private:
    enum class State {
        start,
        top,
        top_value,
        metadata,
        metadata_value,
        entry,
        type,
        shape,
        shape_items,
        offsets,
        offset_items,
        done
    };

    [[noreturn]] void bad(const std::string& what) const
    {
        throw Error(where_ + ": the safetensors header is damaged: " + what);
    }
    [[noreturn]] void bad_entry(const std::string& what) const
    {
        bad("tensor " + printable(out_.entries.back().name) + " " + what);
    }
    [[noreturn]] bool wrong(const char* found) const
    {
        switch (state_) {
        case State::metadata_value: bad("metadata may hold texts only, found " + std::string(found));
        case State::type: bad_entry("must have a text as dtype, found " + std::string(found));
        case State::shape:
        case State::shape_items: bad_entry("must have a list of whole numbers as shape, found " + std::string(found));
        case State::offsets:
        case State::offset_items: bad_entry("must have two whole numbers as data_offsets, found " + std::string(found));
        default: bad("expected an object of tensors, found " + std::string(found));
        }
    }

    const std::string& where_;
    Header& out_;
    std::unordered_set<std::string> names_;
    std::string field_;
    State state_ = State::start;
    bool is_metadata_ = false, has_type_ = false, has_shape_ = false, has_offsets_ = false;
    int seen_ = 0;
};

GRAFT_INLINE Header read_header(std::string_view text, std::uint64_t data_bytes, const std::string& where)
{
    const auto damaged = [&](const std::string& what) {
        return where + ": the safetensors header is damaged: " + what;
    };
    require(!text.empty() && text.front() == '{', [&] { return damaged("it must begin with {"); });
    require(text.find('\0') == std::string_view::npos, [&] { return damaged("it holds a NUL byte"); });
    require(valid_utf8(text), [&] { return damaged("it is not UTF-8"); });

    Header header;
    HeaderReader reader(where, header);
    nlohmann::json::sax_parse(text.begin(), text.end(), &reader);

    std::stable_sort(header.entries.begin(), header.entries.end(), [](const HeaderEntry& a, const HeaderEntry& b) {
        return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
    });
    std::uint64_t at = 0;
    const HeaderEntry* before = nullptr;
    for (const HeaderEntry& entry : header.entries) {
        const auto says = [&](const std::string& what) {
            return damaged("tensor " + printable(entry.name) + " " + what);
        };
        const std::string range = "bytes " + std::to_string(entry.begin) + " to " + std::to_string(entry.end);
        require(entry.end >= entry.begin, [&] { return says("ends before it begins (" + range + ")"); });
        require(entry.begin >= at, [&] {
            return says("(" + range + ") overlaps " + printable(before->name) + ", which ends at "
                        + std::to_string(at));
        });
        require(entry.begin == at, [&] {
            return says("(" + range + ") leaves a hole: the data before it ends at " + std::to_string(at));
        });
        const auto bytes = stored_bytes(entry.type, entry.shape);
        const auto is = [&] { return std::string(stored_name(entry.type)) + " " + shape_text(entry.shape); };
        require(bytes.has_value(),
                [&] { return says("is " + is() + ", which is no whole number of bytes or too large"); });
        require(*bytes == entry.end - entry.begin, [&] {
            return says("is " + is() + ", " + std::to_string(*bytes) + " bytes, but its data_offsets span "
                        + std::to_string(entry.end - entry.begin));
        });
        at = entry.end;
        before = &entry;
    }
    require(at <= data_bytes, [&] {
        return where + ": truncated: the tensors take " + std::to_string(at) + " bytes, the file holds "
               + std::to_string(data_bytes) + "; fetch it again";
    });
    require(at == data_bytes, [&] {
        return where + ": " + std::to_string(data_bytes - at) + " bytes follow the last tensor; the file is damaged";
    });
    return header;
}

}  // namespace graft::detail
