#!/usr/bin/env bash
# The program built without MPI runs a whole sweep as one rank: plan, runs, aggregates.
# usage: sweep_without_mpi.sh QSWEEP
set -euo pipefail
# shellcheck source=tests/checks/sanitized.sh
source "$(dirname "${BASH_SOURCE[0]}")/sanitized.sh"

need "$1"
if [[ $(ldd "$1") == *libmpi* ]]; then
  echo "$1 is linked with MPI (this test is about the build without it)" >&2
  exit 1
fi
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
"$1" configs/synthetic.yaml --out "$out" --run-tag one
sweep=$(find "$out" -name sweep.h5)
[[ -s $sweep ]] || { echo "the sweep left no sweep.h5 in $out" >&2; exit 1; }
