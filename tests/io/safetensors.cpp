#include "graft/io/safetensors.hpp"
#include "graft/io/safetensors/write.hpp"

#include "files.hpp"
#include "support.hpp"

#include <cstring>
#include <fstream>
#include <random>

namespace {

namespace fs = std::filesystem;
using graft::SafetensorsFile;
using graft::StoredType;

void put(const fs::path& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

std::string file_of(const std::string& header, std::size_t data)
{
    std::string out(8, '\0');
    for (std::size_t i = 0; i < 8; ++i) { out[i] = static_cast<char>(header.size() >> (8 * i) & 0xFF); }
    return out + header + std::string(data, 'x');
}

// The refusal of a file with these bytes; "" where it is read.
std::string refusal(const graft_test::TempFolder& scratch, const std::string& bytes)
{
    const fs::path path = scratch.path() / "model.safetensors";
    put(path, bytes);
    try {
        const auto file = SafetensorsFile::open(path);
        std::size_t sum = 0;
        for (const auto& tensor : file.tensors()) {
            for (const std::byte b : tensor.bytes) { sum += static_cast<std::size_t>(b); }
        }
        CHECK(sum < std::size_t(1) << 40);  // every byte could be touched
    } catch (const graft::Error& error) {
        const std::string text = error.what();
        CHECK(text.find('\n') == std::string::npos);
        CHECK(text.find("model.safetensors") != std::string::npos);
        return text;
    }
    return "";
}

std::span<const std::byte> bytes_of(const std::string& text)
{
    return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace

TEST_CASE("element types have the names and widths of the format")
{
    CHECK(graft::stored_name(StoredType::bf16) == "BF16");
    CHECK(graft::stored_bits(StoredType::f6_e2m3) == 6);
    CHECK(graft::stored_type("U64") == StoredType::u64);
    CHECK(!graft::stored_type("f32"));
    for (std::size_t i = 0; i < graft::detail::stored_types.size(); ++i) {
        const auto type = static_cast<StoredType>(i);
        CHECK(graft::stored_type(graft::stored_name(type)) == type);
    }
    CHECK(graft::stored_bytes(StoredType::f4, std::vector<std::int64_t>{3, 2}) == 3);
    CHECK(!graft::stored_bytes(StoredType::f4, std::vector<std::int64_t>{3}));
    CHECK(!graft::stored_bytes(StoredType::u8, std::vector<std::int64_t>{std::int64_t(1) << 62, 5}));
    CHECK(!graft::stored_bytes(StoredType::u8, std::vector<std::int64_t>{-1}));
}

TEST_CASE("a file is written as the reference package writes it, and read back")
{
    const graft_test::TempFolder scratch;
    const fs::path path = scratch.path() / "a.safetensors";
    const std::string a(8, 'a'), b(6, 'b'), c(4, 'c');
    const std::vector<graft::TensorToWrite> tensors{
        {"b", StoredType::bf16, {3}, bytes_of(b)},
        {"z", StoredType::f32, {1}, bytes_of(c)},
        {"a\"\n", StoredType::f32, {2, 1}, bytes_of(a)},
        {"empty", StoredType::f32, {0, 4}, {}},
    };
    graft::write_safetensors(path, tensors);
    // Recorded from safetensors 0.8.0.
    const std::string header =
        R"({"__metadata__":{"format":"pt"},"a\"\n":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
        R"("empty":{"dtype":"F32","shape":[0,4],"data_offsets":[8,8]},)"
        R"("z":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},)"
        R"("b":{"dtype":"BF16","shape":[3],"data_offsets":[12,18]}})";
    const std::string padded = header + std::string((8 - header.size() % 8) % 8, ' ');
    std::string length(8, '\0');
    length[0] = static_cast<char>(padded.size() & 0xFF);
    length[1] = static_cast<char>(padded.size() >> 8);
    CHECK(graft::read_file(path, 10000) == length + padded + a + c + b);

    SafetensorsFile file = SafetensorsFile::open(path);
    const SafetensorsFile copy = file;
    const auto* tensor = copy.find("a\"\n");
    file = SafetensorsFile::open(path);  // the copy keeps the first mapping alive
    fs::remove(path);
    REQUIRE(tensor != nullptr);
    CHECK(tensor->shape == std::vector<std::int64_t>{2, 1});
    CHECK(std::memcmp(tensor->bytes.data(), a.data(), a.size()) == 0);
    CHECK(copy.at("b").type == StoredType::bf16);
    CHECK(copy.find("c") == nullptr);
    CHECK_THROWS_AS(copy.at("c"), graft::Error);
    CHECK(copy.metadata().at("format") == "pt");
    CHECK(copy.tensors().back().name == "b");
}

TEST_CASE("the streaming form gives the same file, and refuses what does not fill a shape")
{
    const graft_test::TempFolder scratch;
    const fs::path path = scratch.path() / "a.safetensors";
    const std::string data(3'000'000, 'q');
    const std::vector<graft::TensorHead> heads{{"x", StoredType::u8, {3'000'000}}, {"y", StoredType::u8, {2}}};
    graft::write_safetensors(path, heads, [&](std::size_t i, const graft::WriteBytes& write) {
        const std::string text = i == 0 ? data : std::string("ab");
        write(bytes_of(text).first(1));
        write(bytes_of(text).subspan(1));
    });
    const auto file = SafetensorsFile::open(path);
    CHECK(std::memcmp(file.at("x").bytes.data(), data.data(), data.size()) == 0);
    const std::string before = graft::read_file(path, 4'000'000);

    CHECK_THROWS_AS(graft::write_safetensors(path, heads, [&](std::size_t, const graft::WriteBytes&) {}), graft::Error);
    CHECK_THROWS_AS(graft::write_safetensors(path, heads,
                                             [&](std::size_t, const graft::WriteBytes& write) {
                                                 write(bytes_of(data));
                                                 write(bytes_of(data));
                                             }),
                    graft::Error);
    const auto refuses = [&](std::vector<graft::TensorHead> bad) {
        CHECK_THROWS_AS(graft::write_safetensors(path, bad, [](std::size_t, const graft::WriteBytes&) {}),
                        graft::Error);
    };
    refuses({{"x", StoredType::u8, {0}}, {"x", StoredType::f32, {0}}});
    refuses({{"", StoredType::u8, {0}}});
    refuses({{"__metadata__", StoredType::u8, {0}}});
    refuses({{"\xff", StoredType::u8, {0}}});
    refuses({{"x", StoredType::f32, {std::int64_t(1) << 62, 4}}});
    CHECK(graft::read_file(path, 4'000'000) == before);
    CHECK(std::distance(fs::directory_iterator(scratch.path()), fs::directory_iterator()) == 1);
}

TEST_CASE("every rule of the format is checked")
{
    const graft_test::TempFolder scratch;
    const auto bad = [&](const std::string& bytes, const char* says) {
        const std::string text = refusal(scratch, bytes);
        INFO(text);
        CHECK(text.find(says) != std::string::npos);
    };
    const auto header = [&](const std::string& json, std::size_t data, const char* says) {
        bad(file_of(json, data), says);
    };

    bad("", "truncated");
    bad("1234567", "truncated");
    bad(std::string(7, '\0') + "\x01", "100,000,000");
    bad(std::string("\x40\0\0\0\0\0\0\0{}", 10), "truncated: the header takes 64 bytes");
    header("", 0, "must begin with {");
    header(" {}", 0, "must begin with {");
    header("[]", 0, "must begin with {");
    header("{", 0, "not JSON");
    header("{} {}", 0, "not JSON");
    header(std::string("{}\0", 3), 0, "NUL");
    header("{\"\xff\":1}", 0, "UTF-8");
    header(R"({"a":1})", 0, "expected an object of tensors, found a number");
    header(R"({"a":null})", 0, "found null");
    header(R"({"a":{"dtype":"F32","shape":[1]}})", 4, "has no data_offsets");
    header(R"({"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}})", 4, "unknown element type F33");
    header(R"({"a":{"dtype":4,"shape":[1],"data_offsets":[0,4]}})", 4, "must have a text as dtype");
    header(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4, "a negative number");
    header(R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", 4, "a fraction");
    header(R"({"a":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}})", 4, "a list");
    header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", 4, "two data_offsets");
    header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}})", 4, "two data_offsets");
    header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"more":1}})", 4, "unknown field more");
    header(R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4, "dtype twice");
    header(
        R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
        4, "the name a occurs twice");
    header(R"({"__metadata__":{"a":1}})", 0, "metadata may hold texts only");
    header(R"({"__metadata__":{"a":"1","a":"2"}})", 0, "occurs twice");
    header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4, "ends before it begins");
    header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8, "leaves a hole");
    header(
        R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})",
        6, "overlaps a");
    header(
        R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
        4, "overlaps");
    header(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4, "8 bytes, but its data_offsets span 4");
    header(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0, "too large");
    header(R"({"a":{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,0]}})", 0, "too large");
    header(R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}})", 1, "no whole number of bytes");
    header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 3, "truncated");
    header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 5, "1 bytes follow the last tensor");
    header("{}", 1, "follow the last tensor");

    CHECK(refusal(scratch, file_of("{}  ", 0)) == "");
    CHECK(refusal(scratch, file_of(R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}} )", 4))
          == "");  // misaligned too
    CHECK_THROWS_AS(SafetensorsFile::open(scratch.path()), graft::Error);
    CHECK_THROWS_AS(SafetensorsFile::open(scratch.path() / "none"), graft::Error);
    CHECK_THROWS_AS(SafetensorsFile::open("/dev/zero"), graft::Error);
}

