#pragma once
#include "graft/io/file_kind.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <string>
#include <string_view>
#include <system_error>

#include "graft/core/error.hpp"
#include "graft/io/text.hpp"

namespace graft::detail {

// The path for a command that is to be copied; FILE where a shell would take it for something else.
inline std::string path_in_command(const std::filesystem::path& path)
{
    const std::string text = path.string();
    const bool plain =
        !text.empty() && text.size() <= 200 && text[0] != '-' && std::all_of(text.begin(), text.end(), [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')
                   || std::string_view("/._-+").find(c) != std::string_view::npos;
        });
    return plain ? text : "FILE";
}

GRAFT_INLINE bool is_text(std::string_view bytes)
{
    bytes = bytes.substr(0, 64);
    return bytes.size() >= 8 && std::all_of(bytes.begin(), bytes.end(), [](char c) {
               return (c >= ' ' && c != '\x7f') || c == '\n' || c == '\r' || c == '\t';
           });
}

GRAFT_INLINE std::string_view without_space(std::string_view bytes)
{
    if (bytes.starts_with("\xEF\xBB\xBF")) { bytes.remove_prefix(3); }
    const auto begin = bytes.find_first_not_of(" \t\r\n");
    return begin == std::string_view::npos ? std::string_view() : bytes.substr(begin);
}

GRAFT_INLINE std::string lower(std::string text)
{
    for (char& c : text) { c = c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; }
    return text;
}

inline bool like_safetensors(std::string_view bytes)
{
    return bytes.size() > 9 && bytes[8] == '{' && bytes.substr(4, 4) == std::string_view("\0\0\0\0", 4);
}

// Asks the kinds in turn; each answer is what the file is and what to do, or empty.
class FileLook {
public:
    FileLook(std::string_view bytes, const std::filesystem::path& path, FileWanted wanted)
        : bytes_(bytes), extension_(lower(path.extension().string())), file_(path_in_command(path)), wanted_(wanted)
    {
        const auto text = without_space(bytes);
        const bool json = wanted != FileWanted::weights && (text.starts_with('{') || text.starts_with('['));
        by_name_ = !json && !like_safetensors(bytes);
    }

    std::string said() const
    {
        if (weights() && like_safetensors(bytes_)) { return ""; }  // whose length may look like any magic number
        std::string out = page();
        for (const auto part : {&FileLook::model, &FileLook::columns, &FileLook::packed, &FileLook::text}) {
            if (out.empty()) { out = (this->*part)(); }
        }
        return out;
    }

private:
    bool begins(std::string_view magic) const { return bytes_.starts_with(magic); }
    bool named(std::initializer_list<std::string_view> names) const
    {
        return by_name_ && std::find(names.begin(), names.end(), extension_) != names.end();
    }
    bool rows() const { return wanted_ == FileWanted::rows; }
    bool weights() const { return wanted_ == FileWanted::weights; }

    // What a server or Git left in the place of the file.
    std::string page() const
    {
        if (begins("version https://") && bytes_.substr(0, 256).find("\noid sha256:") != std::string_view::npos) {
            return "is a Git LFS pointer, not the file: fetch it with git lfs install && git lfs pull";
        }
        const std::string start = lower(std::string(without_space(bytes_).substr(0, 16)));
        if (start.starts_with("<!doctype html") || start.starts_with("<html")) {
            return "is an HTML page, not the file: the server sent a page in its place (of a gated model: accept its "
                   "terms and log in); fetch it again";
        }
        if (start.starts_with("<?xml") && !rows()) {
            return "is an XML page, not the file: the server sent an error in its place; fetch it again";
        }
        return "";
    }

    std::string model() const
    {
        const bool gguf = begins("GGUF") && bytes_.size() > 8 && (bytes_[5] == 0 || bytes_[6] == 0);
        if (gguf || named({".gguf", ".ggml"})) {
            return "is a GGUF file (llama.cpp), which is not read: take the checkpoint in safetensors that it was made "
                   "from";
        }
        const bool torch = begins(zip) && bytes_.substr(0, 512).find("data.pkl") != std::string_view::npos;
        const bool pickle = bytes_.size() > 2 && bytes_[0] == '\x80' && bytes_[1] >= 2 && bytes_[1] <= 5;
        if (torch || pickle || named({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})) {
            return std::string("is a pickle") + (pickle ? "" : " (PyTorch)")
                   + ", which is not read because reading one can run code: "
                   + (rows()      ? "save its rows as JSON lines"
                      : weights() ? "save it as safetensors (save_pretrained of transformers and PEFT does)"
                                  : belongs);
        }
        if (begins("\x89HDF") || named({".h5"})) {
            return "is an HDF5 file, which is not read: take the model in safetensors";
        }
        if (!weights() && like_safetensors(bytes_)) { return "is a safetensors file: it holds weights, not text"; }
        return "";
    }

