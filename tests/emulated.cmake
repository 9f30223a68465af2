# cmake -DCPU=… -DQEMU=… -DPROGRAM=… -DMODEL=… -P emulated.cmake: greedy text on an emulated processor is the text of
# this one.
if(NOT QEMU)
    message(STATUS "skipped: no qemu-x86_64 (Debian: qemu-user)")
    return()
endif()
set(arguments --model ${MODEL} --prompt "Once upon a time" --max-tokens 40)
execute_process(COMMAND ${PROGRAM} ${arguments} OUTPUT_VARIABLE here COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${QEMU} -cpu ${CPU} ${PROGRAM} ${arguments} OUTPUT_VARIABLE there COMMAND_ERROR_IS_FATAL ANY)
if(NOT here STREQUAL there OR here STREQUAL "")
    message(FATAL_ERROR "on ${CPU} the text differs.\nhere:  ${here}\nthere: ${there}")
endif()
