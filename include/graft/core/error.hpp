#pragma once
#include <concepts>
#include <stdexcept>
#include <string>
#include <type_traits>

// Every failure that a user can cause ends in one graft::Error. Its text is a single line that says what was
// wrong, where (file, tensor, row, line), what was expected and found, and what to do about it.
namespace graft {

class Error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

// A loss, a gradient or a logit that is no number or infinite.
class NotFinite : public Error {
public:
    using Error::Error;
};

// Throws Error with the given text unless the condition holds. Build the text lazily (a callable) where it is costly.
inline void require(bool condition, const char* text)
{
    if (!condition) { throw Error(text); }
}
inline void require(bool condition, const std::string& text)
{
    if (!condition) { throw Error(text); }
}
template <class Text>
    requires std::convertible_to<std::invoke_result_t<Text&>, std::string>
void require(bool condition, Text&& text)
{
    if (!condition) { throw Error(text()); }
}

}  // namespace graft
