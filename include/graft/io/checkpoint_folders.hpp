#pragma once
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/io/text.hpp"

// The folders checkpoint-N of a run (N: steps done), each of which appears whole or not at all.
//
//   NewCheckpoint save(run, 20);     makes run/checkpoint-20.partial-PID
//   … files are written to save.path() …
//   save.commit();                   files are on disk; one rename to run/checkpoint-20; the run's folder is on disk
//   keep_checkpoints(run, 20, 2);    of those up to step 20 the newest 2 stay
//   checkpoints_of(run)              {step, path}, newest first
//   set_aside(path)                  checkpoint-20 becomes checkpoint-20.damaged, which nothing reads
//   clean_checkpoints(run)           removes what kills have left behind
//   checkpoint_part(name)            whether a name is one of those below
//   is_merged_base(path)             whether a folder is the base/ that a run has made by merging an adapter into its
//                                    model: merge.json is in it; or base.partial-…, its name until it is whole
//
// Names, N without leading zeros:
//   checkpoint-N                whole: no other name is ever read
//   checkpoint-N.partial-PID    being written, or what a kill left of that
//   checkpoint-N.removed-PID    on its way out: renamed first, so that no folder half deleted is taken for a whole
//   checkpoint-N.damaged        was found damaged by a resumed run; the next one of this step replaces it
// An object destroyed without commit removes its folder. A checkpoint-N that is there already is moved out of the way
// first; a kill between the two renames leaves the checkpoints before it.
//
// Throws: Error that names the folder and the system's reason. One process at a time: the run's folder is locked
// (output_folder.hpp). POSIX only.
namespace graft {

struct CheckpointFolder {
    std::int64_t step = 0;
    std::filesystem::path path;
};

inline std::string checkpoint_name(std::int64_t step) { return "checkpoint-" + std::to_string(step); }

// The N of checkpoint-N; nothing for any other name.
std::optional<std::int64_t> checkpoint_step(std::string_view name);

namespace detail {

// checkpoint-N with one of these endings.
bool checkpoint_leftover(std::string_view name, bool damaged_too);

std::vector<std::filesystem::path> entries_of(const std::filesystem::path& folder);

}  // namespace detail

bool checkpoint_part(std::string_view name);

bool is_merged_base(const std::filesystem::path& path);

std::vector<CheckpointFolder> checkpoints_of(const std::filesystem::path& run);

class NewCheckpoint {
public:
    NewCheckpoint(std::filesystem::path run, std::int64_t step);
    NewCheckpoint(const NewCheckpoint&) = delete;
    NewCheckpoint& operator=(const NewCheckpoint&) = delete;
    ~NewCheckpoint();

    const std::filesystem::path& path() const { return partial_; }

    // Every file in it was written by AtomicFile, so that only the folders are left to be synced.
    void commit();

private:
    std::filesystem::path run_, path_, partial_;
    bool done_ = false;
};

void keep_checkpoints(const std::filesystem::path& run, std::int64_t step, std::int64_t keep);

void set_aside(const std::filesystem::path& checkpoint);

void clean_checkpoints(const std::filesystem::path& run);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/io/checkpoint_folders.ipp"
#endif
