#pragma once
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/text/jinja/value.hpp"

namespace graft {

// The template itself refuses this conversation (raise_exception): another template or other data is needed, and
// nothing is wrong with the program. reason() is the template's own text.
class TemplateRefusal : public Error {
public:
    TemplateRefusal(const std::string& text, std::string reason) : Error(text), reason_(std::move(reason)) {}
    const std::string& reason() const { return reason_; }

private:
    std::string reason_;
};

// What one rendering may use. A step is one expression or statement evaluated, one item handled, or 256 bytes looked
// at; all strings made on the way together may hold 16 times `output` bytes; depth is that of nested expressions,
// blocks, macro calls and values.
struct JinjaLimits {
    std::size_t steps = 2'000'000, output = std::size_t{16} << 20, depth = 200;
};

struct JinjaOptions {
    JinjaLimits limits;
    std::optional<std::chrono::sys_seconds> now;       // local wall-clock time for strftime_now; empty: the system's
    std::atomic<std::uint64_t>* renderings = nullptr;  // counts each, for tests
};

}  // namespace graft

namespace graft::detail::jinja {

struct Position {
    unsigned line = 0, column = 0;
};  // from 1; columns count characters

std::string located(const std::string& name, Position at, const std::string& what);

// One rendering: its name, where it stands, and what it has used.
class Machine {
public:
    Machine(const std::string& name, const JinjaOptions& options) : options(options), name_(name) {}

    void step(std::size_t count = 1);
    void look_at(std::size_t bytes) { step(bytes / 256); }

    // Counts a string before it is made.
    void reserve(std::size_t bytes);
    Value text(std::string s);

    // Holds what is changed in place until the end, and empties it then: lists may come to hold one another, in circles
    // or in long chains, and must neither leak nor be destroyed by deep recursion.
    void keep(Value container) { changed_.push_back(std::move(container)); }
    ~Machine();
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;

    // A value that holds others, unless they lie too deep inside one another.
    Value holding(Value v) const;

    std::string where(const std::string& what) const { return located(name_, at, what); }
    [[noreturn]] void fail(const std::string& what) const { throw Error(where(what)); }

    const JinjaOptions& options;
    Position at;  // of what is being evaluated
    std::size_t depth = 0;

private:
    const std::string& name_;
    std::size_t steps_ = 0, made_ = 0;
    List changed_;
};

// Counts one level of nesting while it lives.
class Level {
public:
    explicit Level(Machine& m);
    ~Level() { --machine_.depth; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

private:
    Machine& machine_;
};

}  // namespace graft::detail::jinja

#if GRAFT_HEADER_ONLY
#include "graft/text/jinja/machine.ipp"
#endif
