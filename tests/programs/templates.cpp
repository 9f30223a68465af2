#include "programs_support.hpp"

#include "graft/text/tokenizer.hpp"

// A checkpoint with several chat templates, as a list in its configuration and as files: which one the programs take,
// and that a checkpoint made from it has them all.
using namespace graft_test;

namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string template_text(const std::string& mark)
{
    return "{{ '" + mark
           + "' }}{% for m in messages %}{{ '<|' + m.role + '|>' + (m.content or '') + eos_token }}{% endfor %}"
             "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";
}

const std::map<std::string, std::string> templates{
    {"default", template_text("DEFAULT ")}, {"rag", template_text("RAG ")}, {"tool_use", template_text("TOOLS ")}};

std::string with_list(const fs::path& folder)
{
    copy_folder(small_model(), folder);
    auto config = nlohmann::ordered_json::parse(read_text(folder / "tokenizer_config.json"));
    config["chat_template"] = nlohmann::ordered_json::array();
    for (const auto& each : templates) {
        config["chat_template"].push_back({{"name", each.first}, {"template", each.second}});
    }
    write_text(folder / "tokenizer_config.json", config.dump(2));
    return folder.string();
}
std::string with_files(const fs::path& folder)
{
    copy_folder(small_model(), folder);
    fs::create_directory(folder / "additional_chat_templates");
    for (const auto& each : templates) {
        write_text(folder
                       / (each.first == "default" ? "chat_template.jinja"
                                                  : "additional_chat_templates/" + each.first + ".jinja"),
                   each.second);
    }
    return folder.string();
}

const std::string with_tools =
    R"({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}], "tools": [{"name": "f"}]})";
const std::string without =
    R"({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ha"}]})";

}  // namespace

TEST_CASE("inspect: several templates of the checkpoint, by the row or by --template model:NAME")
{
    if (!built("inspect")) { return; }
    const TempFolder temp;
    const auto rows = (temp / "rows.jsonl").string();
    write_text(rows, with_tools + "\n" + without + "\n" + without + "\n");
    for (const auto& model : {with_list(temp / "list"), with_files(temp / "files")}) {
        const auto asked = [&](const Arguments& more) { return run("inspect", joined({model, "--data", rows}, more)); };
        const auto each = asked({});
        CAPTURE(each.out);
        CHECK(each.status == 0);
        CHECK(has(each.out, "  2 rows by the checkpoint's template default\n"));
        CHECK(has(each.out, "  1 row by the checkpoint's template tool_use\n"));
        CHECK(has(each.out, "TOOLS <|user|>Hi</s> <|assistant|>«Ho</s>»"));
        CHECK(has(each.out, "DEFAULT <|user|>Hi</s> <|assistant|>«Ha</s>»"));
        const auto one = asked({"--template", "model:rag"});
        CHECK(one.status == 0);
        CHECK(has(one.out, "RAG <|user|>Hi</s> <|assistant|>«Ho</s>»"));
        CHECK(!has(one.out, "TOOLS "));
        CHECK(!has(one.out, "DEFAULT "));
        check_refused(asked({"--template", "model:rags"}),
                      {"no chat template named \"rags\"; its own are default, rag, tool_use"});
    }
    check_refused(run("inspect", {small_model(), "--data", rows, "--template", "model:rag"}), {"has no chat template"});
}

TEST_CASE("generate --chat: --template model:NAME is what is rendered")
{
    if (!built("generate")) { return; }
    const TempFolder temp;
    const auto model = with_list(temp / "list");
    const auto said = [&](const Arguments& more) {
        const auto ended = run("generate", joined({"--model", model, "--max-tokens", "12"}, more));
        CAPTURE(ended.err);
        CHECK(ended.status == 0);
        return ended.out;
    };
    write_text(temp / "rag.jinja", templates.at("rag"));
    write_text(temp / "default.jinja", templates.at("default"));
    const Arguments chat{"--chat", "Who is Lily?"};
    const auto rag = said(joined(chat, {"--template", "model:rag"})), usual = said(chat);
    CHECK(rag == said(joined(chat, {"--template", (temp / "rag.jinja").string()})));
    CHECK(usual == said(joined(chat, {"--template", (temp / "default.jinja").string()})));
    CHECK(rag != usual);
    check_refused(run("generate", joined({"--model", model, "--template", "model:no"}, chat)),
                  {"\"no\"", "default, rag"});
}

TEST_CASE("grow, merge, finetune --method full: the new checkpoint has all templates of its base")
{
    if (!built("grow") || !built("merge") || !built("finetune")) { return; }
    const TempFolder temp;
    write_text(temp / "rows.jsonl", without);
    for (const bool files : {false, true}) {
        CAPTURE(files);
        const std::string kind = files ? "files" : "list",
                          model = files ? with_files(temp / kind) : with_list(temp / kind);
        const auto out = [&](const std::string& name) { return (temp / (name + "-" + kind)).string(); };
        const auto check = [&](const Ended& ended, const std::string& folder) {
            CAPTURE(ended.err);
            REQUIRE(ended.status == 0);
            CHECK(graft::Tokenizer::load(folder).chat_templates() == templates);
        };
        const auto trained = [&](const std::string& name, const Arguments& more) {
            return run("finetune", joined({"--model", model, "--data", (temp / "rows.jsonl").string(), "--output",
                                           out(name), "--steps", "1", "--quiet"},
                                          more));
        };
        check(run("grow", {"--model", model, "--add-tokens", "<x>", "--output", out("grown")}), out("grown"));
        check(trained("full", {"--method", "full"}), out("full"));
        REQUIRE(trained("adapter", {"--rank", "2"}).status == 0);
        check(run("merge", {"--model", model, "--adapter", out("adapter"), "--output", out("merged")}), out("merged"));
    }
}
