#!/usr/bin/env bash
# Everything that needs a GPU, in one command on a machine that has one: builds the CUDA backend, runs
# the tests labelled gpu, the op tests and a short sweep under compute-sanitizer, a sweep of the
# miniatures (on several GPUs also by broadcast), the benchmarks, and other engines beside them; ends
# with their tables. Fails where a test fails; what is missing is said aloud.
#
#   tests/device.sh [--no-sanitizer] [--no-bench] [--no-peers] [--shapes "phi-3.5-mini llama-3.2-1b"]
#                   [--binaries DIR | --prefix DIR... -DNAME=VALUE...]
#
# --binaries DIR   runs what tests/device_pack.sh packed elsewhere and builds nothing
# --prefix DIR     more headers and libraries to build with: an install prefix, or unpacked Debian packages;
#                  CMAKE_PREFIX_PATH and the like of the environment count too; -DNAME=VALUE goes to CMake
# Folders: $QSWEEP_DEVICE_BUILD (build-cuda), $QSWEEP_DEVICE_MODELS (in the build folder).
# shellcheck disable=SC2317 # the functions are called through step
set -euo pipefail

cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=env/build.sh
source env/build.sh
# shellcheck source=env/mpi.sh
source env/mpi.sh

build=${QSWEEP_DEVICE_BUILD:-build-cuda}
models=${QSWEEP_DEVICE_MODELS:-$build/models}
programs=$build
shapes="phi-3.5-mini llama-3.2-1b"
sanitizer="yes" bench="yes" peers="yes" binaries=""
definitions=()

readonly skipped=77 # exit code of a test that could not run here

die() {
  echo "tests/device.sh: $*" >&2
  exit 1
}

# add_to NAME FOLDER: puts an existing folder in front of a path variable.
add_to() {
  [[ -d $2 ]] || return 0
  export "$1=$2${!1:+:${!1}}"
}

add_prefix() {
  local root libraries
  [[ -d $1 ]] || die "--prefix: no folder '$1'"
  for root in "$(realpath "$1")" "$(realpath "$1")/usr"; do
    add_to CMAKE_PREFIX_PATH "$root"
    add_to CPATH "$root/include"
    for libraries in "$root/lib" "$root/lib/$(uname -m)-linux-gnu"; do
      add_to LIBRARY_PATH "$libraries"
      add_to LD_LIBRARY_PATH "$libraries"
      add_to PKG_CONFIG_PATH "$libraries/pkgconfig"
    done
  done
}

while (($#)); do
  case $1 in
    --no-sanitizer) sanitizer="no" ;;
    --no-bench) bench="no" ;;
    --no-peers) peers="no" ;;
    --shapes)
      shapes=${2:?--shapes needs names}
      shift
      ;;
    --binaries)
      binaries=${2:?--binaries needs a folder}
      shift
      ;;
    --prefix)
      add_prefix "${2:?--prefix needs a folder}"
      shift
      ;;
    -D*) definitions+=("$1") ;;
    -h | --help)
      sed -n '2,15s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    *) die "unknown option '$1' see --help" ;;
  esac
  shift
done

build_all() {
  configure cuda "$build" -B "$build" -DQSWEEP_TESTS=ON "${definitions[@]}" >/dev/null &&
    cmake --build "$build" -j "$(build_jobs)" --target qsweep test_gpu gpu_bench mpi_gpu_group_test
}

# cuBLAS and NCCL, where the toolkit or PyTorch's wheels have them.
add_cuda_libraries() {
  local packages folder
  packages=$(python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))' 2>/dev/null || true)
  for folder in "$packages"/nvidia/*/lib /usr/local/cuda*/targets/*/lib /usr/local/cuda*/lib*; do
    if compgen -G "$folder/libcublas.so.*" >/dev/null || compgen -G "$folder/libnccl.so.*" >/dev/null; then
      add_to LD_LIBRARY_PATH "$folder"
    fi
  done
}

