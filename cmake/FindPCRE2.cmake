# Finds the 8-bit library of PCRE2 and makes the target PCRE2::8BIT.
#
# Sets PCRE2_FOUND, PCRE2_VERSION, PCRE2_INCLUDE_DIR and PCRE2_LIBRARY. Debian: libpcre2-dev.
find_path(PCRE2_INCLUDE_DIR pcre2.h)
find_library(PCRE2_LIBRARY pcre2-8)

if(PCRE2_INCLUDE_DIR)
    file(STRINGS ${PCRE2_INCLUDE_DIR}/pcre2.h PCRE2_VERSION REGEX "^#define PCRE2_(MAJOR|MINOR)")
    string(REGEX REPLACE "[^0-9]*2_MAJOR[^0-9]*([0-9]+).*2_MINOR[^0-9]*([0-9]+).*" "\\1.\\2" PCRE2_VERSION "${PCRE2_VERSION}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(PCRE2 REQUIRED_VARS PCRE2_LIBRARY PCRE2_INCLUDE_DIR VERSION_VAR PCRE2_VERSION)
mark_as_advanced(PCRE2_INCLUDE_DIR PCRE2_LIBRARY)

if(PCRE2_FOUND AND NOT TARGET PCRE2::8BIT)
    add_library(PCRE2::8BIT UNKNOWN IMPORTED)
    set_target_properties(PCRE2::8BIT PROPERTIES
        IMPORTED_LOCATION "${PCRE2_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES "${PCRE2_INCLUDE_DIR}")
endif()
