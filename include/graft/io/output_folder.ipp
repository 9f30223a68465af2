#pragma once
#include "graft/io/output_folder.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <fcntl.h>
#include <filesystem>
#include <string>
#include <string_view>
#include <sys/file.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/io/atomic_file.hpp"
#include "graft/io/checkpoint_folders.hpp"
#include "graft/io/text.hpp"

namespace graft {

GRAFT_INLINE OutputFolder::OutputFolder(Options options) : overwrite_(options.overwrite), resume_(options.resume)
{
    require(!options.folder.empty(), "the output folder has no name");
    std::error_code code;
    const std::filesystem::path absolute = std::filesystem::absolute(options.folder, code).lexically_normal();
    // Links are resolved, so that the folder itself moves and not a link to it.
    folder_ = std::filesystem::weakly_canonical(absolute, code);
    if (code) { detail::file_error(absolute, "use as output folder", code.value()); }
    if (!folder_.has_filename()) { folder_ = folder_.parent_path(); }
    previous_ = folder_.string() + ".previous";
    where_ = printable(folder_.string(), 1000);
    require(folder_.has_filename(), [&] { return where_ + ": cannot be an output folder"; });

    refuse_inputs(options.inputs);
    require(!exists(folder_) || std::filesystem::is_directory(folder_),
            [&] { return where_ + ": is a file, not a folder"; });
    recover();
    if (resume_ && options.or_begin && !has_checkpoint(folder_)) {
        if (!is_whole(folder_)) {
            resume_ = false, starts_over_ = true;
            refuse_unknown_parts();
        }
        check_access();
        return;
    }
    if (resume_) {
        refuse_resume();
        check_access();
        return;
    }
    const std::string file =
        !is_whole(folder_) && has_checkpoint(folder_) ? newest_checkpoint(folder_) : run_file(folder_);
    require(file.empty() || overwrite_, [&] {
        return where_ + (is_whole(folder_) ? ": already holds a run (" : ": holds an interrupted run (") + file
               + (!is_whole(folder_) && has_checkpoint(folder_) ? "); continue it with --resume, name" : "); name")
               + " another folder, or use --overwrite";
    });
    require(file.empty() || !exists(previous_), [&] {
        return printable(previous_.string(), 1000)
               + ": is in the way: the old run would be moved there; move or delete it";
    });
    if (!file.empty()) { refuse_foreign_folders(); }
    check_access();
}

GRAFT_INLINE void OutputFolder::begin()
{
    require(!begun_, "OutputFolder: begun twice");
    try {
        if (resume_) {
            continue_in_place();
        } else {
            begin_folders();
        }
        probe();
    } catch (...) {
        abandon();
        throw;
    }
}

GRAFT_INLINE void OutputFolder::retire()
{
    if (!exists(folder_ / earlier)) { return; }
    for (const char* last : {"run.json", "adapter_config.json", "config.json"}) { ::unlink((folder_ / last).c_str()); }
    sync_folder(folder_);
}

GRAFT_INLINE void OutputFolder::commit()
{
    require(begun_, "OutputFolder: committed without begin");
    require(is_whole(folder_),
            [&] { return where_ + ": the result is not whole: neither adapter_config.json nor config.json is there"; });
    sync_folder(folder_);
    if (::unlink((folder_ / earlier).c_str()) == 0) { sync_folder(folder_); }
    begun_ = false;
    made_.clear();
    if (moved_) {
        moved_ = false;
        remove_previous(previous_);
    }
    lock_.reset();
    old_lock_.reset();
}

GRAFT_INLINE bool OutputFolder::is_whole(const std::filesystem::path& folder)
{
    return exists(folder / "adapter_config.json") || exists(folder / "config.json");
}

GRAFT_INLINE bool OutputFolder::is_finished(const std::filesystem::path& folder)
{
    return is_whole(folder) && !exists(folder / earlier);
}

GRAFT_INLINE std::string OutputFolder::newest_checkpoint(const std::filesystem::path& folder)
{
    return checkpoints_of(folder).front().path.filename().string();
}

GRAFT_INLINE std::vector<std::string> OutputFolder::result_files(const std::filesystem::path& folder)
{
    std::vector<std::string> out;
    for (const auto& entry : detail::entries_of(folder)) {
        const std::string name = entry.filename().string();
        if (is_run_file(name) && !checkpoint_part(name) && name.find(".partial-") == std::string::npos
            && name.front() != '.' && name != "metrics.jsonl" && name != "report.html" && name != "run.json") {
            out.push_back(name);
        }
        for (const fs_path& each : template_files(entry)) { out.push_back(name + "/" + each.filename().string()); }
    }
    std::sort(out.begin(), out.end());
    return out;
}

GRAFT_INLINE std::string OutputFolder::run_file(const std::filesystem::path& folder)
{
    std::vector<std::string> found;
    for (const auto& entry : detail::entries_of(folder)) {
        const bool ours = is_run_file(entry.filename().string()) || is_merged_base(entry);
        if (ours) { found.push_back(entry.filename().string()); }
    }
    std::sort(found.begin(), found.end());
    return found.empty() ? std::string() : printable(found.front());
}

GRAFT_INLINE bool OutputFolder::exists(const fs_path& path)
{
    std::error_code code;
    return std::filesystem::symlink_status(path, code).type() != std::filesystem::file_type::not_found && !code;
}

GRAFT_INLINE std::vector<OutputFolder::fs_path> OutputFolder::template_files(const fs_path& path)
{
    std::vector<fs_path> out;
    if (path.filename() != "additional_chat_templates") { return out; }
    for (const fs_path& each : detail::entries_of(path)) {
        if (each.extension() == ".jinja") { out.push_back(each); }
    }
    return out;
}

GRAFT_INLINE bool OutputFolder::is_run_file(std::string_view name)
{
    if (checkpoint_part(name)) { return true; }
    constexpr std::array<std::string_view, 18> names{"adapter_config.json",
                                                     "adapter_model.safetensors",
                                                     "run.json",
                                                     "config.json",
                                                     "generation_config.json",
                                                     "metrics.jsonl",
                                                     "report.html",
                                                     "merge.json",
                                                     "tokenizer.json",
                                                     "tokenizer_config.json",
                                                     "special_tokens_map.json",
                                                     "added_tokens.json",
                                                     "vocab.json",
                                                     "merges.txt",
                                                     "tokenizer.model",
                                                     "chat_template.jinja",
                                                     probe_name,
                                                     earlier};
    if (const auto cut = name.find(".partial-"); cut != std::string_view::npos) {
        return is_run_file(name.substr(0, cut));
    }
    if (name.starts_with("model") && (name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json"))) {
        return true;
    }
    return std::find(names.begin(), names.end(), name) != names.end();
}

GRAFT_INLINE bool OutputFolder::inside(const fs_path& inner, const fs_path& outer)
{
    const auto [o, i] = std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end());
    (void)i;
    return o == outer.end();
}

GRAFT_INLINE void OutputFolder::refuse_inputs(const std::vector<fs_path>& inputs) const
{
    for (const fs_path& input : inputs) {
        if (input.empty()) { continue; }
        std::error_code code;
        fs_path real = std::filesystem::weakly_canonical(std::filesystem::absolute(input, code), code);
        if (!real.has_filename()) { real = real.parent_path(); }
        require(real != folder_, [&] {
            return where_ + ": is read by this run, which must not write into it; name another output folder";
        });
        require(!((overwrite_ || resume_) && inside(real, folder_)), [&] {
            return where_ + ": holds " + printable(real.string(), 1000) + ", which this run reads, and cannot be "
                   + (resume_ ? "continued" : "overwritten") + "; name another output folder";
        });
    }
}

GRAFT_INLINE void OutputFolder::refuse_resume() const
{
    require(has_checkpoint(folder_), [&] {
        return where_ + ": nothing to resume: "
               + (!exists(folder_)    ? "there is no such folder; start without --resume"
                  : is_whole(folder_) ? "the run in it is finished and has no checkpoint"
                                      : "there is no checkpoint in it (a run saves them with --save-every N); start "
                                        "again without --resume");
    });
}

GRAFT_INLINE bool OutputFolder::is_early_part(const fs_path& entry)
{
    const std::string name = entry.filename().string();
    return name == "metrics.jsonl" || name == probe_name || name.find(".partial-") != std::string::npos
           || detail::checkpoint_leftover(name, false) || is_merged_base(entry);
}

GRAFT_INLINE void OutputFolder::refuse_unknown_parts() const
{
    for (const fs_path& entry : detail::entries_of(folder_)) {
        const std::string name = entry.filename().string();
        require(!is_run_file(name) || is_early_part(entry), [&] {
            return where_ + ": holds files of a run (" + printable(name)
                   + ") and no checkpoint to go on from; "
                     "name another folder, or start over with --overwrite instead of --resume auto";
        });
    }
}

GRAFT_INLINE void OutputFolder::remove_early_parts() const
{
    std::error_code code;
    for (const fs_path& entry : detail::entries_of(folder_)) {
        const std::string name = entry.filename().string();
        if (is_early_part(entry) && name != "base" && (is_run_file(name) || is_merged_base(entry))) {
            std::filesystem::remove_all(entry, code);
        }
    }
}

GRAFT_INLINE void OutputFolder::refuse_foreign_folders() const
{
    std::vector<std::string> found;
    std::error_code code;
    for (const fs_path& entry : detail::entries_of(folder_)) {
        const std::string name = entry.filename().string();
        const bool ours = name.starts_with("checkpoint") || is_merged_base(entry) || !template_files(entry).empty();
        if (std::filesystem::is_directory(entry, code) && !ours) { found.push_back(name); }
    }
    std::sort(found.begin(), found.end());
    require(found.empty(), [&] {
        return where_ + ": holds folders that no run made (" + name_list(found)
               + ") and will not be overwritten; name another output folder";
    });
}

GRAFT_INLINE detail::Descriptor OutputFolder::locked(const fs_path& folder)
{
    detail::Descriptor lock(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (lock.open() && ::flock(lock.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        throw Error(printable(folder.string(), 1000)
                    + ": another run is writing into it; wait for it, or name another folder");
    }
    return lock;
}

GRAFT_INLINE void OutputFolder::recover()
{
    lock_ = locked(folder_);
    std::error_code code;
    std::filesystem::remove(folder_ / mark, code);  // killed just before the old run was moved
    if (!exists(previous_)) { return; }
    const bool empty = std::filesystem::is_directory(previous_) && std::filesystem::is_empty(previous_, code);
    if (!exists(previous_ / mark) && !empty) { return; }  // not ours
    old_lock_ = locked(previous_);
    if (is_whole(folder_) || empty) {
        remove_previous(previous_);
    } else if (resume_ && has_checkpoint(folder_)) {
        moved_ = true;  // goes with commit
        return;
    } else {
        require(overwrite_ || !has_checkpoint(folder_), [&] {
            return where_ + ": holds an interrupted run (" + newest_checkpoint(folder_)
                   + "), and the run that it was to replace is in " + printable(previous_.string(), 1000)
                   + "; continue it with --resume, or start over with --overwrite";
        });
        remove_run(folder_);
        bring_back();
        lock_ = std::move(old_lock_);
    }
    old_lock_.reset();
}

GRAFT_INLINE void OutputFolder::bring_back() const
{
    // An empty folder in the way is replaced by rename.
    if (::rename(previous_.c_str(), folder_.c_str()) != 0) {
        detail::file_error(previous_, "bring back the run that was moved aside (move it back by hand)", errno);
    }
    std::error_code ignored;
    std::filesystem::remove(folder_ / mark, ignored);
    sync_folder(folder_.parent_path());
}

GRAFT_INLINE void OutputFolder::remove_run(const fs_path& folder)
{
    std::error_code code;
    for (const char* last : {"adapter_config.json", "config.json"}) { std::filesystem::remove(folder / last, code); }
    for (const fs_path& entry : detail::entries_of(folder)) {
        const std::string name = entry.filename().string();
        if (checkpoint_part(name) || is_merged_base(entry)) {
            std::filesystem::remove_all(entry, code);
        } else if (is_run_file(name)) {
            std::filesystem::remove(entry, code);
        } else if (const auto files = template_files(entry); !files.empty()) {
            for (const fs_path& each : files) { std::filesystem::remove(each, code); }
            std::filesystem::remove(entry, code);  // where nothing else is in it
        }
    }
}

GRAFT_INLINE void OutputFolder::remove_previous(const fs_path& previous)
{
    std::error_code code;
    for (const fs_path& entry : detail::entries_of(previous)) {
        if (entry.filename() != mark) { std::filesystem::remove_all(entry, code); }
    }
    std::filesystem::remove_all(previous, code);
}

GRAFT_INLINE void OutputFolder::check_access() const
{
    fs_path at = folder_;
    while (!exists(at) && at.has_relative_path()) { at = at.parent_path(); }
    require(std::filesystem::is_directory(at),
            [&] { return where_ + ": cannot be made: " + printable(at.string(), 1000) + " is not a folder"; });
    if (::access(at.c_str(), W_OK | X_OK) != 0) { detail::file_error(folder_, "write into the folder", errno); }
}

GRAFT_INLINE void OutputFolder::begin_folders()
{
    if (starts_over_ && lock_.open()) {
        held_ = begun_ = true;  // a failure leaves what a kill would
        return remove_early_parts();
    }
    if (!run_file(folder_).empty() && lock_.open()) {
        const detail::Descriptor made(
            ::open((folder_ / mark).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, S_IRUSR | S_IWUSR | S_IRGRP | S_IROTH));
        if (!made.open()) { detail::file_error(folder_, "write into the folder", errno); }
        if (::rename(folder_.c_str(), previous_.c_str()) != 0) {
            const int error = errno;
            ::unlink((folder_ / mark).c_str());
            detail::file_error(folder_, "move the old run aside", error);
        }
        moved_ = true;
        begun_ = true;
        old_lock_ = std::move(lock_);
    }
    if (!lock_.open()) { make_folders(); }
    begun_ = true;
    for (const fs_path& folder : made_) { sync_folder(folder.parent_path()); }
}

GRAFT_INLINE void OutputFolder::make_folders()
{
    fs_path missing = folder_;
    std::vector<fs_path> to_make;
    while (!exists(missing)) {
        to_make.push_back(missing);
        missing = missing.parent_path();
    }
    for (auto at = to_make.rbegin(); at != to_make.rend(); ++at) {
        if (::mkdir(at->c_str(), 0777) == 0) {
            made_.push_back(*at);
        } else if (const int error = errno; error != EEXIST) {
            for (auto made = made_.rbegin(); made != made_.rend(); ++made) { ::rmdir(made->c_str()); }
            made_.clear();
            detail::file_error(*at, "make the folder", error);
        }
    }
    try {
        lock_ = locked(folder_);
        const std::string file = run_file(folder_);
        require(file.empty(), [&] {
            return where_ + ": another run has written into it (" + file
                   + ") since this one began; name another "
                     "folder";
        });
    } catch (...) {
        lock_.reset();
        made_.clear();
        throw;
    }
}

GRAFT_INLINE void OutputFolder::continue_in_place()
{
    begun_ = true;
    held_ = true;
    if (is_whole(folder_)) { write_file(folder_ / earlier, ""); }
    clean_checkpoints(folder_);
    for (const fs_path& entry : detail::entries_of(folder_)) {
        const std::string name = entry.filename().string();
        if (name.find(".partial-") == std::string::npos) { continue; }
        if (is_run_file(name)) { ::unlink(entry.c_str()); }
        std::error_code ignored;
        if (is_merged_base(entry)) { std::filesystem::remove_all(entry, ignored); }
    }
}

GRAFT_INLINE void OutputFolder::probe() const
{
    write_file(folder_ / probe_name, std::string(std::size_t(1) << 16, ' '));
    ::unlink((folder_ / probe_name).c_str());
}

GRAFT_INLINE void OutputFolder::abandon() noexcept
{
    if (!begun_) { return; }
    begun_ = false;
    if (held_) { return; }
    try {
        std::error_code ignored;
        if (lock_.open()) { remove_run(folder_); }
        if (!made_.empty()) { std::filesystem::remove_all(folder_, ignored); }  // ours, whatever it holds
        for (auto at = made_.rbegin(); at != made_.rend(); ++at) { ::rmdir(at->c_str()); }
        if (moved_) { bring_back(); }
    } catch (...) {  // nobody is left to tell; DIR.previous is whole and comes back at the next start
    }
}

}  // namespace graft
