#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/text/tokenizer/json.hpp"

// The post-processors of tokenizer.json: TemplateProcessing (for a single text), ByteLevel (which changes no ids),
// Sequence, null. Any other type is refused by name.
namespace graft::detail::tokens {

class PostProcessor {
public:
    std::vector<std::int32_t> before, after;  // ids put around a text

    PostProcessor() = default;
    PostProcessor(const Json& json, const std::string& where) { add(json, where); }

    std::vector<std::int32_t> ids() const;

private:
    void add(const Json& json, const std::string& where);
    // A list of {"SpecialToken": {"id": name}} with {"Sequence": {"id": "A"}} once among them.
    void add_template(const Json& json, const std::string& where);
};

}  // namespace graft::detail::tokens

#if GRAFT_HEADER_ONLY
#include "graft/text/tokenizer/post_processor.ipp"
#endif
