// grow: a checkpoint with more added tokens, in its tokeniser and as rows of its tables.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "cli/base_note.hpp"
#include "cli/numbers.hpp"
#include "cli/program.hpp"

#include "graft/checkpoint/grow_vocabulary.hpp"
#include "graft/io/output_folder.hpp"
#include "graft/text/tokenizer.hpp"

namespace {

struct Options {
    std::string model, tokens, output;
    std::int64_t multiple = 1;
    bool not_special = false, overwrite = false;
};

std::vector<std::string> split(const std::string& text)
{
    std::vector<std::string> out(1);
    for (const char c : text) {
        if (c == ',') {
            out.emplace_back();
        } else {
            out.back() += c;
        }
    }
    return out;
}

std::string ids_text(const graft::GrowReceipt& receipt)
{
    std::string out;
    for (const auto& token : receipt.tokens) { out += (out.empty() ? "" : ",") + std::to_string(token.id); }
    return out;
}

std::string receipt_text(const graft::GrowReceipt& receipt, const Options& o)
{
    std::size_t width = 10;
    for (const auto& token : receipt.tokens) { width = std::max(width, graft::printable(token.text).size()); }
    std::string out;
    const auto line = [&](std::string first, const std::string& second, const std::string& third) {
        first.resize(std::max(width + 2, first.size()), ' ');
        out += first + second + (third.empty() ? "" : "  " + third) + "\n";
    };
    line("token", "id", "");
    for (std::size_t i = 0; i < receipt.tokens.size(); ++i) {
        const bool was_padding = std::int64_t(i) < receipt.in_padding;
        line(graft::printable(receipt.tokens[i].text), std::to_string(receipt.tokens[i].id),
             was_padding ? "in a row that was padding" : "");
    }
    for (const auto& table : receipt.tables) {
        out += table.name + ": " + std::to_string(table.before) + " rows before, " + std::to_string(table.after)
               + " after (" + std::string(graft::stored_name(table.type)) + "); new ones are the mean of "
               + std::to_string(receipt.known) + "\n";
    }
    if (receipt.tables.size() == 1) { out += "the head is the embedding (tied)\n"; }
    out += "saved " + o.output + "\nnext:\n  inspect --verify " + o.output + "\n  finetune --model " + o.output
           + " --train-tokens " + ids_text(receipt) + " --data FILE --output DIR\n";
    return out;
}

// What was written is read again: each new token is one id, as a tokeniser sees it.
void check_tokens(const graft::GrowReceipt& receipt, const std::filesystem::path& folder)
{
    const auto tokenizer = graft::Tokenizer::load(folder);
    for (const auto& token : receipt.tokens) {
        const auto ids = tokenizer.encode(token.text, {.add_special = false});
        graft::require(ids == std::vector<std::int32_t>{std::int32_t(token.id)}, [&] {
            return "the token " + graft::printable(token.text) + " would not be encoded as its id "
                   + std::to_string(token.id) + ": another token comes first in it; choose another text";
        });
    }
}

}  // namespace

int main(int argc, char** argv)
{
    Options o;
    CLI::App app{"grow: adds tokens to a checkpoint: to its tokeniser, its embedding and its head", "grow"};
    app.add_option("--model", o.model, "checkpoint folder, dense or NF4")->required();
    app.add_option("--add-tokens", o.tokens, "their texts, with commas between them")->required();
    app.add_option("--output", o.output, "folder for the result")->required();
    cli::add_number(app, "--rows", o.multiple, {.least = 1, .most = 1 << 20},
                    "make the number of rows a multiple of this")
        ->capture_default_str();
    app.add_flag("--not-special", o.not_special, "shown where special tokens are left out of a decoded text");
    app.add_flag("--overwrite", o.overwrite, "replace a result that the output folder holds");
    return cli::run(app, argc, argv, [&] {
        const graft::GrowOptions options{.tokens = split(o.tokens), .special = !o.not_special, .multiple = o.multiple};
        graft::grown_vocabulary(o.model, options);  // refusals, before anything is moved
        graft::OutputFolder output({.folder = o.output, .overwrite = o.overwrite, .inputs = {o.model}});
        output.begin();
        const auto receipt = graft::grow_vocabulary(o.model, output.path(), options);
        check_tokens(receipt, output.path());
        output.commit();
        cli::print(cli::base_note(graft::Checkpoint::open(o.model)) + receipt_text(receipt, o));
    });
}
