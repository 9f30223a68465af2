#include "programs_support.hpp"

#include <functional>

// Files as people have them, given to the programs: what is understood gives what the plain file gives, and what is not
// read is named in one line.
using namespace graft_test;

namespace {

const std::string once = "Once upon a time";

std::string copied_model(const TempFolder& temp, const std::string& name = "model")
{
    copy_folder(small_model(), temp / name);
    return (temp / name).string();
}
void write_names(const fs::path& folder, const std::function<std::string(const std::string&)>& change,
                 const nlohmann::ordered_json& metadata = nullptr)
{
    auto file = Tensors::read(folder / "model.safetensors");
    for (auto& tensor : file.list) { tensor.name = change(tensor.name); }
    auto header = file.header();
    if (!metadata.is_null()) { header["__metadata__"] = metadata; }
    file.write(folder / "model.safetensors", header);
}
std::string as_head(const std::string& name) { return name == "model.embed_tokens.weight" ? "lm_head.weight" : name; }
Ended asked(const std::string& model, const Arguments& more = {})
{
    return run("generate", joined({"--model", model, "--prompt", once, "--max-tokens", "12"}, more));
}
bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

constexpr const char* pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0123456789abcdef\nsize 14760\n";

}  // namespace

TEST_CASE("generate: a tied pair stored as its head, and names of other writers, say what the plain model says")
{
    if (!built("generate")) { return; }
    const auto plain = asked(small_model());
    CHECK(plain.out == "Once upon a time, there was a little girl named Lily. She\n");
    const TempFolder temp;
    const auto model = copied_model(temp);
    write_names(model, as_head, {{"format", "pt"}, {"model.embed_tokens.weight", "lm_head.weight"}});
    CHECK(asked(model).out == plain.out);
    CHECK(asked(model).err == "");
    write_names(model, [](const std::string& name) { return "module." + name; });
    const auto other = asked(model);
    CHECK(other.out == plain.out);
    CHECK(has(other.err, "note: 47 tensors have other names in the file (module.lm_head.weight"));
}

TEST_CASE("generate: an adapter whose keys carry its name says what the plain one says; two in one file are refused")
{
    if (!built("generate")) { return; }
    const auto root = data();
    if (!root) { return skip("GRAFT_TEST_DATA is not set"); }
    const auto folder = *root / "cases/16-adapter-keys-with-the-adapter-name";
    if (!fs::exists(folder)) { return skip("there is no case 16"); }
    const auto plain = asked(small_model(), {"--adapter", (folder / "plain").string()});
    CHECK(plain.status == 0);
    CHECK(plain.out != asked(small_model()).out);
    CHECK(asked(small_model(), {"--adapter", (folder / "named").string()}).out == plain.out);
    const TempFolder temp;
    copy_folder(folder / "named", temp.path());
    auto file = Tensors::read(temp / "adapter_model.safetensors");
    const auto one = file.list;
    for (auto tensor : one) {
        tensor.name.replace(tensor.name.find(".default."), 9, ".second.");
        file.list.push_back(tensor);
    }
    file.write(temp / "adapter_model.safetensors");
    check_refused(asked(small_model(), {"--adapter", temp.path().string()}), {"several adapters, default and second"});
    if (built("inspect")) { check_refused(run("inspect", {temp.path().string()}), {"several adapters"}); }
}

TEST_CASE("programs: a Git LFS pointer, a page or another kind in the place of any file is named in one line")
{
    if (!built("generate") || !built("inspect")) { return; }
    const std::pair<std::string, const char*> kinds[] = {
        {pointer, "is a Git LFS pointer, not the file: fetch it with git lfs install && git lfs pull"},
        {"<!DOCTYPE html><html>", "is an HTML page"},
        {std::string("GGUF\x03\0\0\0\0\0\0\0", 12), "is a GGUF file"},
        {std::string("PK\x03\x04") + "archive/data.pkl", "is a pickle"},
        {"\x1f\x8b\x08 and so on", "is compressed with gzip"},
    };
    for (const char* name : {"model.safetensors", "tokenizer.json", "tokenizer_config.json", "config.json"}) {
        for (const auto& kind : kinds) {
            CAPTURE(name);
            const TempFolder temp;
            const auto model = copied_model(temp);
            write_text(fs::path(model) / name, kind.first);
            check_refused(asked(model), {std::string(name) + ": " + kind.second});
        }
    }
    for (const auto& kind : kinds) {
        const TempFolder temp;
        write_text(temp / "rows.jsonl", kind.first);
        check_refused(run("inspect", {small_model(), "--data", (temp / "rows.jsonl").string()}), {kind.second});
        write_text(temp / "good.jsonl", R"({"prompt": "a", "completion": "b"})");
        check_refused(run("inspect", {small_model(), "--data", (temp / "good.jsonl").string(), "--template",
                                      (temp / "rows.jsonl").string()}),
                      {kind.second});
    }
}

TEST_CASE("inspect --data: a text file, cut where it is asked, and a table")
{
    if (!built("inspect")) { return; }
    const TempFolder temp;
    const std::string text = (temp / "corpus.txt").string(), table = (temp / "rows.csv").string();
    write_text(text, "The kite was red. Ann held it.\r\n\r\nBen ran after it.\n");
    const auto whole = run("inspect", {small_model(), "--data", text, "--task", "text"});
    CHECK(whole.status == 0);
    CHECK(has(whole.out, "1 row of text, 1 used"));
    const auto cut = run("inspect", {small_model(), "--data", text, "--task", "text", "--split-on", "\\n\\n"});
    CHECK(has(cut.out, "2 rows of text, 2 used"));
    CHECK(!has(cut.out, "\\x0d"));
    check_refused(run("inspect", {small_model(), "--data", text, "--task", "text", "--split-on", "\\q"}),
                  {"--split-on", "means nothing here"});
    write_text(table, "instruction,output\n\"Say \"\"hi\"\", now\",Hi!\nbad,row,here\n");
    const auto rows = run("inspect", {small_model(), "--data", table, "--template", "zephyr"});
    CHECK(rows.status == 0);
    CHECK(has(rows.out, "1 used, 1 dropped"));
    CHECK(has(rows.out, "Say \"hi\", now"));
    check_refused(run("inspect", {small_model(), "--data", table, "--template", "zephyr", "--split-on", "x"}),
                  {"--split-on cuts files of text"});
}

TEST_CASE("finetune: over a base with other names the adapter is that of the plain base, to the byte")
{
    if (!built("finetune")) { return; }
    const TempFolder temp;
    const auto model = copied_model(temp);
    write_names(model, [](const std::string& name) { return "module." + as_head(name); });
    write_text(temp / "corpus.md", "The kite was red.---Ann held it.");
    std::map<std::string, std::string> files[2];
    int at = 0;
    for (const auto& base : {small_model(), model}) {
        const std::string out = (temp / ("out" + std::to_string(at))).string();
        const auto ended =
            run("finetune", {"--model", base, "--data", (temp / "corpus.md").string(), "--task", "text", "--split-on",
                             "---", "--output", out, "--steps", "2", "--rank", "2", "--quiet"});
        CAPTURE(ended.err);
        CHECK(ended.status == 0);
        CHECK(has(ended.out, "2 rows of text, 2 used"));
        files[at++] = contents(out);
    }
    CHECK(files[0].at("adapter_model.safetensors") == files[1].at("adapter_model.safetensors"));
}
