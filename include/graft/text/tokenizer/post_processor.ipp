#pragma once
#include "graft/text/tokenizer/post_processor.hpp"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/text/tokenizer/json.hpp"

namespace graft::detail::tokens {

GRAFT_INLINE std::vector<std::int32_t> PostProcessor::ids() const
{
    std::vector<std::int32_t> all = before;
    all.insert(all.end(), after.begin(), after.end());
    return all;
}

GRAFT_INLINE void PostProcessor::add(const Json& json, const std::string& where)
{
    if (json.is_null()) { return; }
    const std::string type = type_field(json, where);
    if (type == "Sequence") {
        const Json& list = field(json, "processors");
        require(list.is_array(), where + ": processors must be a list");
        for (const Json& entry : list) { add(entry, where); }
    } else if (type == "TemplateProcessing") {
        add_template(json, where);
    } else if (type != "ByteLevel") {
        throw Error(where + ": unknown type \"" + type + "\"; known: ByteLevel, Sequence, TemplateProcessing");
    }
}

GRAFT_INLINE void PostProcessor::add_template(const Json& json, const std::string& where)
{
    const Json& single = field(json, "single");
    require(single.is_array(), where + ": single must be a list");
    std::vector<std::int32_t> front, back;
    bool seen = false;
    for (const Json& part : single) {
        const Json& sequence = field(part, "Sequence");
        const Json& token = field(part, "SpecialToken");
        if (!sequence.is_null()) {
            require(!seen && field(sequence, "id") == "A", where + ": single must have the sequence A once");
            seen = true;
            continue;
        }
        require(token.is_object(), [&] { return where + ": single: not understood: " + part.dump(); });
        const std::string name = text_field(token, "id", where);
        const Json& ids = field(field(field(json, "special_tokens"), name.c_str()), "ids");
        require(ids.is_array(), [&] { return where + ": special_tokens has no ids for \"" + name + "\""; });
        for (const Json& id : ids) {
            require(id.is_number_unsigned() && id.get<std::uint64_t>() < (1u << 24),
                    [&] { return where + ": special_tokens: \"" + name + "\" has the id " + id.dump(); });
            (seen ? back : front).push_back(id.get<std::int32_t>());
        }
    }
    require(seen, where + ": single must have the sequence A once");
    before.insert(before.begin(), front.begin(), front.end());  // a later step goes around what is there
    after.insert(after.end(), back.begin(), back.end());
}

}  // namespace graft::detail::tokens
