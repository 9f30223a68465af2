#pragma once
#include "graft/io/checkpoint_folders.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/io/atomic_file.hpp"

namespace graft {

GRAFT_INLINE std::optional<std::int64_t> checkpoint_step(std::string_view name)
{
    constexpr std::string_view prefix = "checkpoint-";
    if (!name.starts_with(prefix)) { return std::nullopt; }
    const std::string_view digits = name.substr(prefix.size());
    std::int64_t step = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), step);
    if (error != std::errc() || step < 0 || checkpoint_name(step) != name) { return std::nullopt; }
    return step;
}

}  // namespace graft

namespace graft::detail {

GRAFT_INLINE bool checkpoint_leftover(std::string_view name, bool damaged_too)
{
    const auto dot = name.find('.');
    if (dot == std::string_view::npos || !checkpoint_step(name.substr(0, dot))) { return false; }
    const std::string_view ending = name.substr(dot);
    return ending.starts_with(".partial-") || ending.starts_with(".removed-") || (damaged_too && ending == ".damaged");
}

GRAFT_INLINE std::vector<std::filesystem::path> entries_of(const std::filesystem::path& folder)
{
    std::vector<std::filesystem::path> out;
    std::error_code code;
    for (std::filesystem::directory_iterator at(folder, code), end; !code && at != end; at.increment(code)) {
        out.push_back(at->path());
    }
    return out;
}

inline void move_checkpoint(const std::filesystem::path& from, const std::filesystem::path& to)
{
    std::error_code ignored;
    std::filesystem::remove_all(to, ignored);
    if (::rename(from.c_str(), to.c_str()) != 0) { file_error(from, "move the checkpoint out of the way", errno); }
}

inline std::filesystem::path removed_name(const std::filesystem::path& path)
{
    return path.string() + ".removed-" + std::to_string(::getpid());
}

}  // namespace graft::detail

namespace graft {

GRAFT_INLINE bool checkpoint_part(std::string_view name)
{
    return checkpoint_step(name).has_value() || detail::checkpoint_leftover(name, true);
}

GRAFT_INLINE bool is_merged_base(const std::filesystem::path& path)
{
    const std::string name = path.filename().string();
    std::error_code code;
    return std::filesystem::is_directory(std::filesystem::symlink_status(path, code))
           && (name.starts_with("base.partial-")
               || (name == "base" && std::filesystem::exists(path / "merge.json", code)));
}

GRAFT_INLINE std::vector<CheckpointFolder> checkpoints_of(const std::filesystem::path& run)
{
    std::vector<CheckpointFolder> out;
    for (const auto& path : detail::entries_of(run)) {
        std::error_code code;
        const auto step = checkpoint_step(path.filename().string());
        if (step && std::filesystem::is_directory(path, code)) { out.push_back({*step, path}); }
    }
    std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.step > b.step; });
    return out;
}

GRAFT_INLINE NewCheckpoint::NewCheckpoint(std::filesystem::path run, std::int64_t step)
    : run_(std::move(run)), path_(run_ / checkpoint_name(step)),
      partial_(path_.string() + ".partial-" + std::to_string(::getpid()))
{
    std::error_code ignored;
    std::filesystem::remove_all(partial_, ignored);
    if (::mkdir(partial_.c_str(), 0777) != 0) { detail::file_error(path_, "make the folder", errno); }
}

GRAFT_INLINE NewCheckpoint::~NewCheckpoint()
{
    std::error_code ignored;
    if (!done_) { std::filesystem::remove_all(partial_, ignored); }
}

GRAFT_INLINE void NewCheckpoint::commit()
{
    sync_folder(partial_);
    std::error_code ignored;
    const bool there = std::filesystem::exists(std::filesystem::symlink_status(path_, ignored));
    const auto old = detail::removed_name(path_);
    if (there) { detail::move_checkpoint(path_, old); }
    if (::rename(partial_.c_str(), path_.c_str()) != 0) {
        const int error = errno;
        if (there) { ::rename(old.c_str(), path_.c_str()); }
        detail::file_error(path_, "rename into place", error);
    }
    done_ = true;
    sync_folder(run_);
    if (there) { std::filesystem::remove_all(old, ignored); }
    std::filesystem::remove_all(path_.string() + ".damaged", ignored);
}

GRAFT_INLINE void keep_checkpoints(const std::filesystem::path& run, std::int64_t step, std::int64_t keep)
{
    require(keep >= 1, "at least one checkpoint must be kept");
    std::int64_t kept = 0;
    for (const auto& checkpoint : checkpoints_of(run)) {
        if (checkpoint.step > step || ++kept <= keep) { continue; }
        const auto removed = detail::removed_name(checkpoint.path);
        detail::move_checkpoint(checkpoint.path, removed);
        std::error_code ignored;
        std::filesystem::remove_all(removed, ignored);
    }
}

GRAFT_INLINE void set_aside(const std::filesystem::path& checkpoint)
{
    detail::move_checkpoint(checkpoint, checkpoint.string() + ".damaged");
}

GRAFT_INLINE void clean_checkpoints(const std::filesystem::path& run)
{
    for (const auto& path : detail::entries_of(run)) {
        std::error_code ignored;
        if (detail::checkpoint_leftover(path.filename().string(), false)) {
            std::filesystem::remove_all(path, ignored);
        }
    }
}

}  // namespace graft
