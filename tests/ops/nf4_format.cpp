#include "graft/ops/nf4_matmul/format.hpp"

#include <doctest/doctest.h>

#include <bit>
#include <cfloat>
#include <cmath>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/dtype.hpp"
#include "graft/core/error.hpp"

namespace nf4 = graft::nf4;

namespace {

std::uint32_t bits(float x) { return std::bit_cast<std::uint32_t>(x); }

struct Packed {
    std::vector<std::uint8_t> bytes;
    std::vector<float> absmax;
};

template <class T> Packed quantize(const std::vector<T>& weights, int block = nf4::default_block)
{
    Packed q{.bytes = std::vector<std::uint8_t>(nf4::bytes_of(weights.size())),
             .absmax = std::vector<float>(nf4::blocks_of(weights.size(), std::size_t(block)))};
    nf4::quantize<T>(weights, block, q.bytes, q.absmax);
    return q;
}

template <class T>
std::vector<T> dequantize(const Packed& q, std::size_t count, int block = nf4::default_block, std::size_t first = 0)
{
    std::vector<T> out(count);
    nf4::dequantize<T>(q.bytes, q.absmax, block, first, out);
    return out;
}

std::string hex(const std::vector<std::uint8_t>& bytes)
{
    std::string text;
    for (const auto byte : bytes) { text += "0123456789abcdef"[byte >> 4], text += "0123456789abcdef"[byte & 15]; }
    return text;
}

template <class T> std::vector<T> random_weights(std::size_t count, unsigned seed, float scale = 0.03f)
{
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0, scale);
    std::vector<T> weights(count);
    for (auto& w : weights) { w = T(normal(random)); }
    return weights;
}

template <class F> std::string message(F&& f)
{
    try {
        f();
    } catch (const graft::Error& error) {
        return error.what();
    }
    return "";
}

// The rule as its specification words it, element by element: what the loops of the library must agree with.
int index_by_the_rule(float x, float absmax)
{
    int index = 0;
    const float scaled = x * (1.0f / absmax);
    while (index < 15 && scaled > (nf4::code.at[index] + nf4::code.at[index + 1]) / 2) { ++index; }
    return index;
}

}  // namespace

TEST_CASE("nf4: codes and thresholds have the published bits, and thresholds are the midpoints")
{
    constexpr std::uint32_t code[16] = {0xBF800000, 0xBF3239B1, 0xBF066B30, 0xBECA32A0, 0xBE91A24D, 0xBE3D353F,
                                        0xBDBA7871, 0x00000000, 0x3DA2FAFF, 0x3E24CAE3, 0x3E7C04DD, 0x3EAD033A,
                                        0x3EE1A4B8, 0x3F1007AB, 0x3F3913B3, 0x3F800000};
    constexpr std::uint32_t threshold[15] = {0xBF591CD8, 0xBF1C5270, 0xBEEB8480, 0xBEADEA76, 0xBE703CEC,
                                             0xBE0D38BC, 0xBD3A7871, 0x3D22FAFF, 0x3DF64862, 0x3E5067E0,
                                             0x3E9582D4, 0x3EC753F9, 0x3F006D04, 0x3F248DAF, 0x3F5C89DA};
    for (int i = 0; i < 16; ++i) {
        CHECK(bits(nf4::code.at[i]) == code[i]);
        CHECK(bits(nf4::value_of(unsigned(i))) == code[i]);
        CHECK(bits(nf4::value_of(unsigned(i), nf4::Type::fp4)) == bits(nf4::fp4_code.at[i]));
    }
    for (int i = 0; i < 15; ++i) {
        CHECK(bits(nf4::thresholds.at[i]) == threshold[i]);
        CHECK(bits(nf4::thresholds.at[i]) == bits((nf4::code.at[i] + nf4::code.at[i + 1]) / 2));
    }
    // Element 1 of a stored map tells the two types apart.
    CHECK(nf4::code.at[1] < 0);
    CHECK(nf4::fp4_code.at[1] > 0);
}

TEST_CASE("nf4: a value on a threshold takes the lower index, its neighbour above the higher one")
{
    std::vector<float> x(nf4::thresholds.at, nf4::thresholds.at + 15);
    x.push_back(1.0f);
    CHECK(hex(quantize(x).bytes) == "0123456789abcdef");
    for (int i = 0; i < 15; ++i) {
        CHECK(nf4::index_of(nf4::thresholds.at[i]) == i);
        CHECK(nf4::index_of(std::nextafter(nf4::thresholds.at[i], 2.0f)) == i + 1);
        CHECK(nf4::index_of(std::nextafter(nf4::thresholds.at[i], -2.0f)) == i);
    }
    for (int i = 0; i < 16; ++i) { CHECK(nf4::index_of(nf4::code.at[i]) == i); }
    CHECK(nf4::index_of(std::numeric_limits<float>::quiet_NaN()) == 0);
}

