#pragma once
#include "graft/io/hashed_files.hpp"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "graft/core/error.hpp"
#include "graft/io/hash.hpp"
#include "graft/io/json_file.hpp"
#include "graft/io/text.hpp"

namespace graft {

GRAFT_INLINE HashedFiles hash_files(const std::filesystem::path& folder, std::span<const std::string> names)
{
    HashedFiles out;
    for (const auto& name : names) { out.emplace(name, hash_file(folder / name)); }
    return out;
}

GRAFT_INLINE OrderedJson hashed_json(const HashedFiles& files)
{
    OrderedJson out = OrderedJson::object();
    for (const auto& [name, hash] : files) { out[name] = {{"bytes", hash.bytes}, {"sha256", hash.sha256}}; }
    return out;
}

GRAFT_INLINE bool is_file_name(std::string_view name)
{
    constexpr std::string_view templates = "additional_chat_templates/";
    if (name.starts_with(templates)) { name.remove_prefix(templates.size()); }
    return !name.empty() && name.find('/') == name.npos && name != "." && name != ".." && name.find('\0') == name.npos;
}

GRAFT_INLINE HashedFiles hashed_of_json(const OrderedJson& object, const std::string& where)
{
    require(object.is_object(), [&] { return where + ": files must be an object, found " + json_text(object); });
    HashedFiles out;
    for (const auto& entry : object.items()) {
        const std::string& name = entry.key();
        require(is_file_name(name), [&] { return where + ": " + printable(name) + " is not a file of this folder"; });
        out[name] = {json_int(entry.value(), "bytes", where), json_string(entry.value(), "sha256", where)};
    }
    return out;
}

GRAFT_INLINE void check_file(const std::filesystem::path& folder, const std::string& name, const FileHash& want)
{
    const FileHash found = hash_file(folder / name);
    const std::string file = printable((folder / name).string(), 1000);
    require(found.bytes == want.bytes, [&] {
        return file + ": damaged: " + with_commas(found.bytes) + " bytes, was written with " + with_commas(want.bytes);
    });
    require(found.sha256 == want.sha256, [&] { return file + ": damaged: not the bytes that were written"; });
}

}  // namespace graft
