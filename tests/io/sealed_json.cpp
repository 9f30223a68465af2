#include "../files.hpp"

#include "graft/io/hashed_files.hpp"
#include "graft/io/sealed_json.hpp"

// Records that know when they are damaged.
using namespace graft_test;

TEST_CASE("sealed: what is written is read back, by the hash that writing returned")
{
    const TempFolder temp;
    const graft::OrderedJson json{{"b", 1}, {"a", {{"text", "ä"}, {"list", {1, 2}}}}};
    const auto hash = graft::write_sealed(temp / "x.json", json);
    const auto back = graft::read_sealed(temp / "x.json");
    CHECK(back.sha256 == hash);
    CHECK(back.json.at("sha256") == hash);
    CHECK(back.json.at("a") == json.at("a"));
    CHECK(back.json.begin().key() == "b");
    CHECK(nlohmann::json::parse(read_text(temp / "x.json")).at("b") == 1);  // JSON like any other
}

TEST_CASE("sealed: any byte that is changed, cut or added is seen")
{
    const TempFolder temp;
    graft::write_sealed(temp / "x.json", {{"a", 1}, {"b", "two"}});
    const auto text = read_text(temp / "x.json");
    const auto damaged = [&](const std::string& other) {
        write_text(temp / "y.json", other);
        CHECK_THROWS_WITH_AS(graft::read_sealed(temp / "y.json"), doctest::Contains("y.json: damaged"), graft::Error);
    };
    for (std::size_t i = 0; i < text.size(); ++i) {
        auto other = text;
        other[i] ^= 1;
        damaged(other);
        damaged(text.substr(0, i));
    }
    damaged(text + " ");
    CHECK_THROWS_AS(graft::read_sealed(temp / "none.json"), graft::Error);
    CHECK_THROWS_AS(graft::write_sealed(temp / "z.json", graft::OrderedJson::array()), graft::Error);
}

TEST_CASE("hashed files: sizes and hashes through JSON; a file that is not what it was is named")
{
    const TempFolder temp;
    write_text(temp / "a", "abc");
    write_text(temp / "b", "");
    const auto files = graft::hash_files(temp.path(), std::vector<std::string>{"a", "b"});
    CHECK(files.at("a").bytes == 3);
    CHECK(files.at("a").sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK((graft::hashed_of_json(graft::hashed_json(files), "x") == files));
    for (const auto& [name, hash] : files) { CHECK_NOTHROW(graft::check_file(temp.path(), name, hash)); }
    write_text(temp / "a", "abd");
    CHECK_THROWS_WITH_AS(graft::check_file(temp.path(), "a", files.at("a")), doctest::Contains("not the bytes"),
                         graft::Error);
    write_text(temp / "a", "ab");
    CHECK_THROWS_WITH_AS(graft::check_file(temp.path(), "a", files.at("a")),
                         doctest::Contains("2 bytes, was written with 3"), graft::Error);
    CHECK_THROWS_AS(graft::hash_files(temp.path(), std::vector<std::string>{"c"}), graft::Error);
    for (const char* name : {"../a", "", ".", "..", "a/b"}) {
        CAPTURE(name);
        const graft::OrderedJson leaves{{name, {{"bytes", 1}, {"sha256", "00"}}}};
        CHECK_THROWS_WITH_AS(graft::hashed_of_json(leaves, "x"), doctest::Contains("is not a file of this folder"),
                             graft::Error);
    }
    CHECK_THROWS_AS(graft::hashed_of_json({{"a", {{"bytes", 1}}}}, "x"), graft::Error);
    CHECK_THROWS_AS(graft::hashed_of_json({1, 2}, "x"), graft::Error);
}
