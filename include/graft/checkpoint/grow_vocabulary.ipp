#pragma once
#include "graft/checkpoint/grow_vocabulary.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fcntl.h>
#include <filesystem>
#include <map>
#include <string>
#include <system_error>
#include <vector>

#include "graft/checkpoint/checkpoint.hpp"
#include "graft/checkpoint/grow/rows.hpp"
#include "graft/checkpoint/grow/tokens.hpp"
#include "graft/checkpoint/hf_config.hpp"
#include "graft/checkpoint/merge.hpp"
#include "graft/checkpoint/merge/value.hpp"
#include "graft/checkpoint/save.hpp"
#include "graft/core/error.hpp"
#include "graft/io/json_edit.hpp"
#include "graft/io/safetensors/types.hpp"
#include "graft/io/safetensors/write.hpp"
#include "graft/models/config.hpp"

namespace graft::detail {

class VocabularyGrowth {
public:
    VocabularyGrowth(const std::filesystem::path& base, const GrowOptions& options)
        : base_(base), config_(read_config(base)), checkpoint_(Checkpoint::open(base)), tokenizer_(base),
          special_(options.special)
    {
        const std::string where = printable(base.string(), 1000);
        require(options.multiple >= 1 && options.multiple <= 1 << 20,
                [&] { return "rows cannot be padded to a multiple of " + std::to_string(options.multiple); });
        const MergeBase source(checkpoint_);
        for (const auto* name : {&embedding_weight, &head_weight}) { check_table(source, *name); }
        check_base(source, config_);

        const auto& ids = tokenizer_.ids();
        require(!ids.empty(), [&] { return where + ": the tokeniser has no tokens whose mean rows could begin as"; });
        require(*ids.rbegin() < config_.vocab, [&] {
            return where + ": the tokeniser has an id " + std::to_string(*ids.rbegin()) + ", but the model has only "
                   + std::to_string(config_.vocab) + " rows: its files do not belong together";
        });
        receipt_.tokens = tokenizer_.place(options.tokens);
        receipt_.known = std::int64_t(ids.size());
        const std::int64_t needed = std::max(config_.vocab, receipt_.tokens.back().id + 1), m = options.multiple;
        rows_ = (needed + m - 1) / m * m;
        const std::int64_t first = receipt_.tokens.front().id;
        receipt_.in_padding = std::min(std::int64_t(receipt_.tokens.size()), config_.vocab - first);
        for (const auto* name : {&embedding_weight, &head_weight}) {
            if (config_.tied && *name == head_weight) { continue; }
            receipt_.tables.push_back({*name, checkpoint_.find(*name)->type, config_.vocab, rows_});
        }
        config_text_ = config_text(base);
        config_text_ = json_replaced(config_text_, *json_value_span(config_text_, "vocab_size"), std::to_string(rows_));
        require(parse_config(config_text_, "config.json").vocab == rows_, "grow: config.json was not edited");
    }

    const GrowReceipt& receipt() const { return receipt_; }

    void write(const std::filesystem::path& folder) const
    {
        std::error_code ignored;
        require(!std::filesystem::equivalent(base_, folder, ignored), [&] {
            return printable(folder.string(), 1000) + ": is the base, which is only read; name another folder";
        });
        std::vector<TensorHead> heads;
        std::vector<const StoredTensor*> tensors;
        std::map<std::string, std::vector<std::byte>> fresh;
        std::map<std::string, const StoredTensor*> all = checkpoint_.tensors();
        all.insert(checkpoint_.passed_over().begin(), checkpoint_.passed_over().end());
        for (const auto& [name, tensor] : all) {
            const bool head = name == head_weight, table = head || name == embedding_weight;
            if (head && config_.tied) { continue; }
            heads.push_back({name, tensor->type, tensor->shape});
            tensors.push_back(tensor);
            if (!table) { continue; }
            heads.back().shape[0] = rows_;
            fresh[name] = mean_row(*tensor, tokenizer_.ids());
        }
        write_safetensors(folder / "model.safetensors", heads, [&](std::size_t i, const WriteBytes& give) {
            const auto row = fresh.find(heads[i].name);
            if (row == fresh.end()) { return give(tensors[i]->bytes); }
            write_grown(*tensors[i], rows_, receipt_.tokens.front().id, receipt_.tokens.back().id + 1, row->second,
                        give);
        });
        finish_checkpoint(base_, folder, config_text_, [&](const std::string&, const std::string&) {
            for (const auto& [name, text] : tokenizer_.with(receipt_.tokens, special_)) {
                write_file(folder / name, text);
            }
        });
    }

private:
    void check_table(const MergeBase& base, const std::string& name) const
    {
        const std::string where = base.where() + ": " + name;
        require(base.parts(name) == nullptr, [&] {
            return where + " is in 4 bits, where no row can be added: take the checkpoint that it was quantised from";
        });
        const StoredTensor* table = base.checkpoint().find(name);
        if (table == nullptr || table->shape.empty() || table->shape[0] == config_.vocab) { return; }
        throw Error(where + " has " + std::to_string(table->shape[0]) + " rows, config.json says vocab_size "
                    + std::to_string(config_.vocab) + ": take config and weights from one place");
    }

    std::filesystem::path base_;
    ModelConfig config_;
    Checkpoint checkpoint_;
    TokenizerFiles tokenizer_;
    bool special_;
    GrowReceipt receipt_;
    std::int64_t rows_ = 0;
    std::string config_text_;
};

}  // namespace graft::detail

namespace graft {

GRAFT_INLINE GrowReceipt grown_vocabulary(const std::filesystem::path& base, const GrowOptions& options)
{
    return detail::VocabularyGrowth(base, options).receipt();
}

GRAFT_INLINE GrowReceipt grow_vocabulary(const std::filesystem::path& base, const std::filesystem::path& folder,
                                         const GrowOptions& options)
{
    const detail::VocabularyGrowth growth(base, options);
    growth.write(folder);
    return growth.receipt();
}

}  // namespace graft
