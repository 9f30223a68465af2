#pragma once
#include "graft/io/sealed_json.hpp"

#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "graft/core/error.hpp"
#include "graft/io/atomic_file.hpp"
#include "graft/io/hash.hpp"
#include "graft/io/json_file.hpp"
#include "graft/io/text.hpp"

namespace graft::detail {

inline std::string seal_of(const std::string& hash) { return ",\n  \"sha256\": \"" + hash + "\"\n}\n"; }

}  // namespace graft::detail

namespace graft {

GRAFT_INLINE std::string write_sealed(const std::filesystem::path& path, const OrderedJson& json)
{
    require(json.is_object() && !json.empty(), "write_sealed: an object with fields is expected");
    std::string text = json.dump(2, ' ', false, OrderedJson::error_handler_t::replace);
    text.resize(text.size() - 2);  // the bracket that closes, and its line
    const std::string hash = sha256(text);
    write_file(path, text + detail::seal_of(hash));
    return hash;
}

GRAFT_INLINE Sealed read_sealed(const std::filesystem::path& path, std::size_t limit)
{
    const std::string where = printable(path.string(), 1000);
    const std::string text = read_file(path, limit);
    const std::size_t tail = detail::seal_of(std::string(64, '0')).size();
    Sealed out;
    if (text.size() > tail) { out.sha256 = sha256(text.substr(0, text.size() - tail)); }
    require(!out.sha256.empty() && text.substr(text.size() - tail) == detail::seal_of(out.sha256),
            [&] { return where + ": damaged: not the bytes that were written"; });
    out.json = parse_json<OrderedJson>(text, where);
    return out;
}

}  // namespace graft