    // Rows in another form.
    std::string columns() const
    {
        const auto converted = [&](const char* what, const char* module, const char* batches) {
            return std::string("is ") + what + ", which is not read: "
                   + (rows() ? "convert it to JSON lines: python3 -c \"import json, sys, " + std::string(module)
                                   + " as p; [print(json.dumps(r, default=str)) for b in " + batches
                                   + " for r in b.to_pylist()]\" " + file_ + " > NEW.jsonl"
                             : belongs);
        };
        if (begins("PAR1") || named({".parquet"})) {
            return converted("a parquet file", "pyarrow.parquet", "p.ParquetFile(sys.argv[1]).iter_batches()");
        }
        if (begins("ARROW1") || named({".feather"})) {
            return converted("an Arrow file", "pyarrow.feather", "p.read_table(sys.argv[1]).to_batches()");
        }
        if ((!weights() && begins("\xff\xff\xff\xff")) || named({".arrow"})) {  // what datasets keeps
            return converted("an Arrow stream", "pyarrow.ipc", "p.open_stream(open(sys.argv[1], 'rb'))");
        }
        if (named({".xlsx", ".xls", ".ods"}) || begins("\xd0\xcf\x11\xe0")) {
            return "is a spreadsheet, which is not read: save it as CSV in UTF-8";
        }
        if (begins("SQLite format 3")) { return "is an SQLite database, which is not read: export its rows as CSV"; }
        return "";
    }

    std::string packed() const
    {
        const auto unpacked = [&](const char* with) {
            return std::string("is compressed with ") + with + ", which is not read: " + with + " -dc " + file_
                   + " > NEW";
        };
        if (begins("\x1f\x8b") || named({".gz"})) { return unpacked("gzip"); }
        if (begins("\x28\xb5\x2f\xfd") || named({".zst"})) { return unpacked("zstd"); }
        if (begins("\xfd"
                   "7zXZ")
            || named({".xz"})) {
            return unpacked("xz");
        }
        const bool bz2 = begins("BZh") && bytes_.size() > 10 && bytes_.substr(4).starts_with("1AY&SY");
        if (bz2 || named({".bz2"})) { return unpacked("bzip2"); }
        if (begins(zip) || begins("PK\x05\x06") || named({".zip"})) {
            return "is a zip archive, which is not read: unzip " + file_ + ", and name what is in it";
        }
        if (begins("7z\xbc\xaf\x27\x1c") || named({".7z"})) {
            return "is a 7z archive, which is not read: unpack it first";
        }
        const bool tar = bytes_.size() > 262 && bytes_.substr(257).starts_with("ustar");
        if (tar || named({".tar"})) {
            return "is a tar archive, which is not read: tar -xf " + file_ + ", and name what is in it";
        }
        return "";
    }

    std::string text() const
    {
        if (begins("%PDF-")) { return "is a PDF, which is not read: save it as plain text"; }
        if (!weights() && (begins("\xff\xfe") || begins("\xfe\xff"))) {
            return "is UTF-16 text, which is not read: iconv -f UTF-16 -t UTF-8 " + file_ + " > NEW";
        }
        if (weights() && is_text(bytes_)) {
            return "is a text, not weights (it begins \"" + printable(bytes_.substr(0, 40), 40) + "\"): fetch it again";
        }
        return "";
    }

    static constexpr std::string_view zip = "PK\x03\x04";
    static constexpr const char* belongs = "fetch the file that belongs here";

    std::string_view bytes_;
    std::string extension_, file_;
    FileWanted wanted_;
    bool by_name_ = false;
};

}  // namespace graft::detail

namespace graft {

GRAFT_INLINE std::string wrong_file(std::string_view bytes, const std::filesystem::path& path, FileWanted wanted)
{
    const std::string said = bytes.empty() ? "" : detail::FileLook(bytes, path, wanted).said();
    return said.empty() ? "" : printable(path.string(), 1000) + ": " + said;
}

GRAFT_INLINE void refuse_wrong_file(std::string_view bytes, const std::filesystem::path& path, FileWanted wanted)
{
    const std::string said = wrong_file(bytes, path, wanted);
    if (!said.empty()) { throw Error(said); }
}

GRAFT_INLINE std::string first_bytes(const std::filesystem::path& path)
{
    std::array<char, 1024> block;
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(path, ignored)) { return ""; }
    std::ifstream file(path, std::ios::binary);
    file.read(block.data(), block.size());
    return {block.data(), std::size_t(file.gcount())};
}

GRAFT_INLINE std::string broken_link(const std::filesystem::path& path)
{
    namespace fs = std::filesystem;
    std::error_code code;
    if (!fs::is_symlink(path, code) || fs::exists(path, code)) { return ""; }
    const auto target = fs::read_symlink(path, code);
    return printable(path.string(), 1000) + ": is a link to " + printable(target.string(), 400)
           + ", which is not there: fetch the file again (in a copy of the Hugging Face cache, take its blobs along)";
}

}  // namespace graft