TEST_CASE("random damage to a header is refused or read within the file")
{
    const graft_test::TempFolder scratch;
    const std::string good =
        file_of(R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
                R"("bb":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}})",
                32);
    REQUIRE(refusal(scratch, good) == "");
    std::mt19937 random(7);
    const std::string spice = "{}[]:,\"0123456789-.eE\\ \t\xff\xc3";
    int refused = 0;
    for (int round = 0; round < 4000; ++round) {
        std::string bytes = good;
        for (unsigned changes = random() % 3 + 1; changes > 0; --changes) {
            const std::size_t at = random() % bytes.size();
            switch (random() % 4) {
            case 0: bytes[at] = static_cast<char>(random()); break;
            case 1: bytes[at] = spice[random() % spice.size()]; break;
            case 2: bytes.erase(at, random() % 9 + 1); break;
            default: bytes.insert(at, 1, spice[random() % spice.size()]); break;
            }
        }
        refused += refusal(scratch, bytes).empty() ? 0 : 1;
    }
    CHECK(refused > 2000);
    MESSAGE(refused << " of 4000 refused");
}

TEST_CASE("a full disk names the file and leaves what was there")
{
    const graft_test::TempFolder scratch;
    const fs::path path = scratch.path() / "adapter_model.safetensors";
    put(path, "old");
    const std::string data(3'000'000, 'q');
    const std::vector<graft::TensorToWrite> tensors{{"x", StoredType::u8, {3'000'000}, bytes_of(data)}};
    CHECK(graft_test::with_full_disk(100'000,
                                     [&] {
                                         try {
                                             graft::write_safetensors(path, tensors);
                                         } catch (const graft::Error& error) {
                                             const std::string text = error.what();
                                             if (text.find("adapter_model.safetensors: cannot write")
                                                 == std::string::npos) {
                                                 ::_exit(3);
                                             }
                                             throw;
                                         }
                                     })
          == 2);
    CHECK(graft::read_file(path, 100) == "old");
    CHECK(std::distance(fs::directory_iterator(scratch.path()), fs::directory_iterator()) == 1);
}

TEST_CASE("files of the reference packages are read, and come out the same when written again")
{
    const auto data = graft_test::data();
    if (!data) { return graft_test::skip("GRAFT_TEST_DATA is not set"); }
    const graft_test::TempFolder scratch;
    int files = 0;
    for (const auto& entry : fs::recursive_directory_iterator(*data / "golden")) {
        if (entry.path().extension() != ".safetensors") { continue; }
        const auto file = SafetensorsFile::open(entry.path());
        std::vector<graft::TensorToWrite> tensors;
        for (const auto& t : file.tensors()) { tensors.push_back({t.name, t.type, t.shape, t.bytes}); }
        graft::write_safetensors(scratch.path() / "again", tensors, file.metadata());
        INFO(entry.path().string());
        CHECK(graft::read_file(scratch.path() / "again", 1 << 28) == graft::read_file(entry.path(), 1 << 28));
        files += 1;
    }
    CHECK(files > 50);
}
