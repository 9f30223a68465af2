#include "guide_record.hpp"

// Every guide, in the order of the README, as somebody would work through them: in one folder that looks like the
// repository after scripts/demo, each command as it stands, its output held against the page (guide_support.hpp).
// With GRAFT_RECORD_GUIDES=1 outputs that have changed are written into the pages instead.
using namespace graft_test;

namespace {

const fs::path root = fs::path(repo()) / "..";

std::string page_of(const std::string& name) { return read_text(root / "docs/guides" / name); }

// The guides in the order of the README.
std::vector<std::string> guides()
{
    std::vector<std::string> out;
    for (const auto& link : words_of(read_text(root / "README.md"), "(docs/guides/", ")")) {
        if (link.ends_with(".md")) { out.push_back(link.substr(link.rfind('/') + 1)); }
    }
    return out;
}

bool programs()
{
    bool there = true;
    for (const char* name : {"finetune", "generate", "grow", "inspect", "merge"}) { there = there && built(name); }
    if (there && !fs::exists(small_model() + "/model.safetensors")) {
        skip("there is no examples/data/stories260K");
        return false;
    }
    return there;
}

// The repository after scripts/demo, to be written into.
struct Reader {
    TempFolder temp;

    Reader()
    {
        for (const auto& entry : fs::directory_iterator(root)) {
            const auto name = entry.path().filename();
            if (name != "build" && name != ".git") { fs::create_symlink(fs::canonical(entry.path()), temp / name); }
        }
        fs::create_directories(temp / "build/release");
        fs::create_directory_symlink(GRAFT_BIN_DIR, temp / "build/release/bin");
        ::setenv("GRAFT_THREADS", "1", 1);  // the same bits on any number, and kinder to tests beside this one
    }
    Ended run(const std::string& commands) const
    {
        const std::string shell = "cd '" + temp.path().string() + "' && { set -e\n" + commands + "\n} 2>&1";
        Ended out;
        std::FILE* pipe = ::popen(shell.c_str(), "r");
        REQUIRE(pipe != nullptr);
        char block[4096];
        for (std::size_t got; (got = std::fread(block, 1, sizeof block, pipe)) > 0;) { out.out.append(block, got); }
        const int status = ::pclose(pipe);
        out.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        return out;
    }
};

bool refusal(const std::string& shown)
{
    const auto lines = lines_of(shown);
    const std::string last = lines.empty() ? "" : lines.back();
    const auto names = {"finetune: ", "generate: ", "grow: ", "inspect: ", "merge: "};
    return std::any_of(names.begin(), names.end(), [&](const char* name) { return last.starts_with(name); });
}

// Runs the commands of a page; returns the page with its outputs as they are now.
std::string run_page(const Reader& reader, const std::string& page, int& commands)
{
    const auto blocks = blocks_of(page);
    std::string out = page;
    std::ptrdiff_t moved = 0;
    for (std::size_t i = 0; i < blocks.size(); ++i) {
        const auto& block = blocks[i];
        if (!block.file.empty()) { write_text(reader.temp / block.file, block.text); }
        if (block.language != "sh") { continue; }
        const bool shows = i + 1 < blocks.size() && blocks[i + 1].language.empty() && blocks[i + 1].output;
        const std::string shown = shows ? blocks[i + 1].text : dots;
        const auto ended = reader.run(block.text);
        ++commands;
        INFO("command: " << block.text);
        INFO("output: " << ended.out);
        CHECK(ended.status == (refusal(shown) ? 2 : 0));
        if (std::getenv("GRAFT_RECORD_GUIDES") != nullptr) {
            const auto now = recorded(shown, ended.out);
            if (!shows || now == shown) { continue; }
            out.replace(std::size_t(std::ptrdiff_t(blocks[i + 1].begin) + moved), shown.size(), now);
            moved += std::ptrdiff_t(now.size()) - std::ptrdiff_t(shown.size());
            continue;
        }
        const auto missing = missing_line(shown, ended.out);
        INFO("not printed as shown: " << missing.value_or(""));
        CHECK(!missing);
    }
    return out;
}

}  // namespace

TEST_CASE("guides: every command of every guide, in one sequence in one folder")
{
    if (!programs()) { return; }
    const Reader reader;
    for (const auto& name : guides()) {
        INFO("guide: " << name);
        const auto page = page_of(name);
        int commands = 0;
        const auto now = run_page(reader, page, commands);
        CHECK(commands > 0);
        if (now != page) { write_text(root / "docs/guides" / name, now); }
    }
}

