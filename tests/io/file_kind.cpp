#include "graft/io/file_kind.hpp"

#include "../files.hpp"
#include "graft/io/json_file.hpp"
#include "graft/io/safetensors.hpp"

using namespace graft_test;
using graft::FileWanted;

namespace {

constexpr const char* pointer =
    "version https://git-lfs.github.com/spec/v1\noid sha256:0123456789abcdef\nsize 1040128\n";

std::string said(std::string_view bytes, const char* name, FileWanted wanted)
{
    return graft::wrong_file(bytes, name, wanted);
}
bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

template <class Call> std::string refusal(Call&& call)
{
    try {
        call();
    } catch (const graft::Error& error) {
        return error.what();
    }
    return "";
}

}  // namespace

TEST_CASE("file_kind: the first bytes say what a file is, whatever its name")
{
    using namespace std::string_view_literals;
    const std::pair<std::string_view, const char*> kinds[] = {
        {pointer, "is a Git LFS pointer, not the file: fetch it with git lfs install && git lfs pull"},
        {"\n <!DOCTYPE HTML><html>", "is an HTML page"},
        {"<html lang=en>", "is an HTML page"},
        {"GGUF\x03\0\0\0\0\0\0\0"sv, "is a GGUF file"},
        {"PK\x03\x04\x14\0\0\0 archive/data.pkl"sv, "is a pickle (PyTorch)"},
        {"\x80\x02\x8a\x0al\xfc\x9c"sv, "is a pickle"},
        {"PK\x03\x04 word/document.xml", "is a zip archive"},
        {"PAR1\x15\x04", "is a parquet file"},
        {"ARROW1\0\0"sv, "is an Arrow file"},
        {"\x1f\x8b\x08\0"sv, "is compressed with gzip, which is not read: gzip -dc a.dat > NEW"},
        {"\x28\xb5\x2f\xfd\x24", "is compressed with zstd"},
        {"\xfd"
         "7zXZ\0"sv,
         "is compressed with xz"},
        {"BZh91AY&SY\x12\x34", "is compressed with bzip2"},
        {"\x89HDF\r\n", "is an HDF5 file"},
        {"%PDF-1.7", "is a PDF"},
    };
    for (const auto& kind : kinds) {
        CAPTURE(std::string(kind.second));
        for (const auto wanted : {FileWanted::weights, FileWanted::settings, FileWanted::rows}) {
            CHECK(has(said(kind.first, "a.dat", wanted), kind.second));
            CHECK(said(kind.first, "a.dat", wanted).starts_with("a.dat: is "));
        }
    }
    CHECK(has(said("\xff\xfe{\0"sv, "a.json", FileWanted::settings), "iconv -f UTF-16 -t UTF-8 a.json > NEW"));
    CHECK(has(said("\xff\xff\xff\xff\x90\x01\0\0"sv, "a", FileWanted::rows), "is an Arrow stream"));
    CHECK(has(said("Entry not found", "model.safetensors", FileWanted::weights),
              "is a text, not weights (it begins \"Entry not found\")"));
    CHECK(has(said("{\"error\": \"x\"}", "model.safetensors", FileWanted::weights), "is a text, not weights"));
}

TEST_CASE("file_kind: rows of parquet and Arrow are told the command, with a name that a shell takes as it is")
{
    const auto parquet = said("PAR1", "my/data-1.parquet", FileWanted::rows);
    CHECK(has(parquet,
              "python3 -c \"import json, sys, pyarrow.parquet as p; [print(json.dumps(r, default=str)) for b in "
              "p.ParquetFile(sys.argv[1]).iter_batches() for r in b.to_pylist()]\" my/data-1.parquet > NEW.jsonl"));
    CHECK(has(said("PAR1", "a; rm -rf b.parquet", FileWanted::rows), "\" FILE > NEW.jsonl"));
    CHECK(has(said("PAR1", "model.safetensors", FileWanted::weights), "fetch the file that belongs here"));
}

TEST_CASE("file_kind: the name decides where the bytes say nothing, but not against JSON or safetensors")
{
    CHECK(has(said("abc", "a.GGUF", FileWanted::rows), "is a GGUF file"));
    CHECK(has(said("abc", "pytorch_model.bin", FileWanted::weights), "is a pickle (PyTorch)"));
    CHECK(said("{\"a\": 1}", "a.parquet", FileWanted::rows) == "");
    CHECK(said(" [1]", "a.bin", FileWanted::settings) == "");
    CHECK(said("", "a.bin", FileWanted::rows) == "");
    for (const char* text :
         {"Once upon a time", "GGUF is a format", "version https://git-lfs is a line", "PK is no zip"}) {
        CAPTURE(text);
        CHECK(said(text, "a.md", FileWanted::rows) == "");
    }
    // The length of a header may look like any magic number.
    std::string file("\x80\x02\x00\x00\x00\x00\x00\x00{\"a\"", 12);
    CHECK(said(file, "model.safetensors", FileWanted::weights) == "");
    file.replace(0, 2, "\x1f\x8b");
    CHECK(said(file, "model.safetensors", FileWanted::weights) == "");
}

TEST_CASE("file_kind: the readers of safetensors and JSON say it, also of a file that is too large for them")
{
    const TempFolder temp;
    write_text(temp / "model.safetensors", pointer);
    CHECK(has(refusal([&] { graft::SafetensorsFile::open(temp / "model.safetensors"); }), "is a Git LFS pointer"));
    CHECK(has(refusal([&] { graft::read_json(temp / "model.safetensors"); }), "is a Git LFS pointer"));
    write_text(temp / "config.json", std::string("GGUF\x03\0\0\0", 8) + std::string(5000, '\0'));
    CHECK(has(refusal([&] { graft::read_json(temp / "config.json", 1000); }), "config.json: is a GGUF file"));
    write_text(temp / "short", "1234567");
    CHECK(has(refusal([&] { graft::SafetensorsFile::open(temp / "short"); }), "truncated"));
}

TEST_CASE("file_kind: a link whose target is gone is named with it")
{
    const TempFolder temp;
    fs::create_symlink("../../blobs/abc", temp / "config.json");
    CHECK(
        has(graft::broken_link(temp / "config.json"), "config.json: is a link to ../../blobs/abc, which is not there"));
    CHECK(has(refusal([&] { graft::read_json(temp / "config.json"); }), "is a link to"));
    write_text(temp / "there", "{}");
    fs::create_symlink("there", temp / "good");
    CHECK(graft::broken_link(temp / "good") == "");
    CHECK(graft::broken_link(temp / "there") == "");
    CHECK(graft::broken_link(temp / "absent") == "");
}
