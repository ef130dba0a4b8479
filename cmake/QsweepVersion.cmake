# What the program knows of its own build, as one generated source: version, commit, compiler, options.
# Run again at every build and rewritten only where it changed, so a new commit recompiles one small file.
# Without git (a tarball) the commit is QSWEEP_GIT_COMMIT, or "unknown".
if(NOT CMAKE_SCRIPT_MODE_FILE)
  set(QSWEEP_GIT_COMMIT "" CACHE STRING "Commit of a source tree that is no git checkout")
  set(build_info_source "${PROJECT_BINARY_DIR}/generated/build_info.cpp")
  set(build_options "MPI=${QSWEEP_MPI} CUDA=${QSWEEP_CUDA} sanitize=${QSWEEP_SANITIZE}")
  add_custom_target(qsweep_build_info_check
    COMMAND "${CMAKE_COMMAND}" "-DSOURCE_DIR=${PROJECT_SOURCE_DIR}" "-DOUTPUT=${build_info_source}"
            "-DVERSION=${PROJECT_VERSION}" "-DCOMMIT=${QSWEEP_GIT_COMMIT}"
            "-DCOMPILER=${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}"
            "-DBUILD_TYPE=${CMAKE_BUILD_TYPE}" "-DOPTIONS=${build_options}"
            -P "${CMAKE_CURRENT_LIST_FILE}"
    BYPRODUCTS "${build_info_source}" VERBATIM)
  add_library(qsweep_build_info STATIC "${build_info_source}")
  add_dependencies(qsweep_build_info qsweep_build_info_check)
  target_link_libraries(qsweep_build_info PUBLIC qsweep_flags)
  return()
endif()

set(dirty -1)
find_program(git git)
if(git AND EXISTS "${SOURCE_DIR}/.git")
  execute_process(COMMAND "${git}" -C "${SOURCE_DIR}" --no-optional-locks rev-parse HEAD
                  OUTPUT_VARIABLE found RESULT_VARIABLE failed ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(NOT failed)
    set(COMMIT "${found}")
    execute_process(COMMAND "${git}" -C "${SOURCE_DIR}" --no-optional-locks status --porcelain
                    OUTPUT_VARIABLE changes RESULT_VARIABLE failed ERROR_QUIET)
    if(NOT failed)
      set(dirty 0)
      if(NOT changes STREQUAL "")
        set(dirty 1)
      endif()
    endif()
  endif()
endif()
if(COMMIT STREQUAL "")
  set(COMMIT "unknown")
endif()
file(CONFIGURE OUTPUT "${OUTPUT}" @ONLY CONTENT [[
#include "record/build_info.hpp"

namespace qsweep::record {
const BuildInfo& build_info() {
  static const BuildInfo info{"@VERSION@", "@COMMIT@", @dirty@, "@COMPILER@", "@BUILD_TYPE@", "@OPTIONS@"};
  return info;
}
}  // namespace qsweep::record
]])
