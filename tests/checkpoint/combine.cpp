#include "graft/checkpoint/combine.hpp"

#include "merge_support.hpp"

using namespace graft_test;

namespace {

graft::StoredAdapter opened(const fs::path& folder) { return graft::StoredAdapter::open(folder, tiny_config()); }

fs::path written(const graft::CombinedAdapter& adapter, const fs::path& folder)
{
    fs::create_directories(folder);
    graft::write_adapter(adapter, folder, tiny_config());
    return folder;
}

// The scale of each module and s B A of it, in f64.
std::map<std::string, std::vector<double>> updates(const fs::path& folder)
{
    std::map<std::string, std::vector<double>> out;
    const auto file = opened(folder);
    for (const auto& branch : file.branches()) {
        Tensors::One zero{branch.target.name + ".weight",
                          "F64",
                          {branch.target.out, branch.target.in},
                          std::string(std::size_t(branch.target.out * branch.target.in) * 8, '\0')};
        const auto a = graft::detail::all_values(branch.a), b = graft::detail::all_values(branch.b);
        auto& sum = out[branch.target.name] = values_in(zero);
        const auto in = std::size_t(branch.target.in), rank = std::size_t(branch.target.rank);
        for (std::size_t i = 0; i < sum.size(); ++i) {
            for (std::size_t k = 0; k < rank; ++k) {
                sum[i] += branch.target.scale * b[i / in * rank + k] * a[k * in + i % in];
            }
        }
    }
    return out;
}

// Logits of base and adapter, in f32.
std::vector<double> logits_with(const fs::path& base, const fs::path& adapter)
{
    auto model = graft::load_model<float>(base);
    graft::add_adapter(model, adapter);
    return logits_of(model, {1, 5, 3, 10, 2, 7, 7, 4});
}

}  // namespace

TEST_CASE("grow rank: the same logits to the bit, the same scale, each tensor in its type")
{
    const TempFolder temp;
    const auto base = tiny_checkpoint(temp.path());
    struct Case {
        Made made;
        std::int64_t to;
    };
    int at = 0;
    for (const Case& c :
         {Case{{.rank = 3, .alpha = 7}, 8}, Case{{.rank = 3, .alpha = 7}, 6}, Case{{.rank = 2, .alpha = 3.3}, 64},
          Case{{.rank = 3, .alpha = 5, .rslora = true}, 16}, Case{{.rank = 5, .alpha = 6, .rslora = true}, 20},
          Case{{.rank = 2, .alpha = 6, .ranks = {{"q_proj", 3}, {"layers\\.1\\.mlp\\.up_proj", 4}}}, 12}}) {
        CAPTURE(at);
        const auto name = std::to_string(++at);
        const auto adapter = made_adapter(temp / ("a" + name), c.made);
        const auto before = opened(adapter);
        const auto grown = written(graft::grow_rank(before, c.to, tiny_config()), temp / ("g" + name));
        const auto after = opened(grown);
        REQUIRE(after.branches().size() == before.branches().size());
        for (std::size_t i = 0; i < after.branches().size(); ++i) {
            CHECK(after.branches()[i].target.rank == c.to);
            CHECK(after.branches()[i].target.scale == before.branches()[i].target.scale);
            CHECK(after.branches()[i].a.type == graft::StoredType::f32);
        }
        CHECK(after.config().rank_pattern.empty());
        CHECK(logits_with(base, grown) == logits_with(base, adapter));
        CHECK(updates(grown) == updates(adapter));
    }
}

