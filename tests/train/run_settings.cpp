#include <doctest/doctest.h>

#include "graft/train/run_settings.hpp"

TEST_CASE("run settings: differences are named with both values, hashes decide where there are any")
{
    const graft::RunSettings was{{"model", "a (1)", "11"}, {"lr", "0.01"}, {"batch", "4"}, {"epochs", "1"}};
    CHECK(graft::setting_changes(was, was).empty());
    const graft::RunSettings moved{{"model", "b (1)", "11"}, {"lr", "0.01"}, {"batch", "4"}, {"epochs", "1"}};
    CHECK(graft::setting_changes(was, moved).empty());
    const graft::RunSettings now{{"model", "a (2)", "22"}, {"lr", "0.02"}, {"batch", "4"}, {"steps", "7"}};
    CHECK(graft::changes_text(graft::setting_changes(was, now))
          == "--model was a (1), now a (2); --lr was 0.01, now 0.02; --steps was not given, now 7; "
             "--epochs was 1, now not given");

    graft::RunSettings many, other;
    for (int i = 0; i < 11; ++i) {
        many.push_back({"o" + std::to_string(i), "a"});
        other.push_back({"o" + std::to_string(i), "b\n"});
    }
    const std::string text = graft::changes_text(graft::setting_changes(many, other));
    CHECK(text.find("--o7 was a, now b\\x0a; and 3 more") != std::string::npos);
    CHECK(text.find('\n') == std::string::npos);
}
