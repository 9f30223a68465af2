#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/text/jinja/machine.hpp"

// Template text → tokens, with Jinja's white space control: trim_blocks and lstrip_blocks are on, one newline at the
// end of the template is dropped, CRLF and CR count as LF.
namespace graft::detail::jinja {

enum class Tok { data, print_begin, print_end, block_begin, block_end, name, string, integer, real, op, end };

struct Token {
    Tok kind;
    std::string text;
    Position at;
    std::int64_t integer = 0;
    double real = 0;
};

class Lexer {
public:
    Lexer(std::string_view source, const std::string& name);

    std::vector<Token> run();

private:
    std::size_t next_delimiter() const;

    void lex_tag(std::size_t open);

    // The text before a tag: `-` strips all white space, else spaces at the start of a line go before a block.
    std::string_view strip_before(std::string_view text, char sign, bool block) const;

    // After a closing delimiter whose first sign is at `sign_at`: what white space it takes with it.
    void close(std::size_t sign_at, bool block);

    void lex_comment(std::size_t open);

    std::size_t skip_spaces(std::size_t at) const;

    // True where the tag is {% raw %}; its body becomes data as it is.
    bool lex_raw(std::size_t open);

    void lex_inside(std::size_t open, char closing);

    bool is_word(std::size_t at) const;

    void lex_operator(std::string& brackets);

    void lex_number();

    void lex_string(char quote);

    // Python's escapes; an unknown one stays as it is, backslash and all.
    void lex_escape(std::size_t begin, std::string& out);

    char32_t code_from(int digits, int base, bool all);

    void append_code(std::string& out, char32_t code);

    void add_data(std::size_t at, std::string_view text);

    Position position(std::size_t offset);  // offsets come in rising order but for errors

    [[noreturn]] void fail(std::size_t at, const std::string& what) { throw Error(located(name_, position(at), what)); }

    const std::string& name_;
    std::string source_;
    std::size_t pos_ = 0;
    bool line_starts_ = true;
    std::size_t counted_ = 0;
    Position here_{1, 1};
    std::vector<Token> tokens_;
};

}  // namespace graft::detail::jinja

#if GRAFT_HEADER_ONLY
#include "graft/text/jinja/lexer.ipp"
#endif
