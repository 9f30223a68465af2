#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include "graft/core/inline.hpp"
#include "graft/text/jinja/machine.hpp"
#include "graft/text/jinja/value.hpp"

// How values become text: str() and repr() as Python prints them, and tojson as json.dumps writes it.
namespace graft::detail::jinja {

// The shortest digits that read back as x, laid out as Python does: 1.0, 1e-05, 1e+16, nan, inf.
std::string float_text(double x);

void append_hex(std::string& out, std::uint32_t code, int digits);

void append_quoted(std::string& out, const std::string& text);

class Printer {
public:
    explicit Printer(Machine& machine) : machine_(machine) {}

    std::string str(const Value& v);

    std::string repr(const Value& v);

private:
    void append_repr(std::string& out, const Value& v);

    Machine& machine_;
};

inline std::string to_text(Machine& m, const Value& v) { return Printer(m).str(v); }
inline std::string to_repr(Machine& m, const Value& v) { return Printer(m).repr(v); }

// json.dumps: `indent` < 0 is one line with ", " and ": ".
class JsonWriter {
public:
    struct Form {
        int indent = -1;
        bool ascii = false, sorted = false;
        std::string comma = ", ", colon = ": ";
    };

    JsonWriter(Machine& machine, Form form) : machine_(machine), form_(std::move(form)) {}

    std::string write(const Value& v);

private:
    void append(std::string& out, const Value& v, int level);

    template <class Item>
    void bracketed(std::string& out, char open, char close, std::size_t count, int level, Item item)
    {
        out += open;
        for (std::size_t i = 0; i < count; ++i) {
            if (i > 0) { out += form_.comma; }
            line(out, level);
            item();
        }
        if (count > 0) { line(out, level - 1); }
        out += close;
    }

    void line(std::string& out, int level);

    void append_key(std::string& out, const Value& key);

    void append_string(std::string& out, const std::string& text);

    Machine& machine_;
    Form form_;
};

}  // namespace graft::detail::jinja

#if GRAFT_HEADER_ONLY
#include "graft/text/jinja/print.ipp"
#endif