TEST_CASE("grow rank: bit-equal logits on the model of the examples, across the panels of the kernels")
{
    if (!fs::exists(small_model() + "/model.safetensors")) { return skip("there is no examples/data/stories260K"); }
    const auto config = graft::read_config(small_model());
    for (const std::int64_t to : {9, 16, 37, 300}) {
        CAPTURE(to);
        const TempFolder temp;
        const auto settings = config_of({.rank = 1, .alpha = 0.7});
        auto model = graft::load_model<float>(small_model());
        graft::add_adapter(model, settings, 3);
        auto trained = graft::trained_tensors(model);
        for (auto& tensor : trained) {
            auto view = tensor.value.view();
            for (std::int64_t i = 0; i < view.rows; ++i) {
                for (std::int64_t j = 0; j < view.cols(); ++j) { view.row(i)[j] += 0.05f * float((i * 7 + j) % 5 - 2); }
            }
            graft::refresh(tensor);
        }
        fs::create_directories(temp / "a"), fs::create_directories(temp / "g");
        graft::save_adapter(model, temp / "a");
        graft::write_adapter(graft::grow_rank(graft::StoredAdapter::open(temp / "a", config), to, config), temp / "g",
                             config);
        auto grown = graft::load_model<float>(small_model());
        graft::add_adapter(grown, temp / "g");
        const std::vector<std::int32_t> ids{1, 403, 407, 261, 378, 310, 439, 419, 267, 337, 335, 312, 432};
        const auto before = logits_of(model, ids), after = logits_of(grown, ids);
        CHECK(before == after);
        CHECK(before != logits_of(graft::load_model<float>(small_model()), ids));
    }
}

TEST_CASE("grow rank: what cannot be is refused, with what can")
{
    const TempFolder temp;
    const auto adapter = made_adapter(temp / "a", {.rank = 4, .alpha = 7});
    CHECK(says(refusal_of([&] { graft::grow_rank(opened(adapter), 2, tiny_config()); }),
               {"has rank 4", "cannot grow to 2"}));
    CHECK(says(refusal_of([&] { graft::grow_rank(opened(adapter), 4, tiny_config()); }), {"has rank 4 already"}));
    // Some scale that no alpha gives at rank 3: with few bits lost in alpha * 3, a third of all scales have none.
    int refused = 0;
    for (int i = 0; i < 40; ++i) {
        const double scale = 1.9 + i * 0x1p-52;
        const auto found = graft::detail::alpha_for(scale, 3, false);
        if (found) { CHECK(*found / 3 == scale); }
        refused += !found;
        CHECK(graft::detail::alpha_for(scale, 64, false).has_value());
        CHECK(graft::detail::alpha_for(scale, 64, true).has_value());
    }
    CHECK(refused > 0);
}

TEST_CASE("grow rank: what the file says of its base stays")
{
    const TempFolder temp;
    const auto adapter = made_adapter(temp / "a", {.rank = 2, .alpha = 7});
    auto file = Tensors::read(adapter / "adapter_model.safetensors");
    auto header = file.header();
    header["__metadata__"] = {{"format", "pt"}, {"graft.base", "abc"}, {"other", "x"}};
    file.write(adapter / "adapter_model.safetensors", header);
    const auto grown = written(graft::grow_rank(opened(adapter), 4, tiny_config()), temp / "g");
    CHECK(opened(grown).metadata("graft.base") == "abc");
    CHECK(opened(grown).metadata("other") == "");
}

