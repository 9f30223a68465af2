#include <graft/core/error.hpp>

bool refuses()
{
    try {
        graft::require(false, "no");
    } catch (const graft::Error&) {
        return true;
    }
    return false;
}