TEST_CASE("guides: the README lists them all, and every block is run, compared, compiled or marked")
{
    auto listed = guides();
    std::vector<std::string> there;
    for (const auto& entry : fs::directory_iterator(root / "docs/guides")) { there.push_back(entry.path().filename()); }
    std::sort(listed.begin(), listed.end()), std::sort(there.begin(), there.end());
    CHECK(listed == there);
    for (const auto& name : there) {
        INFO("guide: " << name);
        const auto blocks = blocks_of(page_of(name));
        for (std::size_t i = 0; i < blocks.size(); ++i) {
            const auto& block = blocks[i];
            INFO("block: " << block.text);
            const bool known = block.language == "sh" || block.language == "cpp" || block.language == "text"
                               || block.language == "toml" || block.language == "json" || block.language == "yaml";
            const bool output = block.language.empty() && i > 0 && blocks[i - 1].language == "sh" && block.output;
            CHECK((known || output));
        }
    }
}

TEST_CASE("guides: code stands in a compiled file that the page names")
{
    int found = 0;
    auto pages = guides();
    pages.push_back("../../README.md");
    for (const auto& name : pages) {
        INFO("page: " << name);
        const auto page = page_of(name);
        auto files = words_of(page, "examples/", "`]() \n");
        const auto more = words_of(page, "tests/guides/", "`]() \n");
        files.insert(files.end(), more.begin(), more.end());
        std::erase_if(files, [](const std::string& file) { return !file.ends_with(".cpp"); });
        for (const auto& block : blocks_of(page)) {
            if (block.language != "cpp") { continue; }
            ++found;
            INFO("block: " << block.text);
            CHECK(std::any_of(files.begin(), files.end(),
                              [&](const auto& file) { return stands_in(block.text, read_text(root / file)); }));
        }
    }
    CHECK(found >= 10);
}

TEST_CASE("guides: a folder of another guide is named with a link to it")
{
    std::map<std::string, std::string> made;  // folder, the guide that has it first
    for (const auto& name : guides()) {
        const auto page = page_of(name);
        for (const auto& block : blocks_of(page)) {
            if (block.language != "sh") { continue; }
            for (const auto& word : words_of(block.text, "build/", " \n,\"'")) {
                const auto folder = word.substr(0, word.find('/', 6));
                if (folder == "build/release") { continue; }
                const auto owner = made.emplace(folder, name).first->second;
                INFO(name << " uses " << folder << " of " << owner);
                CHECK((owner == name || page.find("](" + owner) != page.npos));
            }
        }
    }
    CHECK(made.size() > 10);
}

TEST_CASE("README: the first program prints what is shown, and its commands are there")
{
    const auto page = read_text(root / "README.md");
    const auto blocks = blocks_of(page);
    REQUIRE(blocks.size() > 2);
    CHECK(blocks[0].language == "cpp");
    CHECK(stands_in(blocks[0].text, read_text(root / "examples/00_first.cpp")));
    CHECK(blocks[1].language.empty());
    for (const auto& block : blocks) {
        if (block.language != "sh") { continue; }
        for (const auto& script : words_of(block.text, "scripts/", " \n")) { CHECK(fs::exists(root / script)); }
    }
    const std::string demo = read_text(root / "scripts/demo");
    CHECK(demo.find("--target programs") != demo.npos);  // all of them: examples/CMakeLists.txt
    if (!built("00_first")) { return; }
    const auto ended = Reader().run("build/release/bin/00_first");
    CHECK(ended.status == 0);
    INFO(ended.out);
    CHECK(!missing_line(blocks[1].text, ended.out));
}

TEST_CASE("docs: every table has its head, and no row of docs/errors.md stands twice")
{
    std::vector<fs::path> pages{root / "README.md", root / "CONTRIBUTING.md"};
    for (const auto& entry : fs::recursive_directory_iterator(root / "docs")) {
        if (entry.path().extension() == ".md") { pages.push_back(entry.path()); }
    }
    for (const auto& path : pages) {
        std::vector<std::string> seen;
        const auto lines = lines_of(read_text(path));
        bool code = false;
        for (std::size_t i = 0; i < lines.size(); ++i) {
            code = code != lines[i].starts_with("```");
            if (code || !lines[i].starts_with("|")) { continue; }
            INFO(path.filename() << ": " << lines[i]);
            const bool first = i == 0 || !lines[i - 1].starts_with("|");
            const bool rule = i + 1 < lines.size() && lines[i + 1].find_first_not_of("|-: ") == std::string::npos;
            CHECK((!first || (rule && !lines[i + 1].empty())));
            const auto cell = lines[i].substr(0, lines[i].find(" | "));
            if (path.filename() != "errors.md" || first) { continue; }
            CHECK((cell.find_first_not_of("|-: ") == cell.npos
                   || std::find(seen.begin(), seen.end(), cell) == seen.end()));
            seen.push_back(cell);
        }
    }
}

