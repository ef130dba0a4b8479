# shellcheck shell=bash
# Sourced: what every program of the sanitized build needs.

# No fake stack (detect_stack_use_after_return): gcc 12 aligns it to less than the 64 bytes that it then takes an
# AVX-512 variable there to have (GCC bug 110027), and correct code dies of it.
export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=0
export UBSAN_OPTIONS=print_stacktrace=1
# Sanitized code is slow and the suite runs several programs at once.
export OMP_NUM_THREADS=1

# need PROGRAM: skips aloud where it was not built; a run that promised every check fails instead.
need() {
  [[ -x $1 ]] && return
  echo "skipped: $1 is not built (cmake --preset sanitize && cmake --build --preset sanitize)"
  [[ ${QSWEEP_REQUIRE_ALL:-0} == 1 ]] && exit 1
  exit 77
}