TEST_CASE("nf4: element 2k is in the high nibble; a missing last element is index 7")
{
    CHECK(hex(quantize<float>({-1, 1, 0, 0}).bytes) == "0f77");
    CHECK(hex(quantize<float>({1, -1, -1}).bytes) == "f007");
    CHECK(hex(quantize<float>({-1}).bytes) == "07");
    CHECK(quantize<float>({}).bytes.empty());
    CHECK(nf4::index_in(0x3c, 4) == 3);
    CHECK(nf4::index_in(0x3c, 5) == 12);
}

TEST_CASE("nf4: recorded vectors, in both directions")
{
    std::vector<float> a(64), b(64);
    for (int i = 0; i < 64; ++i) {
        a[std::size_t(i)] = (float(i) - 31.5f) / 32;
        b[std::size_t(i)] = float((37 * i + 11) % 128 - 64) / 64;
    }
    const auto qa = quantize(a), qb = quantize(b);
    CHECK(qa.absmax == std::vector<float>{0.984375f});
    CHECK(qb.absmax == std::vector<float>{1.0f});
    CHECK(hex(qa.bytes) == "00000111111112222233344445556667788899aaabbbccccddddeeeeeeefffff");
    CHECK(hex(qb.bytes) == "14bf28d15bf28e15c039e16c039e16d04ae27d04bf27d15bf28e15cf39e15c03");

    const auto decoded = dequantize<float>(qb, 64);
    constexpr int first[8] = {1, 4, 11, 15, 2, 8, 13, 1};
    for (std::size_t i = 0; i < 8; ++i) { CHECK(bits(decoded[i]) == bits(nf4::code.at[first[i]])); }
    double sum = 0;
    for (std::size_t i = 0; i < 64; ++i) { sum += std::abs(double(b[i]) - double(decoded[i])); }
    CHECK(sum == doctest::Approx(2.61345267).epsilon(1e-8));
    CHECK(bits(dequantize<float>(qa, 64)[0]) == bits(-0.984375f));
}

TEST_CASE_TEMPLATE("nf4: every size and block size follows the rule, decodes within its bound, and quantises back", T,
                   float, graft::bf16, graft::f16)
{
    for (const int block : {32, 64, 128, 256, 512, 1024, 2048, 4096}) {
        for (const std::size_t n : {std::size_t(1), std::size_t(31), std::size_t(block) - 1, std::size_t(block),
                                    std::size_t(block) + 1, 3 * std::size_t(block) + 45, std::size_t(33 * 70)}) {
            CAPTURE(block);
            CAPTURE(n);
            const auto weights = random_weights<T>(n, unsigned(n) + unsigned(block));
            const auto q = quantize(weights, block);
            const auto exact = dequantize<float>(q, n, block);
            const auto decoded = dequantize<T>(q, n, block);
            std::size_t wrong = 0;
            for (std::size_t i = 0; i < n; ++i) {
                const std::size_t b = i / std::size_t(block);
                float absmax = 0;
                for (std::size_t k = b * std::size_t(block); k < std::min(n, (b + 1) * std::size_t(block)); ++k) {
                    absmax = std::max(absmax, std::abs(float(weights[k])));
                }
                const int index = index_by_the_rule(float(weights[i]), absmax);
                const float value = nf4::code.at[index] * absmax;
                wrong += q.absmax[b] != absmax || int(nf4::index_in(q.bytes[i / 2], i)) != index
                         || bits(exact[i]) != bits(value) || bits(float(decoded[i])) != bits(float(T(value)))
                         || std::abs(double(float(weights[i])) - double(value)) > 0.1519037 * double(absmax);
            }
            CHECK(wrong == 0);
            const auto again = quantize(decoded, block);
            CHECK(again.bytes == q.bytes);
            CHECK(again.absmax == q.absmax);
        }
    }
}

TEST_CASE("nf4: any range of elements decodes as it does in the whole")
{
    const std::size_t n = 333;
    const auto q = quantize(random_weights<float>(n, 5), 32);
    const auto whole = dequantize<float>(q, n, 32);
    for (std::size_t first = 0; first <= n; first += 7) {
        for (const std::size_t count : {std::size_t(0), std::size_t(1), std::size_t(2), std::size_t(33), n - first}) {
            if (first + count > n) { continue; }
            const auto part = dequantize<float>(q, count, 32, first);
            CHECK(std::equal(part.begin(), part.end(), whole.begin() + std::ptrdiff_t(first)));
        }
    }
}

