#pragma once
#include "graft/core/error.hpp"
#include "graft/text/jinja/value.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

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

inline std::string located(const std::string& name, Position at, const std::string& what)
{
    return "chat template \"" + name + "\", line " + std::to_string(at.line) + ", column " + std::to_string(at.column)
           + ": " + what;
}

// One rendering: its name, where it stands, and what it has used.
class Machine {
public:
    Machine(const std::string& name, const JinjaOptions& options) : options(options), name_(name) {}

    void step(std::size_t count = 1)
    {
        if (count > options.limits.steps - steps_) {
            fail("more than " + std::to_string(options.limits.steps) + " steps; the template loops too long");
        }
        steps_ += count;
    }
    void look_at(std::size_t bytes) { step(bytes / 256); }

    // Counts a string before it is made.
    void reserve(std::size_t bytes)
    {
        if (bytes > options.limits.output) {
            fail("a string of " + std::to_string(bytes) + " bytes; at most " + std::to_string(options.limits.output)
                 + " are allowed");
        }
        made_ += bytes;
        if (made_ / 16 > options.limits.output) {
            fail("strings of more than 16 times " + std::to_string(options.limits.output)
                 + " bytes in all; the template builds text without end");
        }
        look_at(bytes);
    }
    Value text(std::string s)
    {
        reserve(s.size());
        return Value::text(std::move(s));
    }

    // Holds what is changed in place until the end, and empties it then: lists may come to hold one another, in circles
    // or in long chains, and must neither leak nor be destroyed by deep recursion.
    void keep(Value container) { changed_.push_back(std::move(container)); }
    ~Machine()
    {
        for (const Value& v : changed_) {
            if (const auto* list = v.as<ListRef>()) { List().swap(*list->items); }
            if (const auto* dict = v.as<DictRef>()) { Dict().entries.swap(dict->dict->entries); }
        }
    }
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;

    // A value that holds others, unless they lie too deep inside one another.
    Value holding(Value v) const
    {
        if (v.nesting() > options.limits.depth) {
            fail("values nested deeper than " + std::to_string(options.limits.depth) + " levels");
        }
        return v;
    }

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
    explicit Level(Machine& m) : machine_(m)
    {
        if (++m.depth > m.options.limits.depth) {
            --m.depth;
            m.fail("nested deeper than " + std::to_string(m.options.limits.depth) + " levels");
        }
    }
    ~Level() { --machine_.depth; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

private:
    Machine& machine_;
};

}  // namespace graft::detail::jinja
