#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "graft/checkpoint/grow/tokens.hpp"
#include "graft/core/dtype.hpp"
#include "graft/core/inline.hpp"
#include "graft/io/safetensors/types.hpp"

// A checkpoint whose tokeniser has more added tokens, and whose tables have rows for them: it stands alone.
//
//   const auto receipt = grow_vocabulary(base, folder, {.tokens = {"<|im_start|>", "<|im_end|>"}});
//
//   grown_vocabulary   what would be done: looks at everything but values, and writes nothing
//   grow_vocabulary    does it, into a folder that is there: model.safetensors, the tokeniser's files (grow/tokens.hpp)
//                      and the generation files, config.json last: it makes the folder count
//
// From files to files, whatever the base is (dense or bitsandbytes NF4, sharded or not). In config.json vocab_size
// changes and nothing else, and every tensor keeps its bytes (under its name in the model, checkpoint.hpp) but
//
//   model.embed_tokens.weight    (V, D)
//   lm_head.weight               (V, D), where the model is not tied; a head that is stored beside the embedding that
//                                it is tied to is left out
//
// Ids: n of them behind the largest of tokenizer.json. Where V reaches beyond that (padding), these rows are used.
// V' is the larger of V and the last id + 1, rounded up to a multiple of `multiple`.
//
// Rows of new tokens, and those behind V, are the mean of the rows of all tokens that the tokeniser has: of the
// embedding in the embedding, of the head in the head; an f64 sum, divided and rounded once. Why the mean: with w the
// mean of the head's rows, the new logit is the mean of the old ones for every state h, and as exp(mean) <= mean(exp),
// a new token is at most as likely as the average of the K old ones: all n of them take at most n / (K + n) of the
// probability, and the old ones keep their ratios. Zero rows would give logit 0, which beside mostly negative logits
// wins; random rows give anything. All new rows are equal until they are trained. transformers 5 (modeling_utils.py,
// _init_added_embeddings_weights_with_mean) draws around the mean of all V rows, padding too, with 1e-9 of their
// covariance, or takes the mean itself where that is not positive definite. Padding rows that no token uses stay.
//
// Throws: Error, before anything is written: no tokenizer.json, or one that cannot be read; a token that the tokeniser
// has, or that is empty, doubled or not UTF-8; an id of the tokeniser for which the base has no row; ids with gaps
// (grow/tokens.hpp); a table that has not vocab_size rows, or is in 4 bits; rows that are not finite; tensors that the
// config does not ask for; a tied model with another head; the base as folder. After that, only a file that cannot be
// written.
// Source: J. Hewitt, Initializing New Word Embeddings for Pretrained Language Models, 2021.
namespace graft {

struct GrowOptions {
    std::vector<std::string> tokens;
    bool special = true;  // left out by decoders that skip special tokens
    std::int64_t multiple = 1;
};

struct GrownTable {
    std::string name;
    StoredType type = StoredType::f32;
    std::int64_t before = 0, after = 0;
};

struct GrowReceipt {
    std::vector<GrownToken> tokens;  // ids follow each other
    std::int64_t known = 0;          // tokens whose rows the mean is of
    std::vector<GrownTable> tables;  // the embedding; the head where it is one of its own
    std::int64_t in_padding = 0;     // new tokens that got a row which was there
};

GrowReceipt grown_vocabulary(const std::filesystem::path& base, const GrowOptions& options);

GrowReceipt grow_vocabulary(const std::filesystem::path& base, const std::filesystem::path& folder,
                            const GrowOptions& options);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/checkpoint/grow_vocabulary.ipp"
#endif