TEST_CASE("nf4: blocks of zeros are written with index 7, and read in both forms")
{
    auto weights = random_weights<float>(64 * 3 + 10, 9);
    std::fill(weights.begin() + 64, weights.begin() + 128, 0.0f);
    std::fill(weights.begin() + 192, weights.end(), -0.0f);
    const auto q = quantize(weights);
    CHECK(q.absmax[1] == 0);
    CHECK(q.absmax[3] == 0);
    for (std::size_t i = 64; i < 128; ++i) { CHECK(nf4::index_in(q.bytes[i / 2], i) == 7); }
    for (std::size_t i = 192; i < weights.size(); ++i) { CHECK(nf4::index_in(q.bytes[i / 2], i) == 7); }

    Packed other = q;  // as the CUDA kernels of bitsandbytes write it: index 0
    std::fill(other.bytes.begin() + 32, other.bytes.begin() + 64, std::uint8_t(0));
    for (const auto& form : {q, other}) {
        const auto decoded = dequantize<float>(form, weights.size());
        for (std::size_t i = 64; i < 128; ++i) { CHECK(decoded[i] == 0); }
    }
    Packed subnormal = q;  // as its CPU path writes a short last block
    subnormal.absmax[3] = 1e-38f;
    CHECK(dequantize<float>(subnormal, 10, 64, 192) == std::vector<float>(10, 0.0f));
}

TEST_CASE("nf4: the largest and the smallest magnitudes keep their values")
{
    for (const float scale : {FLT_MAX, 1e30f, 1e-30f, FLT_MIN, 1e-39f, 0x1p-149f * 1000}) {
        std::vector<float> weights(64, 0.0f);
        weights[3] = scale, weights[5] = -scale, weights[7] = scale / 2;
        const auto q = quantize(weights);
        const auto decoded = dequantize<float>(q, 64);
        CHECK(decoded[3] == scale);
        CHECK(decoded[5] == -scale);
        CHECK(decoded[7] == doctest::Approx(scale * 0.44070983f).epsilon(1e-2));
        CHECK(decoded[0] == 0);
    }
    CHECK(hex(quantize<float>({0x1p-149f, 0, -0x1p-149f, 0}).bytes) == "f707");
}

TEST_CASE("nf4: what cannot be quantised is refused, with its index")
{
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()}) {
        std::vector<float> weights(200, 0.5f);
        weights[131] = weights[150] = bad;
        CHECK(message([&] { quantize(weights); }).find("weight 131 is not finite") != std::string::npos);
        CHECK(message([&] { nf4::nest(weights); }).find("scale 131 is not finite") != std::string::npos);
    }
    CHECK(message([&] { quantize<double>({1.0, 1e300}); }).find("weight 1 is not finite") != std::string::npos);
    for (const int block : {0, -64, 16, 48, 100, 8192}) {
        std::vector<std::uint8_t> bytes(2);
        std::vector<float> absmax(1), x(4);
        CHECK(message([&] { nf4::quantize<float>(x, block, bytes, absmax); }).find("block size") != std::string::npos);
    }
    Packed q{.bytes = std::vector<std::uint8_t>(32), .absmax = std::vector<float>(1)};
    CHECK_THROWS_AS(dequantize<float>(q, 65), graft::Error);
    CHECK_THROWS_AS(dequantize<float>(q, 1, 64, 64), graft::Error);
    CHECK_THROWS_AS(dequantize<float>(q, 2, 64, std::numeric_limits<std::size_t>::max()), graft::Error);
    CHECK_THROWS_AS(nf4::quantize<float>(std::vector<float>(64), 64, q.bytes, {}), graft::Error);
}

TEST_CASE("nf4: the 8-bit map has its counts, order and known entries")
{
    constexpr auto map = nf4::dynamic_map();
    CHECK(std::is_sorted(map.begin(), map.end()));
    CHECK(map[127] == 0);
    CHECK(map[255] == 1);
    CHECK(map[0] == doctest::Approx(-0.992968738).epsilon(1e-7));
    CHECK(map[128] == doctest::Approx(5.5e-7).epsilon(1e-6));
    constexpr float top[6] = {0.922656238f, 0.936718762f, 0.950781226f, 0.96484375f, 0.978906274f, 0.992968738f};
    for (std::size_t i = 0; i < 6; ++i) { CHECK(std::abs(double(map[249 + i]) - double(top[i])) <= 0x1p-24); }
    for (std::size_t i = 0; i < 127; ++i) { CHECK(map[i] == -map[254 - i]); }
}