# Of the packed libraries only those that this machine lacks: its own belong together.
use_binaries() {
  local program library again="yes" lacking="$build/lacking"
  programs=$(realpath "$binaries")
  for program in bin/qsweep tests/test_gpu tests/gpu_bench tests/mpi_gpu_group_test; do
    [[ -x $programs/$program ]] || die "$binaries has no $program (pack it with tests/device_pack.sh)"
  done
  export QSWEEP_SOURCE_DIR=$PWD
  mkdir -p "$lacking"
  add_cuda_libraries
  add_to LD_LIBRARY_PATH "$(realpath "$lacking")"
  while [[ $again == yes ]]; do
    again="no"
    while read -r library; do
      [[ -f $programs/lib/$library && ! -e $lacking/$library ]] || continue
      ln -s "$programs/lib/$library" "$lacking/$library"
      again="yes" # it may need others
    done < <(ldd "$programs"/bin/qsweep "$programs"/tests/* 2>/dev/null | awk '/not found/ {print $1}' | sort -u)
  done
  ldd "$programs"/bin/qsweep "$programs"/tests/* | awk '/not found/ {print "missing: " $1; bad = 1} END {exit bad}'
}

# may_skip COMMAND...: a test that says it cannot run here is no failure.
may_skip() {
  local status=0
  "$@" || status=$?
  ((status == skipped)) || return "$status"
}

gpu_tests() {
  "$programs/tests/test_gpu"
}

out_of_memory() {
  may_skip python3 tests/e2e/out_of_memory_test.py --qsweep "$programs/bin/qsweep" --backend cuda
}

# sanitize TOOL COMMAND...
sanitize() {
  local tool=$1
  shift
  compute-sanitizer --tool "$tool" --error-exitcode 1 --print-limit 20 "$@"
}

# Every access in bounds, no race in shared memory, nothing read before it was written. Of the tests all ops once; of
# linears and quantization the forms that differ in code, not every codec; whole models would take an hour there.
# The last two tools only where nothing is left to cuBLAS: racecheck dies of some of its kernels, and initcheck does not
# see what others of them write. In every sweep the canary's rows go there.
# The tools run beside each other, as none of them asks what time things take; each one's output follows.
sanitized_op_tests() {
  local tool filter failures=0
  local -A running
  for tool in memcheck racecheck initcheck; do
    filter=$own_tests
    if [[ $tool == memcheck ]]; then filter+=":$cublas_tests:$long_tests"; fi
    sanitize "$tool" "$programs/tests/test_gpu" --gtest_brief=1 --gtest_filter="$filter" >"$build/$tool.log" 2>&1 &
    running[$tool]=$!
  done
  for tool in memcheck racecheck initcheck; do
    wait "${running[$tool]}" || failures=1
    echo "-- $tool"
    cat "$build/$tool.log"
  done
  return "$failures"
}
own_tests="RmsNormGpu.*:SiluMulGpu.*:ResidualGpu.*:EmbeddingGpu.*:HeadsGpu.*:RopeGpu.*:AttendGpu.*:FlashGpu.Matches*"
own_tests+=":LogitsGpu.*:TokenScoresGpu.*:LinearGpu.OnePassTakes*:LinearGpu.OneRow*:LinearGpu.WritesOnly*"
own_tests+=":TilesGpu.TakeLong*:TilesGpu.Go*:LinearsGpu.Tiles*:LinearsGpu.OneRow*:ActivationsGpu.Op*"
own_tests+=":QuantizeGpu.*ShapeAndSource:QuantizeGpu.Double*:QuantizeGpu.Errors*:QuantizeGpu.Refuses*"
cublas_tests="AttentionGpu.*:FlashGpu.Leaves*:LinearGpu.ManyRows*:LinearsGpu.*:ManyRowsGpu.*:DequantizeGpu.*"
cublas_tests+=":ActivationsGpu.TakeAny*:ActivationsGpu.RoundWhat*:ActivationsGpu.LinearsStand*"
long_tests="LinearGpu.OnePassGoes*" # memcheck alone

sanitized_sweep() {
  rm -rf "$build/runs/short_sweep"
  sanitize memcheck "$programs/bin/qsweep" tests/gpu/short_sweep.yaml --backend cuda --out "$build/runs"
}

sweep() {
  rm -rf "$build/runs/quickstart/device"
  "$programs/bin/qsweep" configs/quickstart.yaml --backend cuda --out "$build/runs" --run-tag device \
    --set repeats=1
}

gpus() {
  nvidia-smi --query-gpu=uuid --format=csv,noheader 2>/dev/null | wc -l
}

# On every number of GPUs that is a power of two: hand weights on, then sweep.
several_gpus() {
  local ranks
  for ((ranks = 2; ranks <= $(gpus); ranks *= 2)); do
    if ((ranks == 2)); then
      may_skip mpirun -n 2 "$programs/tests/mpi_gpu_group_test" || return
    fi
    rm -rf "$build/runs/quickstart/device-$ranks"
    mpirun -n "$ranks" "$programs/bin/qsweep" configs/quickstart.yaml --backend cuda --load broadcast \
      --out "$build/runs" --run-tag "device-$ranks" --set repeats=1 || return
    grep -h "GB/s" "$build/runs/quickstart/device-$ranks"/logs/*.log
  done
}

make_models() {
  local shape
  for shape in $shapes; do
    [[ -f $models/$shape/config.json ]] ||
      "$programs/bin/qsweep" make-model --shape "$shape" --out "$models/$shape" || return
  done
}

benchmarks() {
  "$programs/tests/gpu_bench" --json "$build/gpu_bench.json" "${folders[@]}"
}

time_peers() {
  python3 tests/bench/peers/peers.py --qsweep-json "$build/gpu_bench.json" --json "$build/peers.json" \
    "${folders[@]}"
}

failed=()
# part NAME COMMAND...: goes on after a failure, so that one run tells everything.
part() {
  step "$@" || failed+=("$1")
}

folders=()
for shape in $shapes; do folders+=("$models/$shape"); done

if [[ -n $binaries ]]; then
  step "binaries" use_binaries || die "the binaries of $binaries do not run here (see above)"
else
  step "build" build_all || die "the build failed (see above)"
fi
part "tests with label gpu" gpu_tests
part "out of memory" out_of_memory
if [[ $sanitizer == yes ]]; then
  if command -v compute-sanitizer >/dev/null; then
    part "compute-sanitizer, op tests" sanitized_op_tests
    part "compute-sanitizer, short sweep" sanitized_sweep
  else
    echo "skipped: compute-sanitizer is not in PATH"
  fi
fi
part "sweep of the miniatures" sweep
if (($(gpus) < 2)) || ! command -v mpirun >/dev/null; then
  echo "skipped: sweeps on several GPUs need two and mpirun"
else
  part "several GPUs" several_gpus
fi
if [[ $bench == yes ]]; then
  part "models" make_models
  part "benchmarks" benchmarks
  if [[ $peers == yes ]]; then
    if python3 -c "import torch, transformers" 2>/dev/null; then
      part "peers" time_peers
    else
      echo "skipped: peers need PyTorch and transformers"
    fi
  fi
fi
print_step_times
((${#failed[@]} == 0)) || die "failed: ${failed[*]}"
