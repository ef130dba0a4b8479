# shellcheck shell=bash
# Sourced: builds as many files at once as cores and memory allow, and times the steps of a script.

# One compilation of a file with heavy headers takes up to this much.
readonly compile_memory_kib=1200000

build_jobs() {
  local by_memory cores
  cores=$(nproc)
  by_memory=$(($(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo) / compile_memory_kib))
  ((by_memory >= 1)) || by_memory=1
  echo $((cores < by_memory ? cores : by_memory))
}

# configure PRESET FOLDER [cmake options...]: from scratch where the folder was configured for another place.
configure() {
  local preset=$1 folder=$2 fresh=()
  shift 2
  if [[ -f $folder/CMakeCache.txt ]] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$PWD" "$folder/CMakeCache.txt"; then
    fresh=(--fresh)
  fi
  cmake --preset "$preset" "${fresh[@]}" "$@"
}

step_times=()

# step NAME COMMAND...: runs it and notes its seconds; its failure is the caller's.
step() {
  local name=$1 start=$SECONDS status=0
  shift
  echo "== $name"
  "$@" || status=$?
  step_times+=("$(printf '%6d s  %s' $((SECONDS - start)) "$name")")
  return "$status"
}

print_step_times() {
  printf '%s\n' "${step_times[@]}" "$(printf '%6d s  in all' "$SECONDS")"
}