TEST_CASE("nf4 nested: each code is the nearest entry, the lower one on a tie; decoding multiplies, rounds, adds")
{
    std::mt19937 random(3);
    std::lognormal_distribution<float> spread(-3, 0.7f);
    for (const std::size_t n : {1u, 2u, 255u, 256u, 257u, 700u}) {
        CAPTURE(n);
        std::vector<float> absmax(n), decoded(n);
        for (auto& a : absmax) { a = spread(random); }
        const auto nested = nf4::nest(absmax);
        CHECK(nested.codes.size() == n);
        CHECK(nested.scales.size() == (n + 255) / 256);
        nf4::unnest(nested, decoded);
        for (std::size_t i = 0; i < n; ++i) {
            const float scale = nested.scales[i / 256], rest = absmax[i] - nested.offset;
            const double x = scale > 0 ? double(rest * (1.0f / scale)) : 0.0;
            std::size_t best = 0;
            for (std::size_t k = 1; k < 256; ++k) {
                if (std::abs(double(nested.map[k]) - x) < std::abs(double(nested.map[best]) - x)) { best = k; }
            }
            CHECK(nested.codes[i] == best);
            const volatile float product = nested.map[best] * scale;
            CHECK(bits(decoded[i]) == bits(product + nested.offset));
            CHECK(std::abs(decoded[i] - absmax[i]) <= 0.0072f * scale);
        }
    }
    CHECK(nf4::nest({}).codes.empty());
}

TEST_CASE("nf4 nested: a fused product and sum would show")
{
    // 1 - 2^-24 of the product is lost in its rounding, and seen again when the sum is fused.
    nf4::Nested nested{.codes = {1}, .scales = {1.0f + 0x1p-23f}, .map = {}, .offset = -1.0f};
    nested.map[1] = 1.0f - 0x1p-24f;
    float decoded = 0;
    nf4::unnest(nested, std::span(&decoded, 1));
    CHECK(decoded == 0.0f);
    CHECK(std::fma(nested.map[1], nested.scales[0], nested.offset) != 0.0f);
}

TEST_CASE("nf4 nested: equal scales decode to their mean exactly, whatever their codes")
{
    const std::vector<float> absmax(300, 0.0371f);
    auto nested = nf4::nest(absmax);
    CHECK(nested.scales == std::vector<float>{0.0f, 0.0f});
    CHECK(nested.codes == std::vector<std::uint8_t>(300, 127));
    std::vector<float> decoded(300);
    for (const std::uint8_t code : {127, 0, 255}) {
        nested.codes.assign(300, code);
        nf4::unnest(nested, decoded);
        CHECK(decoded == absmax);
    }
}

TEST_CASE("nf4 nested: a block of zeros stays zero although its scale does not, and scales may turn negative")
{
    std::vector<float> absmax(256, 0.04f);
    absmax[3] = 0.0f;
    for (std::size_t i = 10; i < 20; ++i) { absmax[i] = 0.0385f + float(i) * 0.0001f; }
    const auto nested = nf4::nest(absmax);
    std::vector<float> decoded(absmax.size());
    nf4::unnest(nested, decoded);
    CHECK(decoded[3] != 0);
    CHECK(std::abs(decoded[3]) < 0.008f * nested.offset);

    Packed q{.bytes = std::vector<std::uint8_t>(32, 0x77), .absmax = {decoded[3]}};
    CHECK(dequantize<float>(q, 64) == std::vector<float>(64, 0.0f));
    q.absmax[0] = -0.0007f;
    q.bytes.assign(32, 0x0f);
    const auto values = dequantize<float>(q, 2);
    CHECK(values[0] == 0.0007f);
    CHECK(values[1] == -0.0007f);
}

TEST_CASE("nf4 nested: with nested scales the codes come back from the decoded weights")
{
    const auto weights = random_weights<float>(64 * 600 + 17, 11);
    auto q = quantize(weights);
    nf4::unnest(nf4::nest(q.absmax), q.absmax);
    const auto again = quantize(dequantize<float>(q, weights.size()));
    CHECK(again.bytes == q.bytes);
    CHECK(again.absmax == q.absmax);
}

TEST_CASE("nf4 nested: lengths that do not fit are refused")
{
    nf4::Nested nested{.codes = std::vector<std::uint8_t>(300), .scales = {1.0f}, .map = nf4::dynamic_map()};
    std::vector<float> absmax(300);
    CHECK_THROWS_AS(nf4::unnest(nested, absmax), graft::Error);
    nested.scales.push_back(1.0f);
    CHECK_THROWS_AS(nf4::unnest(nested, std::span(absmax).first(299)), graft::Error);
    nested.block = 0;
    CHECK_THROWS_AS(nf4::unnest(nested, absmax), graft::Error);
}

TEST_CASE("fp4: stored indices decode in the order of their bits")
{
    const std::vector<std::uint8_t> packed = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};
    const std::vector<float> absmax = {12.0f};
    std::vector<float> out(16);
    nf4::dequantize<float>(packed, absmax, 64, 0, out, nf4::Type::fp4);
    constexpr float expected[8] = {0, 0.0625f, 8, 12, 4, 6, 2, 3};
    for (std::size_t i = 0; i < 8; ++i) {
        CHECK(out[i] == doctest::Approx(expected[i]).epsilon(1e-7));
        CHECK(out[i + 8] == -out[i]);
    }
}
