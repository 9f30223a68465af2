#include "finetune_support.hpp"

#include <set>

// finetune --adapter: adapters whose config says more than a rank and a list of names are continued as they are.
using namespace graft_test;

namespace {

// Layers of stories260K: 64 wide, 32 of it for keys and values, 172 in the MLP.
std::pair<std::int64_t, std::int64_t> extents(const std::string& module)
{
    const auto is = [&](const char* name) { return module.ends_with(name); };
    const bool narrow = is("k_proj") || is("v_proj"), wide = is("gate_proj") || is("up_proj");
    return {is("down_proj") ? 172 : 64, narrow ? 32 : wide ? 172 : 64};
}

std::string module_name(int layer, const std::string& module)
{
    const bool mlp = module == "gate_proj" || module == "up_proj" || module == "down_proj";
    return "model.layers." + std::to_string(layer) + (mlp ? ".mlp." : ".self_attn.") + module;
}

struct Kind {
    std::string name;
    nlohmann::ordered_json config;              // beside r 4, lora_alpha 8, q_proj and v_proj
    std::map<std::string, std::int64_t> ranks;  // module -> rank
};

std::map<std::string, std::int64_t> each(std::vector<int> layers, const std::vector<std::string>& modules,
                                         std::int64_t rank)
{
    std::map<std::string, std::int64_t> out;
    for (const int layer : layers) {
        for (const auto& module : modules) { out[module_name(layer, module)] = rank; }
    }
    return out;
}

std::vector<Kind> kinds()
{
    const std::vector<int> all{0, 1, 2, 3, 4};
    auto patterns = each(all, {"q_proj", "k_proj", "down_proj"}, 4);
    for (auto& [name, rank] : patterns) {
        rank = name.ends_with("k_proj") ? 3 : name.ends_with("down_proj") ? 2 : name.find(".1.") != name.npos ? 6 : 4;
    }
    auto excluded = each(all, {"q_proj", "k_proj", "v_proj", "o_proj"}, 4);
    excluded.erase(module_name(0, "k_proj"));
    for (const int layer : all) { excluded.erase(module_name(layer, "o_proj")); }
    return {
        {"rank_pattern and alpha_pattern",
         {{"target_modules", {"q_proj", "k_proj", "down_proj"}},
          {"rank_pattern", {{".*.k_proj", 3}, {"down_proj", 2}, {"layers.1.self_attn.q_proj", 6}}},
          {"alpha_pattern", {{"^model.layers.0.mlp.down_proj", 5}, {"down_proj", 16}}}},
         patterns},
        {"rslora with a rank_pattern and half an alpha",
         {{"use_rslora", true}, {"lora_alpha", 6.5}, {"rank_pattern", {{"v_proj", 1}}}},
         [&] {
             auto out = each(all, {"q_proj", "v_proj"}, 4);
             for (auto& [name, rank] : out) { rank = name.ends_with("v_proj") ? 1 : 4; }
             return out;
         }()},
        {"regular expression as target_modules",
         {{"target_modules", ".*\\.[024]\\..*\\.(q|k|v)_proj"}},
         each({0, 2, 4}, {"q_proj", "k_proj", "v_proj"}, 4)},
        {"exclude_modules",
         {{"target_modules", {"q_proj", "k_proj", "v_proj", "o_proj"}},
          {"exclude_modules", {"o_proj", "layers.0.self_attn.k_proj"}}},
         excluded},
        {"regular expression as exclude_modules",
         {{"target_modules", {"gate_proj", "up_proj"}}, {"exclude_modules", ".*\\.[1-4]\\..*up_proj"}},
         [&] {
             auto out = each(all, {"gate_proj"}, 4);
             out[module_name(0, "up_proj")] = 4;
             return out;
         }()},
        {"layers_to_transform", {{"layers_to_transform", {1, 3}}}, each({1, 3}, {"q_proj", "v_proj"}, 4)},
        {"layers_to_transform with layers_pattern",
         {{"layers_to_transform", {4}}, {"layers_pattern", {"layers"}}},
         each({4}, {"q_proj", "v_proj"}, 4)},
    };
}

nlohmann::ordered_json config_of(const Kind& kind)
{
    nlohmann::ordered_json config{{"peft_type", "LORA"},
                                  {"task_type", "CAUSAL_LM"},
                                  {"r", 4},
                                  {"lora_alpha", 8},
                                  {"target_modules", {"q_proj", "v_proj"}}};
    config.update(kind.config);
    return config;
}

// Bits of a small number in an element type, tiny and negative ones among them.
std::string element(const std::string& dtype, std::uint32_t n)
{
    const std::uint32_t random = n * 2654435761u;
    if (dtype == "F32") {
        const float value = (float(random >> 8) / float(1 << 24) - 0.5f) / 4;
        return {reinterpret_cast<const char*>(&value), 4};
    }
    // F16: exponents 0 (subnormal) to 12; BF16: 2^-15 to 2^-3.
    const auto exponent = dtype == "F16" ? (random >> 8) % 13 : 112 + (random >> 8) % 13;
    const auto bits = std::uint16_t((random >> 31) << 15 | exponent << (dtype == "F16" ? 10 : 7)
                                    | ((random >> 16) & (dtype == "F16" ? 0x3ffu : 0x7fu)));
    return {reinterpret_cast<const char*>(&bits), 2};
}

// The tensors of an adapter with A and B filled, the element types given by turns.
Tensors tensors_of(const Kind& kind, const std::vector<std::string>& dtypes)
{
    Tensors out;
    std::uint32_t n = 0;
    for (const auto& [module, rank] : kind.ranks) {
        const auto size = extents(module);
        for (const bool a : {true, false}) {
            Tensors::One one;
            one.name = "base_model.model." + module + (a ? ".lora_A.weight" : ".lora_B.weight");
            one.dtype = dtypes[out.list.size() % dtypes.size()];
            one.shape = a ? std::vector{rank, size.first} : std::vector{size.second, rank};
            for (std::int64_t i = 0; i < one.shape[0] * one.shape[1]; ++i) { one.bytes += element(one.dtype, ++n); }
            out.list.push_back(one);
        }
    }
    return out;
}

void write_adapter(const fs::path& folder, const Kind& kind, const std::vector<std::string>& dtypes)
{
    fs::create_directories(folder);
    write_text(folder / "adapter_config.json", config_of(kind).dump());
    tensors_of(kind, dtypes).write(folder / "adapter_model.safetensors");
}

std::map<std::string, std::vector<std::int64_t>> shapes(const Tensors& tensors)
{
    std::map<std::string, std::vector<std::int64_t>> out;
    for (const auto& t : tensors.list) { out[t.name] = t.shape; }
    return out;
}

// The settings of a config are those of the first one, to the letter.
void check_config(const fs::path& folder, const Kind& kind)
{
    const auto found = nlohmann::ordered_json::parse(read_text(folder / "adapter_config.json"));
    const auto given = config_of(kind);
    for (const auto& [key, value] : given.items()) {
        const auto& name = key;  // clang 14 captures no structured binding
        CAPTURE(name);
        CHECK(found.at(name).dump() == value.dump());  // as text: patterns keep their order
    }
    for (const char* key :
         {"rank_pattern", "alpha_pattern", "exclude_modules", "layers_to_transform", "layers_pattern", "use_rslora"}) {
        CAPTURE(key);
        const bool empty = !found.contains(key) || found[key].empty() || found[key] == false;
        CHECK(empty == !kind.config.contains(key));
    }
}

const Arguments few{"--no-shuffle", "--batch", "3", "--lr", "0.001", "--schedule", "constant", "--overwrite"};

}  // namespace

