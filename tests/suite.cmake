# Everything that ctest runs beside the unit tests: source checks, MPI programs, end-to-end scripts, the Python
# tests, a private Slurm, the unit tests again under sanitizers, and fuzzers. Labels: checks, mpi, e2e, slurm, python,
# sanitize, fuzz.
# One `ctest` in the main build runs all of it; tests/run.sh builds what these need first.
if(QSWEEP_SANITIZE)
  return()  # a sanitized build only lends its test programs
endif()

set(QSWEEP_PYTHON "" CACHE FILEPATH "Python with the packages of analysis/requirements-test.txt")
if(NOT QSWEEP_PYTHON)
  find_program(python3 NAMES python3 REQUIRED NO_CACHE)
  set(QSWEEP_PYTHON "${python3}" CACHE FILEPATH "" FORCE)
endif()
set(QSWEEP_SANITIZE_DIR "${PROJECT_SOURCE_DIR}/build-sanitize" CACHE PATH "The build of preset `sanitize`")

# The same settings as env/mpi.sh; more ranks than cores, as root, in a container.
set(mpi_environment
    OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
    OMPI_MCA_hwloc_base_binding_policy=none PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe
    PRTE_MCA_hwloc_default_binding_policy=none OMPI_MCA_btl_vader_single_copy_mechanism=none
    OMPI_MCA_btl_base_warn_component_unused=0)

