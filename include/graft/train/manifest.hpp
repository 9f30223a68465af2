#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/io/hashed_files.hpp"
#include "graft/train/metrics.hpp"
#include "graft/train/run_settings.hpp"
#include "graft/version.hpp"

// run.json: what a finished run was made from and what it made, so that it can be checked and run again.
//
//   write_manifest(folder, manifest)     folder/run.json, sealed (io/sealed_json.hpp); returns its hash
//   read_manifest(folder)                Throws: Error that names the file and the field
//   metrics_hash(steps)                  of what was measured, without times and memory, which differ from run to run
//
// The chain: `settings` hold the hashes of base, data and continued adapter; `order` that of the rows as they were
// trained on; `before` and `after` those of the trained tensors and of the files; `earlier` is the hash of the run.json
// of the run whose adapter this one continued. Nothing in it depends on where, when or on how many threads it ran.
namespace graft {

using OptionValues = std::vector<std::pair<std::string, std::string>>;

// Formats of run.json and of what a run writes beside it; a replay keeps to the one of its run.
//   1    an adapter's file does not say how its base was held
//   2    it does (graft.quantized)
inline constexpr std::int64_t newest_format = 2;

struct RunManifest {
    std::int64_t format = newest_format;
    std::string graft = GRAFT_VERSION_STRING;
    std::string target;                          // of the processor: bits are equal on one target (machine.hpp)
    OptionValues options{};                      // that decide the result, by name, as they were given
    RunSettings settings{};                      // the same, resolved: with defaults and hashes
    std::vector<std::string> changed{};          // settings that a resumed run changed on the way
    std::int64_t steps = 0, planned = 0;         // optimiser steps done, and those of the whole run
    std::int64_t rows = 0, least = 0, most = 0;  // examples; times that each was trained on
    std::string order{};                         // of the rows (row_count.hpp)
    std::int64_t declared = 0, trained = 0, without_gradient = 0, frozen = 0;  // tensors
    std::string before{};                      // of the trained tensors as the run found them
    std::string after{};                       // and as it left them
    double probe_before = 0, probe_after = 0;  // losses (probe.hpp)
    double first_loss = 0, last_loss = 0;      // of the first and the last step
    std::string metrics{};
    std::string earlier{};  // empty: no adapter with a manifest was continued
    HashedFiles files{};    // of the result, run.json apart
};

std::string metrics_hash(std::span<const StepMetrics> steps);

std::string write_manifest(const std::filesystem::path& folder, const RunManifest& m);

struct FoundManifest {
    RunManifest run;
    std::string sha256;  // of run.json: what a later run calls `earlier`
};

bool has_manifest(const std::filesystem::path& folder);

FoundManifest read_manifest(const std::filesystem::path& folder);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/train/manifest.ipp"
#endif
