#!/usr/bin/env bash
# Everything that needs a GPU, in one command on a machine that has one: builds the CUDA backend, runs
# the tests labelled gpu, the op tests again under compute-sanitizer, a sweep of the miniatures, and the
# benchmarks; ends with their tables. Fails where a test fails; what is missing is said aloud.
#
#   tests/device.sh [--no-sanitizer] [--no-bench] [--shapes "phi-3.5-mini llama-3.2-1b"]
#
# CMAKE_PREFIX_PATH, PKG_CONFIG_PATH, CPATH and the like are the caller's; -DNAME=VALUE goes to CMake.
# Folders: $QSWEEP_DEVICE_BUILD (build-cuda) and $QSWEEP_DEVICE_MODELS (in the build folder).
# shellcheck disable=SC2317 # the functions are called through step
set -euo pipefail

cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=env/build.sh
source env/build.sh
# shellcheck source=env/mpi.sh
source env/mpi.sh

build=${QSWEEP_DEVICE_BUILD:-build-cuda}
models=${QSWEEP_DEVICE_MODELS:-$build/models}
shapes="phi-3.5-mini llama-3.2-1b"
sanitizer="yes" bench="yes"
definitions=()

die() {
  echo "tests/device.sh: $*" >&2
  exit 1
}

while (($#)); do
  case $1 in
    --no-sanitizer) sanitizer="no" ;;
    --no-bench) bench="no" ;;
    --shapes)
      shapes=${2:?--shapes needs names}
      shift
      ;;
    -D*) definitions+=("$1") ;;
    -h | --help)
      sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    *) die "unknown option '$1' see --help" ;;
  esac
  shift
done

build_all() {
  configure cuda "$build" -B "$build" -DQSWEEP_TESTS=ON "${definitions[@]}" >/dev/null &&
    cmake --build "$build" -j "$(build_jobs)" --target qsweep test_gpu gpu_bench
}

gpu_tests() {
  "$build/tests/test_gpu"
}

# The op tests, one tool after another: every access in bounds, no race in shared memory, nothing read
# before it was written. Whole models would take an hour there.
sanitize() {
  local tool
  for tool in memcheck racecheck initcheck; do
    echo "-- $tool"
    compute-sanitizer --tool "$tool" --error-exitcode 1 --print-limit 20 "$build/tests/test_gpu" \
      --gtest_brief=1 --gtest_filter="$sanitized_tests" || return
  done
}
# All ops once; of the linears the forms that differ in code, not every codec.
sanitized_tests="RmsNormGpu.*:SiluMulGpu.*:ResidualGpu.*:EmbeddingGpu.*:HeadsGpu.*:RopeGpu.*:AttentionGpu.*"
sanitized_tests+=":LogitsGpu.*:TokenScoresGpu.*:LinearGpu.ManyRows*:LinearGpu.WritesOnly*:LinearsGpu.*"

sweep() {
  "$build/bin/qsweep" configs/quickstart.yaml --backend cuda --out "$build/runs" --run-tag device \
    --set repeats=1
}

make_models() {
  local shape
  for shape in $shapes; do
    [[ -f $models/$shape/config.json ]] ||
      "$build/bin/qsweep" make-model --shape "$shape" --out "$models/$shape" || return
  done
}

benchmarks() {
  local shape folders=()
  for shape in $shapes; do folders+=("$models/$shape"); done
  "$build/tests/gpu_bench" "${folders[@]}"
}

failed=()
# part NAME COMMAND...: goes on after a failure, so that one run tells everything.
part() {
  step "$@" || failed+=("$1")
}

step "build" build_all || die "the build failed (see above)"
part "tests with label gpu" gpu_tests
if [[ $sanitizer == yes ]]; then
  if command -v compute-sanitizer >/dev/null; then
    part "compute-sanitizer" sanitize
  else
    echo "skipped: compute-sanitizer is not in PATH"
  fi
fi
part "sweep of the miniatures" sweep
if [[ $bench == yes ]]; then
  part "models" make_models
  part "benchmarks" benchmarks
fi
print_step_times
((${#failed[@]} == 0)) || die "failed: ${failed[*]}"
