#!/usr/bin/env bash
# From a fresh machine to a finished study: installs what is missing, builds, sweeps the miniature on two ranks,
# and draws the report. Options are handed to qsweep (e.g. --repeats 1).
# Exit code: qsweep's own (README.md lists them), else 1 where a step before or after it failed.
# shellcheck disable=SC2317 # the functions are called through step
set -euo pipefail

cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=env/build.sh
source env/build.sh
# shellcheck source=env/mpi.sh
source env/mpi.sh

readonly ranks=2
readonly qsweep=build/bin/qsweep
readonly log=build/quickstart.log

fail() {
  echo "quickstart: $*" >&2
  exit 1
}

build() {
  # Tests are left out only at the first configuration, so that a tree built by tests/run.sh stays as it is.
  local without_tests=()
  [[ -f build/CMakeCache.txt ]] || without_tests=(-DQSWEEP_TESTS=OFF)
  configure cpu build "${without_tests[@]}" >/dev/null &&
    cmake --build build --target qsweep -j "$(build_jobs)"
}

# Runs the study; the output goes to the terminal and to $log.
sweep() {
  local launcher=() cores
  cores=$(nproc)
  # A program built without MPI must not be started twice: each copy would think that it is rank 0.
  if command -v mpirun >/dev/null && [[ $(ldd "$qsweep") == *libmpi* ]]; then
    launcher=(mpirun -n "$ranks" --bind-to none)
    export OMP_NUM_THREADS=$((cores / ranks > 0 ? cores / ranks : 1))
  else
    export OMP_NUM_THREADS=$cores
  fi
  "${launcher[@]}" "$qsweep" configs/quickstart.yaml "$@" | tee "$log"
}

report() {
  local python
  python=$(env/python.sh) || return 1
  PYTHONPATH="$PWD/analysis${PYTHONPATH:+:$PYTHONPATH}" "$python" -m qsweep_analysis report "$1"
}

step "packages" env/bootstrap.sh --run || fail "the machine is not ready (see above)"
step "build" build || fail "the build failed (see above)"
[[ -x $qsweep ]] || fail "$qsweep is missing (the build said nothing) remove the folder build and try again"

tag=()
[[ " $* " == *" --run-tag"* ]] || tag=(--run-tag "$(date -u +%Y%m%dT%H%M%SZ)")
status=0
step "sweep" sweep "${tag[@]}" "$@" || status=$?
run_folder=$(sed -n 's/^run folder: *//p' "$log" | tail -n 1)
# 4: finished, but some runs failed; the others still have a report.
if [[ $status != 0 && $status != 4 ]] || [[ -z $run_folder ]]; then
  echo "quickstart: the sweep ended early (exit code $status; see above)" >&2
  exit "$((status == 0 ? 1 : status))"
fi

report_status=0
step "report" report "$run_folder" || report_status=$?
echo
echo "run folder: $run_folder"
if ((report_status == 0)); then
  echo "report:     $run_folder/report/report.html"
else
  echo "quickstart: no report (see above); the results are whole, draw it later with" \
    "PYTHONPATH=analysis python3 -m qsweep_analysis report $run_folder" >&2
fi
print_step_times
exit "$((status != 0 ? status : report_status))"
