#pragma once
#include "graft/text/jinja/clock.hpp"

#include <chrono>
#include <cstddef>
#include <ctime>
#include <string>

#include "graft/text/jinja/machine.hpp"

namespace graft::detail::jinja {

GRAFT_INLINE std::chrono::sys_seconds local_now()
{
    const std::time_t now = std::time(nullptr);
    std::tm parts{};
    localtime_r(&now, &parts);
    using namespace std::chrono;
    return sys_days{year{parts.tm_year + 1900} / (parts.tm_mon + 1) / parts.tm_mday} + hours{parts.tm_hour}
           + minutes{parts.tm_min} + seconds{parts.tm_sec};
}

GRAFT_INLINE std::string strftime(Machine& m, const std::string& form)
{
    using namespace std::chrono;
    static constexpr const char* months[] = {"January", "February", "March",     "April",   "May",      "June",
                                             "July",    "August",   "September", "October", "November", "December"};
    static constexpr const char* days[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                           "Thursday", "Friday", "Saturday"};

    const sys_seconds now = m.options.now ? *m.options.now : local_now();
    const sys_days day = floor<std::chrono::days>(now);
    const year_month_day date{day};
    const hh_mm_ss time{now - day};
    const auto month = static_cast<unsigned>(date.month());
    const int hour = static_cast<int>(time.hours().count());
    const std::string month_name = months[month - 1], day_name = days[weekday{day}.c_encoding()];

    std::string out;
    const auto number = [&](int value, int width, char fill) {
        std::string digits = std::to_string(value);
        if (fill != '\0' && digits.size() < static_cast<std::size_t>(width)) {
            digits.insert(0, static_cast<std::size_t>(width) - digits.size(), fill);
        }
        out += digits;
    };
    for (std::size_t i = 0; i < form.size(); ++i) {
        if (form[i] != '%') {
            out += form[i];
            continue;
        }
        const bool bare = i + 1 < form.size() && form[i + 1] == '-';  // %-d: without leading zeros
        if (bare) { ++i; }
        const char zero = bare ? '\0' : '0';
        switch (++i < form.size() ? form[i] : '\0') {
        case 'Y': number(static_cast<int>(date.year()), 4, zero); break;
        case 'y': number(static_cast<int>(date.year()) % 100, 2, zero); break;
        case 'm': number(static_cast<int>(month), 2, zero); break;
        case 'd': number(static_cast<int>(static_cast<unsigned>(date.day())), 2, zero); break;
        case 'e': number(static_cast<int>(static_cast<unsigned>(date.day())), 2, bare ? '\0' : ' '); break;
        case 'j': number(static_cast<int>((day - sys_days{date.year() / 1 / 1}).count()) + 1, 3, zero); break;
        case 'B': out += month_name; break;
        case 'b': out += month_name.substr(0, 3); break;
        case 'A': out += day_name; break;
        case 'a': out += day_name.substr(0, 3); break;
        case 'H': number(hour, 2, zero); break;
        case 'I': number(hour % 12 == 0 ? 12 : hour % 12, 2, zero); break;
        case 'M': number(static_cast<int>(time.minutes().count()), 2, zero); break;
        case 'S': number(static_cast<int>(time.seconds().count()), 2, zero); break;
        case 'p': out += hour < 12 ? "AM" : "PM"; break;
        case '%': out += '%'; break;
        default:
            m.fail("strftime_now: the form '" + form + "' is not supported; use %Y %m %d %b %B %H %M and the like");
        }
    }
    return out;
}

}  // namespace graft::detail::jinja
