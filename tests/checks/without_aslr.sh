#!/usr/bin/env bash
# Runs a program of ThreadSanitizer. Kernels with many random address bits put its memory where it does not expect it;
# without randomisation it runs everywhere.
# usage: without_aslr.sh PROGRAM [ARGUMENTS...]
set -euo pipefail

export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
exec setarch "$(uname -m)" -R "$@"
