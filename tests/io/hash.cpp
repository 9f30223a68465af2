#include "graft/io/hash.hpp"

#include "../programs/programs_support.hpp"

// SHA-256 against the examples of FIPS 180-4.
using namespace graft_test;

TEST_CASE("hash: SHA-256 of known texts, in one piece and in many")
{
    CHECK(graft::sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(graft::sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    const std::string million(1'000'000, 'a');
    CHECK(graft::sha256(million) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    graft::Sha256 hash;
    for (std::size_t at = 0; at < million.size(); at += 7777) { hash.add(std::string_view(million).substr(at, 7777)); }
    CHECK(hash.hex() == graft::sha256(million));

    graft::Sha256 number;
    number.add(std::int64_t(0x0102030405060708));
    CHECK(number.hex() == graft::sha256("\x08\x07\x06\x05\x04\x03\x02\x01"));
}

TEST_CASE("hash: files, and what is no file")
{
    const TempFolder temp;
    const std::string text(3 * (1 << 20) + 5, 'x');
    write_text(temp / "file", text);
    CHECK(graft::hash_file(temp / "file") == graft::FileHash{std::int64_t(text.size()), graft::sha256(text)});
    write_text(temp / "file", "");
    CHECK(graft::hash_file(temp / "file") == graft::FileHash{0, graft::sha256("")});
    for (const fs::path& path : {temp / "absent", temp.path()}) {
        std::string said;
        try {
            graft::hash_file(path);
        } catch (const graft::Error& error) {
            said = error.what();
        }
        CHECK(said.find(path.string()) != std::string::npos);
    }
}
