#pragma once
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/core/labels.hpp"
#include "graft/text/chat_template.hpp"
#include "graft/text/dataset/example.hpp"
#include "graft/text/dataset/load.hpp"
#include "graft/text/dataset/options.hpp"
#include "graft/text/labels.hpp"
#include "graft/text/tokenizer.hpp"

// A data set: files of rows in, examples (tokens and labels) and a report of what became of every row out.
//
//   load_dataset(files, tokenizer, options)    reads all files in the order given
//   marked(example, tokenizer)                 the example as text, with what is learnt in «»
//   marked_parts(example, tokenizer)           the same in parts, for a report
//   mask_proof(set, tokenizer, most)           lines for a terminal: summary, targets a row as a histogram, and the
//                                              `most` worst rows, marked (dataset/proof.hpp)
//
// Every row is told apart by its own fields (dataset/forms.hpp; their names: dataset/fields.hpp), and all rows of a set
// must be of one kind. What ends a run and what drops a row stands in dataset/each_row.hpp; how a row becomes tokens
// and what of it is learnt in dataset/encode.hpp. Labels are not shifted (dataset/report.hpp).
//
// Preference pairs (options.task dpo) are told apart by dataset/pairs.hpp; a pair becomes two examples, and how they
// share their prompt and what is cut stands in dataset/load_pairs.hpp.
//
// A tokeniser without a chat template (options.tmpl null): instruction rows take the Alpaca text, which the report
// says; conversations are refused with the names of the templates that ship with the library.
// A null tokeniser is enough for ready-made ids.
//
// Throws Error (one line: file, line, row, key): what cannot be read, a form that is not known or fits two readings,
// files of two kinds, no file, a file without any target. Rows that cannot be learnt from are dropped and counted (an
// error with options.strict).
// Source of the rules: the formats of TRL, LLaMA-Factory, Unsloth and LitGPT; where they differ, what loses least.
namespace graft {

Dataset load_dataset(std::span<const std::filesystem::path> files, const Tokenizer* tokenizer,
                     const DataOptions& options);

// How text that a template rendered is encoded, for training and for generating alike.
EncodeOptions chat_encoding(const ChatTemplate& tmpl, const Tokenizer& tokenizer, std::string_view rendered);

std::vector<MarkedPart> marked_parts(const Example& example, const Tokenizer& tokenizer);

std::string marked(const Example& example, const Tokenizer& tokenizer);

std::vector<std::string> mask_proof(const Dataset& set, const Tokenizer* tokenizer, std::size_t most = 3);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/text/dataset.ipp"
#endif