TEST_CASE("finetune --adapter: patterns, regular expressions, exclusions and layer lists go on as they are")
{
    if (!ready()) { return; }
    for (const auto& kind : kinds()) {
        const std::string name = kind.name;
        CAPTURE(name);
        const Place place;
        write_adapter(place.temp / "start", kind, {"F32"});
        const auto train = [&](const fs::path& adapter, const char* steps) {
            const auto ended =
                run("finetune", place.with(joined(few, {"--adapter", adapter.string(), "--steps", steps})));
            CAPTURE(ended.err);
            REQUIRE(ended.status == 0);
            return json_lines(place.temp / "out/metrics.jsonl");
        };
        const auto three = train(place.temp / "start", "3");
        train(place.temp / "start", "2");
        const auto start = tensors_of(kind, {"F32"});
        const auto trained = Tensors::read(place.temp / "out/adapter_model.safetensors");
        CHECK(shapes(trained) == shapes(start));
        const auto before = start.bytes(), after = trained.bytes();
        for (const auto& [tensor, bytes] : before) {
            const auto& which = tensor;
            CAPTURE(which);
            CHECK(after.at(which) != bytes);  // each of them is trained
        }
        check_config(place.out(), kind);

        // What is continued once more starts at the loss where the longer run was: rank and scale of each module hold.
        copy_folder(place.out(), place.temp / "two");
        const auto third = train(place.temp / "two", "1");
        CHECK(third.at(0).at("loss") == three.at(2).at("loss"));
        CHECK(third.at(0).at("grad_norm") == three.at(2).at("grad_norm"));
        CHECK(three.at(0).at("loss") != three.at(2).at("loss"));
        check_config(place.out(), kind);
    }
}

