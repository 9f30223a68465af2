# The kinds of test that this repository has. Each function registers tests with ctest; none builds more than it needs.

include(${CMAKE_CURRENT_LIST_DIR}/GraftTogether.cmake)
find_package(doctest 2.4 REQUIRED)

# graft_test(<name> <source>…)
#
# One doctest program; every TEST_CASE of it becomes a test called "<name>: <case>".
function(graft_test name)
    set(sources ${ARGN})
    if(GRAFT_TOGETHER)
        graft_together(sources ${CMAKE_CURRENT_BINARY_DIR}/${name} ${GRAFT_TOGETHER} ${sources})
    endif()
    add_executable(test_${name} ${sources})
    target_link_libraries(test_${name} PRIVATE graft_parts graft_flags graft_test_main)
    # Kernels and what drives them optimised, as they are used; the rest compiles in two thirds of the time without.
    if(name MATCHES "^(core|autograd|ops|nn|optim)$")
        target_compile_options(test_${name} PRIVATE $<$<CONFIG:Release>:-O1>)
    else()
        target_compile_options(test_${name} PRIVATE $<$<CONFIG:Release>:-O0>)
    endif()
    graft_discover(test_${name} "${name}")
endfunction()

# graft_discover(<target> <label> [<VAR>=set:<value>…])
#
# Registers the cases of a doctest program as "<label>: <case>", to run in an environment changed as by ctest's
# ENVIRONMENT_MODIFICATION. Cases that were skipped are shown as Skipped. A program can be registered several times.
function(graft_discover target label)
    string(MAKE_C_IDENTIFIER "${target}_${label}" file)
    set(file ${CMAKE_CURRENT_BINARY_DIR}/${file})
    add_custom_command(TARGET ${target} POST_BUILD BYPRODUCTS ${file}_cases.cmake VERBATIM
        COMMAND ${CMAKE_COMMAND} -DPROGRAM=$<TARGET_FILE:${target}> "-DLABEL=${GRAFT_TEST_PREFIX}${label}"
            "-DENVIRONMENT=${ARGN}" -DFOLDER=${PROJECT_BINARY_DIR} -DOUT=${file}_cases.cmake
            -P ${PROJECT_SOURCE_DIR}/cmake/discover.cmake)
    # A program that was not built is a failing test, not a missing one.
    file(WRITE ${file}.cmake "if(EXISTS [==[${file}_cases.cmake]==])\n    include([==[${file}_cases.cmake]==])\n"
        "else()\n    add_test([==[${GRAFT_TEST_PREFIX}${label}: not built]==] not-built)\nendif()\n")
    set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES ${file}.cmake)
endfunction()

# graft_headers_alone(<header under include/>…): each header compiles as the only include of a file, twice, as a user has
# it and as graft_parts' users do. Objects rather than tests, so that ninja and ccache know what has been compiled.
function(graft_headers_alone)
    foreach(only 0 1)
        set(sources)
        foreach(header ${ARGN})
            string(REGEX REPLACE "\\.hpp$" ".ipp" body ${header})
            if(only AND NOT EXISTS ${PROJECT_SOURCE_DIR}/include/${body})
                continue()      # the same as the other
            endif()
            string(REGEX REPLACE "[/.]" "_" stem ${header})
            set(source ${CMAKE_CURRENT_BINARY_DIR}/alone_${only}/${stem}.cpp)
            file(CONFIGURE OUTPUT ${source} CONTENT "#include <@header@>\n#include <@header@>\n" @ONLY)
            list(APPEND sources ${source})
        endforeach()
        add_library(graft_headers_alone_${only} OBJECT ${sources})
        target_link_libraries(graft_headers_alone_${only} PRIVATE graft)
        target_compile_definitions(graft_headers_alone_${only} PRIVATE GRAFT_HEADER_ONLY=${only})
        target_compile_options(graft_headers_alone_${only} PRIVATE -O0 -Wall -Wextra -Werror)
    endforeach()
endfunction()

# graft_cuda_header_alone(<header under include/>): the same of a .cuh, by nvcc, as a test.
function(graft_cuda_header_alone header)
    string(REGEX REPLACE "[/.]" "_" stem ${header})
    set(source ${CMAKE_CURRENT_BINARY_DIR}/alone/${stem}.cu)
    file(CONFIGURE OUTPUT ${source} CONTENT "#include <@header@>\n#include <@header@>\n" @ONLY)
    add_test(NAME "${GRAFT_TEST_PREFIX}header alone, nvcc: ${header}"
        COMMAND ${CMAKE_CUDA_COMPILER} -std=c++20 -c -o /dev/null -arch=sm_80 --expt-relaxed-constexpr
            -I${PROJECT_SOURCE_DIR}/include ${graft_dependency_includes} ${source})
endfunction()

# graft_compile_fail(<file> <compiler>)
#
# The first line of the file is `// error: <regex>`. Compiling it must fail with a message that matches, and compiling
# it with -DGRAFT_COMPILES, the same file with the offending line put right, must succeed.
function(graft_compile_fail file compiler)
    get_filename_component(stem ${file} NAME)
    get_filename_component(tool ${compiler} NAME)
    add_test(NAME "${GRAFT_TEST_PREFIX}compile fail, ${tool}: ${stem}"
        COMMAND ${CMAKE_COMMAND} -DFILE=${file} -DCOMPILER=${compiler}
            "-DFLAGS=-I${PROJECT_SOURCE_DIR}/include;${graft_dependency_includes}"
            -P ${PROJECT_SOURCE_DIR}/cmake/compile_fail.cmake)
endfunction()

# graft_layering(<name> <include folder> [<regex>]): the includes under <include folder>/graft follow the arrows of
# docs/layers.md; with a regex, they must not, and the message must match.
function(graft_layering name folder)
    add_test(NAME "${GRAFT_TEST_PREFIX}layering: ${name}"
        COMMAND ${CMAKE_COMMAND} -DROOT=${folder} -P ${PROJECT_SOURCE_DIR}/cmake/layering.cmake)
    if(ARGN)
        set_tests_properties("${GRAFT_TEST_PREFIX}layering: ${name}" PROPERTIES PASS_REGULAR_EXPRESSION "${ARGN}")
    endif()
endfunction()
