#!/usr/bin/env bash
# The whole test suite: installs what is missing, builds (plainly, with sanitizers and without MPI, and the
# fuzzers), and runs everything through one ctest. Options are handed to ctest (e.g. -L unit, -R tokenizer).
# shellcheck disable=SC2317 # the functions are called through step
set -euo pipefail

cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=env/build.sh
source env/build.sh
# shellcheck source=env/mpi.sh
source env/mpi.sh

# Here nothing may skip because of a missing tool or build.
export QSWEEP_REQUIRE_ALL=1

fail() {
  echo "tests/run.sh: $*" >&2
  exit 1
}

find_python() {
  QSWEEP_PYTHON=$(env/python.sh --test) && export QSWEEP_PYTHON
}

build() {
  configure cpu build -DQSWEEP_TESTS=ON -DQSWEEP_BENCH=ON -DQSWEEP_PYTHON="$QSWEEP_PYTHON" >/dev/null &&
    cmake --build build -j "$(build_jobs)"
}

build_sanitized() {
  configure sanitize build-sanitize -DQSWEEP_TESTS=ON >/dev/null &&
    cmake --build build-sanitize -j "$(build_jobs)"
}

build_fuzzers() {
  configure fuzz build-fuzz >/dev/null && cmake --build build-fuzz -j "$(build_jobs)"
}

step "packages" env/bootstrap.sh --test || fail "the machine is not ready (see above)"
step "Python" find_python || fail "no Python for the tests (see above)"
step "build" build || fail "the build failed (see above)"
step "build with sanitizers, without MPI" build_sanitized || fail "the sanitized build failed (see above)"
step "build of the fuzzers" build_fuzzers || fail "the fuzzers were not built (see above)"
print_step_times
# ctest comes last, so that its closing lines end the output.
exec ctest --test-dir build --output-on-failure -j "$(nproc)" "$@"