TEST_CASE("finetune --adapter --steps 0: f32, f16 and bf16 in one file come back bit for bit")
{
    if (!ready()) { return; }
    for (const auto& kind : kinds()) {
        const std::string name = kind.name;
        CAPTURE(name);
        const Place place;
        const std::vector<std::string> mixture{"F16", "F32", "BF16"};
        write_adapter(place.temp / "start", kind, mixture);
        const auto start = tensors_of(kind, mixture);
        std::set<std::string> dtypes;
        for (const auto& tensor : start.list) { dtypes.insert(tensor.dtype); }
        CHECK(dtypes.size() == 3);
        for (const char* method : {"lora", "qlora"}) {
            const auto ended = run("finetune", place.with(joined(few, {"--adapter", (place.temp / "start").string(),
                                                                       "--steps", "0", "--method", method})));
            CAPTURE(ended.err);
            REQUIRE(ended.status == 0);
            CHECK(Tensors::read(place.temp / "out/adapter_model.safetensors").bytes() == start.bytes());
            check_config(place.out(), kind);
        }
    }
}

TEST_CASE("finetune --adapter: another rank, alpha or target beside patterns names both")
{
    if (!ready()) { return; }
    struct Case {
        Arguments arguments;
        std::vector<std::string> words;  // none: accepted
    };
    const std::vector<std::vector<Case>> cases{
        {{{"--rank", "8"}, {"--rank 8 (it has 4; by rank_pattern: 3 for .*.k_proj, 2 for down_proj and 6 for "}},
         {{"--alpha", "16"}, {"--alpha 16 (it has 8; by alpha_pattern: 5 for ^model.layers.0.mlp.down_proj and 16 "}},
         {{"--rank", "2", "--alpha", "5"}, {"--rank 2 (it has 4;", ", --alpha 5 (it has 8;"}},
         {{"--rslora"}, {"--rslora true (it has false)"}},
         {{"--rank", "4", "--alpha", "8", "--target", "down_proj,k_proj,q_proj"}, {}}},
        {{{"--alpha", "6"}, {"--alpha 6 (it has 6.5)"}}, {{"--rslora", "--alpha", "6.5"}, {}}},
        {{{"--target", "q_proj,k_proj,v_proj"},
          {"--target q_proj,k_proj,v_proj (it has the regular expression .*\\.[024]\\..*\\.(q|k|v)_proj)"}}},
        {{{"--target", "attention", "--exclude", "o_proj"}, {"--exclude o_proj (it has o_proj and layers.0."}},
         {{"--exclude", "k_proj"}, {"--exclude k_proj (it has o_proj and layers.0.self_attn.k_proj)"}},
         {{"--target", "attention"}, {}},
         {{"--target", "q_proj,k_proj,v_proj,o_proj,c_attn"}, {"--target: the model has no module named c_attn"}}},
        {{{"--exclude", "up_proj"}, {"--exclude up_proj (it has the regular expression .*\\.[1-4]\\..*up_proj)"}}},
        {{{"--target", "all-linear"}, {"--target all-linear (it has q_proj and v_proj, in layers 1 and 3)"}},
         {{"--target", "v_proj,q_proj"}, {}}},
        {{{"--target", "q_proj"}, {"--target q_proj (it has q_proj and v_proj, in layers 4)"}}},
    };
    const auto all = kinds();
    REQUIRE(cases.size() == all.size());
    for (std::size_t i = 0; i < all.size(); ++i) {
        const std::string name = all[i].name;
        CAPTURE(name);
        const Place place;
        write_adapter(place.temp / "start", all[i], {"F32"});
        for (const auto& item : cases[i]) {
            CAPTURE(item.arguments);
            const auto ended =
                run("finetune",
                    place.with(joined(joined(few, {"--adapter", (place.temp / "start").string(), "--steps", "0"}),
                                      item.arguments)));
            if (item.words.empty()) {
                CAPTURE(ended.err);
                CHECK(ended.status == 0);
                check_config(place.out(), all[i]);
                fs::remove_all(place.out());
            } else {
                check_refused(ended, item.words);
                CHECK(!fs::exists(place.out()));
            }
        }
    }
}

TEST_CASE("finetune --adapter: the same text that excludes by name and by expression is not the same exclusion")
{
    if (!ready()) { return; }
    // As an expression it has to match whole names, and so excludes nothing; as a name it takes k_proj out.
    Kind kind{"",
              {{"target_modules", {"q_proj", "k_proj"}}, {"exclude_modules", "k_proj"}},
              each({0, 1, 2, 3, 4}, {"q_proj", "k_proj"}, 4)};
    const Place place;
    write_adapter(place.temp / "start", kind, {"F32"});
    const auto with = [&](const Arguments& more) {
        return place.with(joined(joined(few, {"--adapter", (place.temp / "start").string(), "--steps", "0"}), more));
    };
    CHECK(run("finetune", with({})).status == 0);
    fs::remove_all(place.out());
    check_refused(run("finetune", with({"--exclude", "k_proj"})),
                  {"--exclude k_proj (it has the regular expression k_proj)"});
}
