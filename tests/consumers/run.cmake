# cmake -DKIND=… -DGRAFT=… -DBUILD=… -DCXX=… -DGENERATOR=… -DVERSION=… -P run.cmake
#
# Configures, builds and runs the project in the folder of that name, in an empty build folder.
set(here ${BUILD}/consumers/${KIND})
file(REMOVE_RECURSE ${here})
set(options -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_COMPILER=${CXX} -DFETCHCONTENT_FULLY_DISCONNECTED=ON
    -DGRAFT_FOLDER=${GRAFT} -DGRAFT_WANTED_VERSION=${VERSION})
if(KIND STREQUAL "find_package")        # first put the headers and package files somewhere, as a user would
    execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD} --component headers --prefix ${here}/prefix
        OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
    list(APPEND options -DCMAKE_PREFIX_PATH=${here}/prefix)
endif()
execute_process(COMMAND ${CMAKE_COMMAND} -G ${GENERATOR} -S ${CMAKE_CURRENT_LIST_DIR}/${KIND} -B ${here}/build ${options}
    COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} --build ${here}/build COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${here}/build/consumer COMMAND_ERROR_IS_FATAL ANY)
