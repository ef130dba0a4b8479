#!/usr/bin/env bash
# Runs the fuzzers of preset `fuzz` from their corpora and prints, for each target, executions and findings.
#
#   tests/fuzz/run.sh                          every target for 10 seconds
#   tests/fuzz/run.sh --executions 1000000     every target that often
#   tests/fuzz/run.sh --seconds 60 --seed 7 tokenizer study
#   tests/fuzz/run.sh --grow --executions N    keep in tests/fuzz/corpus the few inputs that cover more
#
# A finding ends its target; the input lies in build-fuzz/findings and is told. Exit 1 if there is any.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=tests/checks/sanitized.sh
source "$here/../checks/sanitized.sh"

# Half the time would go into traces of allocations and a stack of its own for every call.
ASAN_OPTIONS+=:detect_stack_use_after_return=0:malloc_context_size=6:quarantine_size_mb=16

build=$root/build-fuzz executions=0 seconds=0 seed=1 grow=no targets=()
readonly memory_mb=2048     # a reader that takes more for a small file is a finding
readonly input_seconds=10   # and so is one that thinks longer (sanitized code is slow, machines are shared)
readonly input_bytes=8192
readonly kept_bytes=1024     # of an input that is kept

die() {
  echo "fuzz: $*" >&2
  exit 1
}

parse() {
  while (($#)); do
    case $1 in
      --executions | --seconds | --seed)
        [[ ${2:-} =~ ^[0-9]+$ ]] || die "$1 needs a whole number (found '${2:-}') see the head of this script"
        printf -v "${1#--}" '%s' "$2"
        shift
        ;;
      --grow) grow=yes ;;
      -*) die "unknown option '$1' (known: --executions --seconds --seed --grow) see the head of this script" ;;
      *) targets+=("$1") ;;
    esac
    shift
  done
  if ((${#targets[@]} == 0)); then
    local source
    for source in "$here"/*_fuzz.cpp; do targets+=("$(basename "${source%_fuzz.cpp}")"); done
  fi
  ((executions || seconds)) || seconds=10
}

# The words of the target's language, where it has one.
dictionary() {
  local file
  case $1 in
    safetensors | config | tokenizer) file=json ;;
    *) file=$1 ;;
  esac
  if [[ -f $here/$file.dict ]]; then echo "-dict=$here/$file.dict"; fi
}

# fuzz TARGET SCRATCH: prints one line; fails on a finding.
fuzz() {
  local target=$1 scratch=$2 status=0 log=$2/$1.log limits=() new=$2/new/$1 start=$SECONDS
  local program=$build/tests/fuzz/fuzz_$target
  mkdir -p "$new" "$here/corpus/$target" "$build/findings"
  ((executions)) && limits+=("-runs=$executions")
  ((seconds)) && limits+=("-max_total_time=$seconds")
  # shellcheck disable=SC2046 # no dictionary, no word
  (cd "$scratch" && "$program" "${limits[@]}" -seed="$seed" -max_len=$input_bytes -timeout=$input_seconds -rss_limit_mb=$memory_mb \
    -artifact_prefix="$build/findings/$target-" -print_final_stats=1 $(dictionary "$target") \
    "$new" "$here/corpus/$target" "$scratch/seeds/$target") >"$log" 2>&1 || status=$?
  local count
  count=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  printf '%-12s %10s executions in %5d s, %s\n' "$target" "${count:-?}" $((SECONDS - start)) \
    "$( ((status)) && echo "A FINDING" || echo "no finding")"
  if ((status)); then
    grep -E -A12 'ERROR|broken promise|Test unit written' "$log" | head -n 60 >&2
    return 1
  fi
  if [[ $grow == yes ]]; then keep_new "$target" "$scratch"; fi
}

# Keeps of the inputs found the few that reach lines which seeds and corpus do not. How often a line is reached does not
# count, and the inputs are short: a corpus in git has to stay small.
keep_new() {
  local target=$1 seeds=$2/seeds/$1 kept=$2/kept/$1 file
  mkdir -p "$kept"
  cp "$seeds"/* "$kept"
  find "$here/corpus/$target" -type f -exec cp -t "$kept" {} +
  "$build/tests/fuzz/fuzz_$target" -set_cover_merge=1 -use_counters=0 -max_len=$kept_bytes "$kept" "$2/new/$target" >>"$2/$target.log" 2>&1
  for file in "$seeds"/*; do rm "$kept/$(basename "$file")"; done
  find "$kept" -type f -exec cp -t "$here/corpus/$target" {} +
}

main() {
  parse "$@"
  local scratch target failed=0
  scratch=$(mktemp -d)
  # shellcheck disable=SC2064 # the folder is known now
  trap "rm -rf '$scratch'" EXIT
  python3 "$here/seeds.py" "$scratch/seeds"
  for target in "${targets[@]}"; do
    [[ -f $here/${target}_fuzz.cpp ]] || die "no target '$target' (there is no ${target}_fuzz.cpp)"
    need "$build/tests/fuzz/fuzz_$target"
    fuzz "$target" "$scratch" || failed=1
  done
  return $failed
}

main "$@"
