# cmake -DPROGRAM=… -DLABEL=… -DENVIRONMENT=… -DFOLDER=… -DOUT=… -P discover.cmake
#
# Asks a doctest program for its test cases and writes a ctest file that registers each as a test (graft_discover).
# doctest's own script does the same, but registers a program only once and takes no lists as properties.

# A case that says `skipped: …` (graft_test::skip) is Skipped, provided that the program then ended well: a case that
# skipped a part and failed another has failed. So the end of the output is part of the match.
set(skipped "skipped: .*Status: SUCCESS![^a-zA-Z]*$")
set(none "test cases: +0 ")     # a name that selects no case must not pass

execute_process(COMMAND ${PROGRAM} --list-test-cases --no-colors=1 OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
string(REGEX REPLACE "\\[doctest\\] [^\n]*\n|=====+\n" "" text "${text}")
string(REPLACE "[" "(" text "${text}")      # what would split or join elements of a list is shown as something else
string(REPLACE "]" ")" text "${text}")
string(REPLACE ";" "," text "${text}")
string(REGEX MATCHALL "[^\n]+" names "${text}")
list(REMOVE_DUPLICATES names)

set(script)
foreach(name IN LISTS names)
    string(REGEX REPLACE "[(),\\\\*]" "?" filter "${name}")   # ? is any character
    string(APPEND script "add_test([==[${LABEL}: ${name}]==] [==[${PROGRAM}]==] [==[--test-case=${filter}]==] --no-colors=1)\n"
        "set_tests_properties([==[${LABEL}: ${name}]==] PROPERTIES TIMEOUT 900 WORKING_DIRECTORY [==[${FOLDER}]==]"
        " SKIP_REGULAR_EXPRESSION [==[${skipped}]==] FAIL_REGULAR_EXPRESSION [==[${none}]==]"
        " ENVIRONMENT_MODIFICATION [==[${ENVIRONMENT}]==])\n")
endforeach()
file(WRITE ${OUT} "${script}")