# qsweep_script_test(NAME LABEL SECONDS PROCESSORS COMMAND...): exit code 77 means skipped, aloud.
function(qsweep_script_test name label seconds processors)
  add_test(NAME ${name} COMMAND ${ARGN} WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
  set_tests_properties(${name} PROPERTIES LABELS ${label} TIMEOUT ${seconds} PROCESSORS ${processors}
    SKIP_RETURN_CODE 77
    ENVIRONMENT "${mpi_environment};PYTHONPATH=${PROJECT_SOURCE_DIR}/analysis;PYTHONDONTWRITEBYTECODE=1;\
QSWEEP_BIN=$<TARGET_FILE:qsweep>;QSWEEP_PYTHON=${QSWEEP_PYTHON}")
endfunction()

# Source checks; each is tested itself with planted faults (checks_test.py).
set(checks "${CMAKE_CURRENT_SOURCE_DIR}/checks")
foreach(check include_order clang_format shell_scripts source_rules)
  qsweep_script_test(checks.${check} checks 300 1 "${QSWEEP_PYTHON}" "${checks}/${check}.py" "${PROJECT_SOURCE_DIR}")
endforeach()
foreach(check headers_alone clang_tidy)
  qsweep_script_test(checks.${check} checks 1500 2
                     "${QSWEEP_PYTHON}" "${checks}/${check}.py" "${PROJECT_SOURCE_DIR}" "${PROJECT_BINARY_DIR}" 2)
endforeach()
file(GLOB check_tests CONFIGURE_DEPENDS "${checks}/*_test.py")
foreach(file IN LISTS check_tests)
  get_filename_component(name "${file}" NAME_WE)
  qsweep_script_test(checks.${name} checks 300 1 "${QSWEEP_PYTHON}" "${file}")
endforeach()

# tests/mpi/*_test.cpp: programs with a main of their own (0: held, 77: skipped). A line `// ranks: 1 2 4` says on
# how many ranks to run.
file(GLOB mpi_sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/mpi/*_test.cpp")
foreach(file IN LISTS mpi_sources)
  get_filename_component(name "${file}" NAME_WE)
  file(STRINGS "${file}" ranks REGEX "^// ranks: [0-9 ]+$" LIMIT_COUNT 1)
  if(NOT ranks)
    message(FATAL_ERROR "${file} names no ranks (ctest cannot start it) add a line such as `// ranks: 2 4`")
  endif()
  string(REGEX MATCHALL "[0-9]+" ranks "${ranks}")
  add_executable(mpi_${name} "${file}")
  target_link_libraries(mpi_${name} PRIVATE qsweep_reduce GTest::gtest)
  target_include_directories(mpi_${name} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
  target_compile_definitions(mpi_${name} PRIVATE QSWEEP_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  foreach(n IN LISTS ranks)
    if(QSWEEP_MPI_TARGET)
      qsweep_script_test(mpi.${name}.${n} mpi 300 2 "${MPIEXEC_EXECUTABLE}" -n ${n} $<TARGET_FILE:mpi_${name}>)
    elseif(n EQUAL 1)
      qsweep_script_test(mpi.${name}.1 mpi 300 1 $<TARGET_FILE:mpi_${name}>)
    endif()
  endforeach()
endforeach()

# tests/e2e/*_test.py and tests/mpi/*_test.py run the built program, and mpirun themselves where they need it. A few
# are one process at a time, or wait for a server.
set(on_one_core stage_test stage_faults_test hostile_files_test hostile_folder_test)
foreach(kind e2e mpi)
  file(GLOB scripts CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${kind}/*_test.py")
  foreach(file IN LISTS scripts)
    get_filename_component(name "${file}" NAME_WE)
    set(cores 2)
    if(name IN_LIST on_one_core)
      set(cores 1)
    endif()
    qsweep_script_test(${kind}.${name} ${kind} 900 ${cores} "${QSWEEP_PYTHON}" "${file}"
                       --qsweep $<TARGET_FILE:qsweep>)
  endforeach()
endforeach()

# tests/slurm/*_test.py start a private Slurm and wait for it most of the time; they skip aloud where its packages or
# root are missing.
file(GLOB scripts CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/slurm/*_test.py")
foreach(file IN LISTS scripts)
  get_filename_component(name "${file}" NAME_WE)
  qsweep_script_test(slurm.${name} slurm 900 1 "${QSWEEP_PYTHON}" "${file}" --qsweep $<TARGET_FILE:qsweep>)
endforeach()

qsweep_script_test(gpu.out_of_memory gpu 600 2 "${QSWEEP_PYTHON}" "${CMAKE_CURRENT_SOURCE_DIR}/e2e/out_of_memory_test.py"
                   --qsweep $<TARGET_FILE:qsweep> --backend cuda)

# What tests/bench/scale.py measures with; built by hand: cmake --build build --target made_up_runs
add_executable(made_up_runs EXCLUDE_FROM_ALL "${CMAKE_CURRENT_SOURCE_DIR}/bench/made_up_runs.cpp")
target_link_libraries(made_up_runs PRIVATE qsweep_reduce)

if(IS_DIRECTORY "${PROJECT_SOURCE_DIR}/analysis/tests")
  qsweep_script_test(python.analysis python 600 1 "${QSWEEP_PYTHON}" -m pytest -q -p no:cacheprovider analysis/tests)
endif()

# The unit tests under both sanitizers, one test a folder, and a sweep of that build, which has no MPI.
foreach(folder IN LISTS unit_folders)
  if(TARGET test_${folder})
    qsweep_script_test(sanitize.${folder} sanitize 1200 1
                       "${checks}/sanitized_tests.sh" "${QSWEEP_SANITIZE_DIR}/tests/test_${folder}")
  endif()
endforeach()
qsweep_script_test(sanitize.sweep_without_mpi sanitize 600 1
                   "${checks}/sweep_without_mpi.sh" "${QSWEEP_SANITIZE_DIR}/bin/qsweep")

# The threads of a sweep under ThreadSanitizer: the coordinator's own, the ranks' heartbeats, and those that look
# through finished runs ahead. Its sources are compiled once more, without MPI; OpenMP regions are left out, since libgomp is not built for
# it (that they give the same bits on any number of threads is tested where they are).
file(GLOB tsan_sources CONFIGURE_DEPENDS
     "${PROJECT_SOURCE_DIR}/src/base/*.cpp" "${PROJECT_SOURCE_DIR}/src/comm/*.cpp"
     "${PROJECT_SOURCE_DIR}/src/record/*.cpp")
foreach(name share/coordinator share/deadline share/learned_costs share/request share/share plan/part
        folder/lock_owner folder/progress_file folder/rank_beat folder/status)
  list(APPEND tsan_sources "${PROJECT_SOURCE_DIR}/src/sweep/${name}.cpp")
endforeach()
add_executable(tsan_threads ${tsan_sources} "${CMAKE_CURRENT_SOURCE_DIR}/unit/sweep/coordinator_test.cpp"
               "${CMAKE_CURRENT_SOURCE_DIR}/unit/sweep/status_test.cpp"
               "${CMAKE_CURRENT_SOURCE_DIR}/unit/record/read_ahead_test.cpp")
target_include_directories(tsan_threads PRIVATE "${PROJECT_SOURCE_DIR}" "${PROJECT_SOURCE_DIR}/src"
                           "${PROJECT_SOURCE_DIR}/tests")
set_target_properties(tsan_threads PROPERTIES EXPORT_COMPILE_COMMANDS OFF)  # clang-tidy looks at the real ones
target_compile_options(tsan_threads PRIVATE -fsanitize=thread -O1 -g1 -UQSWEEP_HAVE_MPI)
target_link_options(tsan_threads PRIVATE -fsanitize=thread)
target_link_libraries(tsan_threads PRIVATE qsweep_build_info ${QSWEEP_HDF5_TARGET} OpenSSL::Crypto fmt::fmt
                      nlohmann_json::nlohmann_json Threads::Threads GTest::gtest GTest::gtest_main)
qsweep_script_test(tsan.threads sanitize 300 2 "${checks}/without_aslr.sh" $<TARGET_FILE:tsan_threads>)

# Every fuzzer for a while from its corpus (preset `fuzz`); tests/fuzz/run.sh runs them for longer.
set(fuzz "${CMAKE_CURRENT_SOURCE_DIR}/fuzz")
file(GLOB targets CONFIGURE_DEPENDS "${fuzz}/*_fuzz.cpp")
foreach(file IN LISTS targets)
  get_filename_component(name "${file}" NAME_WE)
  string(REGEX REPLACE "_fuzz$" "" name "${name}")
  qsweep_script_test(fuzz.${name} fuzz 300 1 "${fuzz}/run.sh" --seconds 10 ${name})
endforeach()