TEST_CASE("docs: every option of every program stands on some page")
{
    if (!programs()) { return; }
    std::string text = read_text(root / "README.md");
    for (const auto& entry : fs::recursive_directory_iterator(root / "docs")) {
        if (entry.path().extension() == ".md") { text += read_text(entry.path()); }
    }
    const std::string after = " \n\t,|`)]=;:.'\"/[";
    const auto named = words_of(text, "--", after);
    for (const char* program : {"finetune", "generate", "grow", "inspect", "merge"}) {
        int options = 0;
        for (const auto& option : words_of(run(program, {"--help"}).out, "--", after)) {
            if (option.find_first_not_of("-abcdefghijklmnopqrstuvwxyz") != option.npos || option == "--help") {
                continue;
            }
            ++options;
            INFO(program << " " << option);
            CHECK(std::find(named.begin(), named.end(), option) != named.end());
        }
        CHECK(options > 3);
    }
}

TEST_CASE("guides: what counts as the output that is shown")
{
    CHECK(same_line("step 1/60  loss 2.6200  lr 5.00e-03  13204 tok/s  17.6 MiB  0:03 left",
                    "step 1/60  loss 2.6201  lr 5.00e-03  9 tok/s  17.6 MiB  1:00:00 left"));
    CHECK(!same_line("step 1/60  loss 2.6200", "step 1/60  loss 2.7200"));
    CHECK(!same_line("step 1/60  loss 2.6200", "step 2/60  loss 2.6200"));
    CHECK(!same_line("total 306,272", "total 306,273"));
    CHECK(same_line("error 5.81e-08 of 3", "error 9.1e-08 of 3"));
    CHECK(!same_line("error 5.81e-08 of 3", "error 9.1e-06 of 3"));
    CHECK(same_line("a …, sha256 …", "a b c, sha256 0123"));
    CHECK(!same_line("a …, sha256", "a b c, sha256 0123"));
    CHECK(!same_line("sha256 66ed4c", "sha256 66ed4d"));
    CHECK(!same_line("saved", "saved it"));
    CHECK(!missing_line("one\ntwo\n", "one\ntwo\n"));
    CHECK(missing_line("one\ntwo\n", "one\nmore\ntwo\n") == "two");
    CHECK(missing_line("one\n", "one\ntwo\n").value_or("").ends_with("two"));
    CHECK(!missing_line("…\ntwo\n…\n", "one\ntwo\nthree\n"));
    CHECK(!missing_line("…\ntwo\n", "one\ntwo\n1\ntwo\n"));
    CHECK(missing_line("…\ntwo\n", "one\ntwo\nthree\n") == "two");
    CHECK(!missing_line("one\n  …\n", "one\ntwo\n"));
    CHECK(missing_line("one\n…\n2\n3\n…\n", "one\n2\n4\n3\n") == "3");
    CHECK(stands_in("if (x) {\n    y();\n}\n", "int f()\n{\n    if (x) {\n        y();\n    }\n}\n"));
    CHECK(!stands_in("if (x) {\n    y();\n}\n", "    if (x) {\n      y();\n    }\n"));
    const auto page = blocks_of("# A\n```sh\nls\n```\n\n```\nb\n```\nText\n```\nc\n```\n"
                                "<!-- file: d -->\n```toml\ne\n```\n");
    REQUIRE(page.size() == 4);
    CHECK(page[0].text == "ls\n");
    CHECK(page[1].output);
    CHECK(!page[2].output);
    CHECK(page[3].file == "d");
}

TEST_CASE("guides: outputs are written anew as they are shown")
{
    CHECK(recorded("…\nstep 60/60  loss 0.3844  …\n…\nsaved x\n",
                   "audit\nstep 60/60  loss 0.2392  lr 8.33e-05\nproof\nsaved x\n")
          == "…\nstep 60/60  loss 0.2392  …\n…\nsaved x\n");
    CHECK(recorded("total  117\ntrainable  70\n", "total  117\nbase  47\ntrainable  71\n")
          == "total  117\nbase  47\ntrainable  71\n");
    const std::string step = "step 1/6  loss 2  9 tok/s  0:02 left\n";
    CHECK(recorded(step, "step 1/6  loss 2  12 tok/s  0:01 left\n") == step);
    CHECK(recorded(step, "step 1/6  loss 3  12 tok/s  0:01 left\n") == "step 1/6  loss 3  9 tok/s  0:02 left\n");
    CHECK(recorded("one\ngone away\nthree\n", "one\nthree\n") == "one\nthree\n");
}