TEST_CASE("concat: the sum of both updates, exact where scales are powers of two apart; missing modules get zeros")
{
    const TempFolder temp;
    struct Case {
        Made first, second;
        bool exact;
    };
    int at = 0;
    const std::vector<std::string> some{"q_proj", "down_proj"}, others{"q_proj", "v_proj"};
    for (const Case& c :
         {Case{{.rank = 2, .alpha = 4}, {.rank = 3, .alpha = 6, .seed = 2}, true},
          Case{{.rank = 2, .alpha = 4, .targets = some}, {.rank = 4, .alpha = 2, .seed = 2, .targets = others}, true},
          Case{{.rank = 3, .alpha = 7}, {.rank = 6, .alpha = 7, .seed = 2}, true},
          Case{{.rank = 3, .alpha = 7}, {.rank = 5, .alpha = 3, .seed = 2}, false},
          Case{{.rank = 4, .alpha = 6, .ranks = {{"q_proj", 2}}}, {.rank = 2, .alpha = 3, .seed = 2}, true}}) {
        CAPTURE(at);
        const auto name = std::to_string(++at);
        const auto one = made_adapter(temp / ("a" + name), c.first), two = made_adapter(temp / ("b" + name), c.second);
        const auto made = graft::concat_adapters(opened(one), opened(two), tiny_config());
        CHECK((made.rounded == 0) == c.exact);
        CHECK(made.worst <= 0x1p-24);
        const auto sum = written(made, temp / ("s" + name));
        const auto rank = opened(one).rank() + opened(two).rank();
        CHECK(opened(sum).config().rank == rank);
        const auto first = updates(one), second = updates(two), both = updates(sum);
        for (const auto& entry : both) {
            const std::string& module = entry.first;
            const auto& values = entry.second;
            CAPTURE(module);
            for (std::size_t i = 0; i < values.size(); ++i) {
                double wanted = 0;
                if (first.contains(module)) { wanted += first.at(module)[i]; }
                if (second.contains(module)) { wanted += second.at(module)[i]; }
                CHECK(std::abs(values[i] - wanted) <= (c.exact ? 1e-14 : 1e-6));
            }
        }
        const auto file = opened(sum);
        for (const auto& branch : file.branches()) { CHECK(branch.target.rank == rank); }
        CHECK(both.size() == (c.first.targets.empty() ? 14 : 6));
    }
}

TEST_CASE("trap: concat with rsLoRA first inherits use_rslora in PEFT and is sqrt(r) too large; here it is the sum")
{
    const TempFolder temp;
    const auto one = made_adapter(temp / "a", {.rank = 3, .alpha = 5, .rslora = true}),
               two = made_adapter(temp / "b", {.rank = 4, .alpha = 8, .seed = 2});
    for (const bool swapped : {false, true}) {
        const auto made =
            graft::concat_adapters(opened(swapped ? two : one), opened(swapped ? one : two), tiny_config());
        CHECK(!made.config.rslora);
        const auto sum = written(made, temp / (swapped ? "s" : "t"));
        CHECK(nlohmann::json::parse(read_text(sum / "adapter_config.json")).at("use_rslora") == false);
        const auto first = updates(one), second = updates(two), both = updates(sum);
        double most = 0;
        for (const auto& [module, values] : both) {
            for (std::size_t i = 0; i < values.size(); ++i) {
                most = std::max(most, std::abs(values[i] - first.at(module)[i] - second.at(module)[i]));
            }
        }
        CHECK(most <= 1e-6);
    }
}

TEST_CASE("concat: the logits that PEFT recorded with both adapters active")
{
    const auto root = data();
    if (!root) { return skip("GRAFT_TEST_DATA is not set"); }
    const auto peft = *root / "golden/peft", base = *root / "golden/archs/llama";
    const auto config = graft::read_config(base);
    const TempFolder temp;
    const auto made = graft::concat_adapters(graft::StoredAdapter::open(peft / "lora_qv", config),
                                             graft::StoredAdapter::open(peft / "rslora", config), config);
    graft::write_adapter(made, temp.path(), config);
    auto model = graft::load_model<double>(base);
    graft::add_adapter(model, temp.path());
    const auto expected = nlohmann::json::parse(read_text(peft / "two_adapters/expected.json"));
    std::vector<double> found;
    for (const auto& row : expected.at("input_ids")) {
        const auto z = logits_of(model, row.get<std::vector<std::int32_t>>());
        found.insert(found.end(), z.begin(), z.end());
    }
    const auto wanted = graft::detail::all_values(
        graft::SafetensorsFile::open(peft / "two_adapters/expected.safetensors").at("stacked.logits"));
    CHECK(largest_difference(found, wanted) <= (made.rounded == 0 ? 1e-10 : 1e-6));
}
