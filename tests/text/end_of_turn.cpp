#include "graft/text/end_of_turn.hpp"

#include <doctest/doctest.h>

#include <optional>
#include <string>

#include "graft/text/dataset/end_id.hpp"
#include "support.hpp"

// The token that ends an assistant's turn: a control token, or none.
namespace {

std::optional<std::int32_t> end_by(const std::string& text)
{
    const auto tokenizer = graft::Tokenizer::load(graft_test::repo() / "data/tokenizer_stories260K");
    return graft::end_of_turn(graft::ChatTemplate::from_text(text, "t", {{"bos_token", "<s>"}, {"eos_token", "</s>"}}),
                              tokenizer);
}

const std::string turns = "{% for m in messages %}{{ m.role + ': ' + m.content }}";

}  // namespace

TEST_CASE("end of turn: the control token behind what the assistant says, white space after it aside or not")
{
    CHECK(end_by(turns + "{{ eos_token }}{% endfor %}") == 2);
    const auto tokenizer = graft::Tokenizer::load(graft_test::repo() / "data/tokenizer_stories260K");
    CHECK(graft::end_of_turn(graft::ChatTemplate::named("zephyr", tokenizer.special_tokens()), tokenizer) == 2);
}

TEST_CASE("end of turn: none where a turn ends in ordinary text, or the template refuses two turns")
{
    CHECK(!end_by(turns + "\n{% endfor %}"));
    CHECK(!end_by(turns + "<|im_end|>{% endfor %}"));  // not a token of this vocabulary
    CHECK(!end_by("{{ raise_exception('no') }}"));
    const auto tokenizer = graft::Tokenizer::load(graft_test::repo() / "data/tokenizer_stories260K");
    CHECK(!graft::end_of_turn(graft::ChatTemplate::named("chatml", tokenizer.special_tokens()), tokenizer));
}
