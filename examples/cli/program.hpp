#pragma once
#include <CLI/CLI.hpp>

#include <cstdio>
#include <exception>
#include <string>

#include "graft/core/error.hpp"

// What every program does around its work: options in, one line on stderr and exit 2 for a refusal.
namespace cli {

inline void print(const std::string& text)
{
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
}

// So many digits of a number.
inline std::string loss_text(double loss, int digits = 7)
{
    char text[32];
    std::snprintf(text, sizeof text, "%.*g", digits, loss);
    return text;
}

// A refusal is exactly one line.
inline int refuse(const char* program, std::string text)
{
    for (char& c : text) {
        if (c == '\n' || c == '\r') { c = ' '; }
    }
    while (!text.empty() && text.back() == ' ') { text.pop_back(); }
    std::fprintf(stderr, "%s: %s\n", program, text.c_str());
    return 2;
}

// Parses, then runs work(); 0 on success, 2 for what a user can mend.
template <class Work> int run(CLI::App& app, int argc, char** argv, Work&& work)
{
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& asked) {  // --help, --version
        return app.exit(asked);
    } catch (const CLI::ParseError& wrong) {
        return refuse(app.get_name().c_str(), std::string(wrong.what()) + " (see --help)");
    }
    try {
        work();
        return 0;
    } catch (const graft::Error& error) {
        return refuse(app.get_name().c_str(), error.what());
    } catch (const std::bad_alloc&) {
        return refuse(app.get_name().c_str(), "out of memory: try a smaller batch, shorter rows or --recompute");
    } catch (const std::exception& error) {
        return refuse(app.get_name().c_str(), error.what());
    }
}

}  // namespace cli
