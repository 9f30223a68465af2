#include "graft/text/tokenizer.hpp"

#include "../../support.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <map>
#include <string>

using graft::Error, graft::Tokenizer;
using Json = nlohmann::json;
using Ids = std::vector<std::int32_t>;

namespace {

Json json_file(const std::filesystem::path& path) { return Json::parse(graft::detail::tokens::read_whole_file(path)); }

// What Error says of a text or a file where it is right to refuse it: the reference fails on such a text, doubles what
// is put in front of it, or does what it does by chance.
bool refused_by_name(const std::string& what)
{
    for (const char* part : {"in front of a text (a Replace", "has lstrip, and the token before it", "and no unk_id",
                             "after Fuse or ByteLevel is not supported", "beside ByteLevel, where model.vocab lacks",
                             "nothing, which is found everywhere", "the same as of", "after ByteLevel; only files"}) {
        if (what.find(part) != std::string::npos) { return true; }
    }
    return false;
}

struct Counts {
    int agreed = 0, refused = 0, rows = 0, refused_rows = 0;
};

void check_row(const Tokenizer& tokenizer, const Json& row, bool special, Counts& counts)
{
    const auto text = row[0].get<std::string>();
    CAPTURE(text);
    Ids ids;
    try {
        ids = tokenizer.encode(text, {.add_special = special});
    } catch (const Error& error) {
        ++counts.refused_rows;
        const std::string what = error.what();
        CAPTURE(what);
        CHECK(refused_by_name(what));
        return;
    }
    ++counts.rows;
    CHECK(Json(ids) == row[1]);  // also where it is null: graft says no more than the reference
    for (const bool skip : {false, true}) {
        const Json& decoded = row[skip ? 3 : 2];
        CHECK((decoded.is_null() || tokenizer.decode(ids, skip) == decoded.get<std::string>()));
    }
    const auto spans = tokenizer.encode_with_spans(text, {.add_special = special});
    CHECK(spans.ids == ids);
    REQUIRE(spans.spans.size() == ids.size());
    std::size_t begin = 0, end = 0;
    bool good = true;
    for (const auto& span : spans.spans) {
        good = good && begin <= span.begin && span.begin <= span.end && end <= span.end && span.end <= text.size();
        begin = span.begin, end = span.end;
    }
    CHECK(good);
}

}  // namespace

TEST_CASE("tokenizer: altered files against the reference")
{
    const char* given = std::getenv("GRAFT_ALTERED");  // another file of make_altered.py, by hand
    const auto data = graft_test::repo() / "data";
    const Json all = json_file(given != nullptr ? given : data / "tokenizer_altered/altered.json");
    std::map<std::string, Json> bases;
    for (const auto& [name, base] : all["bases"].items()) {
        bases[name] = base.contains("file")   ? json_file(data / base["file"].get<std::string>() / "tokenizer.json")
                      : base.contains("path") ? json_file(base["path"].get<std::string>())
                                              : base;
    }
    Counts counts;
    for (const Json& entry : all["cases"]) {
        const std::string parts = entry["parts"].dump().substr(0, 2000);
        const std::string config = entry.contains("config") ? entry["config"].dump() : "";
        CAPTURE(parts);
        CAPTURE(config);
        Json file = bases.at(entry["base"].get<std::string>());
        for (const auto& [key, value] : entry["parts"].items()) {
            if (key == "model") {
                file[key].update(value);
            } else {
                file[key] = value;
            }
        }
        std::optional<Tokenizer> tokenizer;
        try {
            tokenizer = Tokenizer::parse(file.dump(), config);
        } catch (const Error& error) {
            ++counts.refused;
            const std::string what = error.what();
            CAPTURE(what);
            CHECK(refused_by_name(what));
            continue;
        }
        ++counts.agreed;
        for (const Json& row : entry["rows"]) { check_row(*tokenizer, row, config.empty(), counts); }
    }
    MESSAGE(counts.agreed << " files read, " << counts.refused << " refused; " << counts.rows << " texts, "
                          << counts.refused_rows << " refused");
    CHECK(counts.agreed > 20 * counts.refused);
    CHECK(counts.rows > 20 * counts.refused_rows);
}
