#!/usr/bin/env bash
# Builds the benchmarks, runs them and prints one table: case, median time, what it reached of which ceiling, the
# target and whether it is met. Everything takes about six minutes and up to 4 GB.
#
#   tests/bench/run.sh [--json FILE] [--filter REGEX]
set -euo pipefail

cd -P "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=env/build.sh
source env/build.sh

json="" filter="."
while (($#)); do
  case $1 in
    --json) json=${2:?--json wants a file} && shift 2 ;;
    --filter) filter=${2:?--filter wants a regular expression} && shift 2 ;;
    -h | --help) sed -n '2,5s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit 0 ;;
    *) echo "tests/bench/run.sh: unknown option '$1' (known: --json --filter) see --help" >&2 && exit 2 ;;
  esac
done

{
  env/bootstrap.sh --test
  configure cpu build -DQSWEEP_BENCH=ON
  cmake --build build -j "$(build_jobs)" --target qsweep_bench
} >&2

results=${json:-$(mktemp)}
[[ -n $json ]] || trap 'rm -f "$results"' EXIT
build/bin/qsweep_bench --benchmark_filter="$filter" --benchmark_out="$results" --benchmark_out_format=json >&2
"${PYTHON:-python3}" tests/bench/table.py "$results"
