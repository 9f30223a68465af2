#pragma once
#include "graft/text/dataset.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graft/text/chat_template.hpp"
#include "graft/text/dataset/example.hpp"
#include "graft/text/dataset/load.hpp"
#include "graft/text/dataset/load_pairs.hpp"
#include "graft/text/dataset/options.hpp"
#include "graft/text/dataset/proof.hpp"
#include "graft/text/tokenizer.hpp"

namespace graft {

GRAFT_INLINE Dataset load_dataset(std::span<const std::filesystem::path> files, const Tokenizer* tokenizer,
                                  const DataOptions& options)
{
    const auto alpaca = [&] { return ChatTemplate::named("alpaca", tokenizer->special_tokens()); };
    if (options.task == Task::dpo) {
        return detail::dataset::load_pair_rows(files, tokenizer, options.tmpl, options, alpaca,
                                               detail::named_template_list());
    }
    return detail::dataset::load_rows(files, tokenizer, options.tmpl, options, alpaca, detail::named_template_list());
}

GRAFT_INLINE EncodeOptions chat_encoding(const ChatTemplate& tmpl, const Tokenizer& tokenizer,
                                         std::string_view rendered)
{
    return {.add_special = detail::dataset::adds_special(tmpl, tokenizer, rendered), .control_tokens = true};
}

GRAFT_INLINE std::vector<MarkedPart> marked_parts(const Example& example, const Tokenizer& tokenizer)
{
    return detail::dataset::mark_parts(example,
                                       [&](std::span<const std::int32_t> ids) { return tokenizer.decode(ids); });
}

GRAFT_INLINE std::string marked(const Example& example, const Tokenizer& tokenizer)
{
    return detail::dataset::join_marked(marked_parts(example, tokenizer));
}

GRAFT_INLINE std::vector<std::string> mask_proof(const Dataset& set, const Tokenizer* tokenizer, std::size_t most)
{
    if (tokenizer == nullptr) { return detail::dataset::proof_lines(set, most, {}); }
    return detail::dataset::proof_lines(set, most,
                                        [&](const Example& example) { return marked_parts(example, *tokenizer); });
}

}  // namespace graft
