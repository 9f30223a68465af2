#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/io/atomic_file.hpp"
#include "graft/io/checkpoint_folders.hpp"

// The folder that a run writes its result into.
//
//   OutputFolder output({.folder = dir, .overwrite = false, .inputs = {model, adapter}});    checks; changes nothing
//   output.begin();                       before step 1: moves an old run aside, makes the folder, tries to write there
//   … metrics.jsonl, checkpoint-N/ (checkpoint_folders.hpp) and base/ are written to output.path() as it happens …
//   output.hold();                        after the first checkpoint: from now on a failure leaves what a kill would
//   output.retire();                      before the result: one that a resumed run has found there no longer counts
//   … the other files, each an AtomicFile, and last adapter_config.json, or config.json for a whole checkpoint …
//   output.commit();                      the result is whole: the old run is deleted
//
// The rule: a folder holds a whole run if and only if it holds adapter_config.json or config.json, which are written
// last.
//
// The old run. A folder that holds a run, whole or interrupted, is refused unless overwrite. With overwrite, begin
// renames it to DIR.previous (one rename; .superseded inside marks it as ours), and commit deletes it. Destroying the
// object without commit removes the files of the new run and renames the old one back, so a run that fails changes
// nothing, as long as it was not held. A held run that fails leaves its checkpoints, and the old run where it is.
//
// Resume. With resume the run that DIR holds is continued in place: it must hold a checkpoint-N, and may be interrupted
// or whole (stopped early: that result stays until retire removes its last file). Nothing is moved; DIR.previous stays
// aside until commit; overwrite has no effect. begin removes what a kill left half-written, and marks a result that is
// there as an earlier one (.resumed, until commit: is_finished). A resumed run is held from the start, and can be
// killed and resumed again.
//
// Resume or begin. With or_begin beside resume the same call serves the first start and every later one: where DIR
// holds no checkpoint-N, or there is no DIR, a new run begins (resumes() is false). What a kill before the first
// checkpoint has left there is removed by begin: metrics.jsonl, half-written files; anything else of a run is refused.
// A whole run without a checkpoint is left to the caller (resumes() is true, has_checkpoint false): not to begin.
//
// After a kill, or a power cut, DIR and DIR.previous are in one of these states, and the next OutputFolder for DIR, in
// its constructor, makes the first three of them whole again:
//   DIR missing or without a whole run, DIR.previous   what is in DIR goes, DIR.previous comes back
//   DIR whole, DIR.previous                            DIR.previous goes
//   DIR.previous partly deleted                        the rest goes
//   DIR without a whole run, no DIR.previous           stays, and counts as a run: --overwrite replaces it
// The first of them stays as it is where DIR holds a checkpoint-N: it can be resumed, and is refused without resume or
// overwrite; with overwrite its checkpoints go, too. Thus a whole result is the old one or the new one, and never has
// files of both.
//
// base/ is the checkpoint that a run has made to train over, by merging an adapter first (is_merged_base).
//
// Other files. A folder with files, but none of a run, is used as it is; they are left alone. While a run holds it the
// folder is locked (flock, released by the system when the process ends): a second run into it is refused, also where
// both have found no folder and one was the first to make it, or has written into it and is gone.
//
// Refused, with an Error: a folder that is, holds or (with overwrite) surrounds one of the inputs; one that is no
// folder; one that cannot be written; a DIR.previous that this class did not make; overwriting a folder that holds
// folders other than checkpoint-… and base; resuming where there is no checkpoint-N.
// POSIX only.
namespace graft {

class OutputFolder {
public:
    struct Options {
        std::filesystem::path folder;
        bool overwrite = false;
        bool resume = false;
        bool or_begin = false;                        // with resume
        std::vector<std::filesystem::path> inputs{};  // folders that are read: the model, the adapter that is continued
    };

    explicit OutputFolder(Options options);
    OutputFolder(const OutputFolder&) = delete;
    OutputFolder& operator=(const OutputFolder&) = delete;
    ~OutputFolder() { abandon(); }

    const std::filesystem::path& path() const { return folder_; }
    std::filesystem::path file(const std::string& name) const { return folder_ / name; }

    // Whether begin goes on with what is there.
    bool resumes() const { return resume_; }

    void begin();

    void retire();

    // A failure from here on leaves the run as a kill would, so that it can be resumed.
    void hold() { held_ = true; }

    void commit();

    // Whether a folder holds a result whose last file was written.
    static bool is_whole(const std::filesystem::path& folder);

    // Whether it is also the result of the last run into it, not one that a resumed run is about to replace.
    static bool is_finished(const std::filesystem::path& folder);

    static bool has_checkpoint(const std::filesystem::path& folder) { return !checkpoints_of(folder).empty(); }

    static std::string newest_checkpoint(const std::filesystem::path& folder);

    // What a run is for: weights and all that is read with them, by name. Not what it says of itself, nor checkpoints.
    static std::vector<std::string> result_files(const std::filesystem::path& folder);

    // The first file of a run found in a folder; empty where there is none.
    static std::string run_file(const std::filesystem::path& folder);

private:
    using fs_path = std::filesystem::path;
    static constexpr const char* mark = ".superseded";
    static constexpr const char* probe_name = ".write-test";
    static constexpr const char* earlier = ".resumed";

    static bool exists(const fs_path& path);

    // The chat templates that a saved checkpoint has in a folder of their own.
    static std::vector<fs_path> template_files(const fs_path& path);

    static bool is_run_file(std::string_view name);

    static bool inside(const fs_path& inner, const fs_path& outer);

    void refuse_inputs(const std::vector<fs_path>& inputs) const;

    void refuse_resume() const;

    // What a run that was killed before its first checkpoint can have left.
    static bool is_early_part(const fs_path& entry);

    void refuse_unknown_parts() const;

    // A whole base/ stays: the run takes it where it is the one that it needs.
    void remove_early_parts() const;

    // No run makes folders but checkpoint-… and base: --overwrite on somebody's home folder must not take it away.
    void refuse_foreign_folders() const;

    // Takes the lock of a folder, if there is one and the file system has locks.
    static detail::Descriptor locked(const fs_path& folder);

    void recover();

    void bring_back() const;

    // Everything a run writes; what else is there stays. Whole or not is decided by the first file to go.
    static void remove_run(const fs_path& folder);

    // The mark goes last, so that a kill in between leaves something that is known as ours.
    static void remove_previous(const fs_path& previous);

    void check_access() const;

    void begin_folders();

    // There was no folder when this run began: it is made, unless another run has done so since.
    void make_folders();

    void continue_in_place();

    // A full disk is found here, not after the training.
    void probe() const;

    void abandon() noexcept;

    fs_path folder_, previous_;
    std::string where_;
    bool overwrite_ = false, resume_ = false, begun_ = false, held_ = false, moved_ = false, starts_over_ = false;
    std::vector<fs_path> made_;
    detail::Descriptor lock_, old_lock_;
};

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/io/output_folder.ipp"
#endif
