#!/usr/bin/env bash
# Stages a study on the login node, says what it will cost, and submits the sweep with the reducer behind it.
#
#   jobs/submit.sh STUDY.yaml [options] [-- qsweep options]
#     --site NAME        settings of env/sites/NAME.sh (default: the site whose hosts= match this machine, else generic)
#     --with KEY=VALUE   another value for one setting of the site, e.g. --with nodes=4 --with time=12:00:00
#     --array N          N independent tasks (jobs/array.sbatch) instead of one MPI job
#     --run-tag TAG      name of the run folder (default: UTC time); an existing one is resumed
#     --out DIR          parent of run folders (default data/runs)
#     --dry-run          print the plan, the batch files and the sbatch commands; stage and submit nothing
#     --options          print the site's options for sbatch on one line and stop:
#                        sbatch $(jobs/submit.sh --options) jobs/sweep.sbatch STUDY.yaml
#
# On a site without a scheduler (scheduler=none) sweep and reducer run here, one after the other.
# Exit code: 0 submitted; 2 wrong usage, site or study; else of the step that failed.
set -euo pipefail

root=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=jobs/lib/render.sh
source "$root/jobs/lib/render.sh"

fail() {
  echo "submit: $*" >&2
  exit 2
}

# A path goes into file names, into sbatch's own patterns and onto command lines: all may hold spaces and quotes,
# none needs a control character or a backslash.
check_path() {
  [[ ! $2 =~ [[:cntrl:]\\] ]] || fail "$1 ${2@Q} holds a control character or a backslash; rename it"
}

parse() {
  study="" wanted_site="" tasks="" tag="" out=data/runs dry_run=no only_options=no
  with=() extra=()
  while (($#)); do
    case $1 in
      --site | --with | --array | --run-tag | --out)
        (($# >= 2)) || fail "$1 needs a value"
        case $1 in
          --site) wanted_site=$2 ;;
          --with) with+=("$2") ;;
          --array) tasks=$2 ;;
          --run-tag) tag=$2 ;;
          --out) out=$2 ;;
        esac
        shift
        ;;
      --dry-run) dry_run=yes ;;
      --options) only_options=yes ;;
      -h | --help)
        sed -n '2,16s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
        exit 0
        ;;
      --)
        extra=("${@:2}")
        break
        ;;
      -*) fail "unknown option ${1@Q} (see --help; qsweep's own options come after --)" ;;
      *)
        [[ -z $study ]] || fail "one study at a time, not ${study@Q} and ${1@Q}"
        study=$1
        ;;
    esac
    shift
  done
}

check_arguments() {
  local LC_ALL=C word
  [[ -z $tasks || $tasks =~ ^[1-9][0-9]{0,4}$ ]] || fail "--array takes a number of tasks, not ${tasks@Q}"
  [[ -n $study ]] || fail "which study? see --help"
  check_path "the study" "$study"
  check_path "--out" "$out"
  check_path "the project's folder" "$root"
  [[ -f $study ]] || fail "no study ${study@Q} here"
  study=$(realpath -- "$study")
  out=$(realpath -m -- "$out")
  check_path "the study" "$study"
  check_path "--out" "$out"
  [[ -n $tag ]] || tag=$(date -u +%Y%m%dT%H%M%SZ)
  [[ $tag =~ ^[A-Za-z0-9_+][A-Za-z0-9._+-]{0,119}$ ]] ||
    fail "--run-tag ${tag@Q} cannot be a folder's name (letters, digits, '.', '_', '+', '-')"
  for word in "${extra[@]}"; do
    [[ ! $word =~ [[:cntrl:]] ]] || fail "the option ${word@Q} holds a control character"
    case $word in
      --part | --part=* | --prep-only | --plan | --reduce-only | --run-tag | --run-tag=* | --out | --out=* | \
        --backend | --backend=*) fail "$word is submit's business (see --help; the backend is the site's)" ;;
    esac
  done
}

load_site() {
  local pair
  site_load "${QSWEEP_SITES:-$root/env/sites}" "$wanted_site" || exit 2
  for pair in "${with[@]}"; do
    [[ $pair == *=* ]] || fail "--with takes KEY=VALUE, not ${pair@Q}"
    site_set "--with" "${pair%%=*}" "${pair#*=}"
  done
  site_finish || exit 2
  ranks=${tasks:-$((site[nodes] * site[ranks_per_node]))}
}

# Fills `program` with what runs on this machine. Enroot's plugin works inside srun alone: an own build stages there.
find_program() {
  local mount mounts=()
  program=("$(site_program "$root")")
  case ${site[container]} in
    enroot) program=("$root/build/bin/qsweep") ;;
    apptainer)
      command -v apptainer >/dev/null || fail "no apptainer here (container=apptainer of the site $site_name)"
      # A folder that is not there cannot be mounted; a dry run makes none.
      [[ $dry_run == yes ]] || mkdir -p -- "$out"
      mapfile -t mounts < <(site_mounts "$root" "$study" --out "$out")
      ((${#mounts[@]})) || exit 2
      [[ -d $out ]] || mapfile -t mounts < <(printf '%s\n' "${mounts[@]}" | grep -vxF -- "$out")
      program=(apptainer exec)
      for mount in "${mounts[@]}"; do program+=(--bind "$mount"); done
      program+=(--pwd "$root" "${site[image]}" "$(site_program "$root")")
      ;;
  esac
  [[ ${site[container]} == apptainer || -x ${program[0]} ]] ||
    fail "${program[0]} is missing; build it first: env/README.md"
}

# The plan for as many ranks as the job will have, and its cost beside the time limit.
print_plan() {
  local rates=() plan status=0
  [[ -z ${site[flops]} ]] || rates+=(--flops "${site[flops]}")
  [[ -z ${site[bandwidth]} ]] || rates+=(--bandwidth "${site[bandwidth]}")
  plan=$("${program[@]}" "$study" --plan --ranks "$ranks" --time-limit "${site[time]}" --backend "${site[backend]}" \
    "${rates[@]}" "${extra[@]}") || status=$?
  printf '%s\n' "$plan"
  ((status == 0)) || exit "$status"
  study_name=$(sed -n '1s/^study //p' <<<"$plan")
  [[ $study_name =~ ^[A-Za-z0-9._+-]{1,120}$ ]] || fail "the plan names no study (is ${program[*]} this version?)"
  run_folder=$out/$study_name/$tag
}

# Everything that the compute nodes will need is fetched and written now.
stage() {
  local log status=0
  echo "== staging on $(hostname -s)"
  log=$(mktemp)
  "${program[@]}" "$study" --prep-only --run-tag "$tag" --out "$out" --backend "${site[backend]}" "${extra[@]}" >"$log" || status=$?
  # Of its output the plan is left out: it comes next, for the job's ranks.
  if ((status != 0)); then cat "$log"; else sed -n '/^staged: /p' "$log"; fi
  rm -f "$log"
  ((status == 0)) || exit "$status"
}

render_all() {
  local study_words=("$study" --run-tag "$tag" --out "$out")
  sweep_text=$(render "$root" "$kind" "$study_name" "$run_folder" "$tasks" "${study_words[@]}" \
    --backend "${site[backend]}" "${extra[@]}")
  reduce_text=$(render "$root" reduce "$study_name" "$run_folder" "" "${study_words[@]}" "${extra[@]}")
}

# sbatch_command FILE LOG [OPTION...]: fills `command`. In sbatch's patterns % stands for something else.
sbatch_command() {
  command=(sbatch --parsable "--chdir=$root" "--output=${run_folder//%/%%}/logs/$2" "${@:3}" "$1")
}

show() {
  printf '%q ' "$@"
  echo
}

print_dry_run() {
  local batch_file
  for batch_file in "$kind" reduce; do
    echo "== $run_folder/jobs/$batch_file.sbatch"
    if [[ $batch_file == reduce ]]; then printf '%s\n' "$reduce_text"; else printf '%s\n' "$sweep_text"; fi
  done
  [[ ${site[scheduler]} == slurm ]] || return 0
  echo "== commands"
  sbatch_command "$run_folder/jobs/$kind.sbatch" "$log_pattern"
  show "${command[@]}"
  sbatch_command "$run_folder/jobs/reduce.sbatch" slurm-%j-reduce.log --kill-on-invalid-dep=yes --dependency=afterok:SWEEP
  show "${command[@]}"
}

write_batch_files() {
  mkdir -p "$run_folder/jobs" "$run_folder/logs"
  printf '%s\n' "$sweep_text" >"$run_folder/jobs/$kind.sbatch"
  printf '%s\n' "$reduce_text" >"$run_folder/jobs/reduce.sbatch"
}

# submit_one COMMAND...: prints the job's number.
submit_one() {
  local answer
  answer=$("$@") || fail "sbatch refused (see above); the study is staged, submit it again with --run-tag $tag"
  answer=${answer%%;*}
  [[ $answer =~ ^[0-9]+$ ]] || fail "sbatch answered ${answer@Q} instead of a job's number"
  echo "$answer"
}

submit_both() {
  local sweep_job reduce_job
  command -v sbatch >/dev/null || fail "no sbatch here (is this a login node?) or choose a site with scheduler=none"
  sbatch_command "$run_folder/jobs/$kind.sbatch" "$log_pattern"
  sweep_job=$(submit_one "${command[@]}")
  sbatch_command "$run_folder/jobs/reduce.sbatch" slurm-%j-reduce.log --kill-on-invalid-dep=yes \
    "--dependency=afterok:$sweep_job"
  reduce_job=$(submit_one "${command[@]}")
  cat <<TEXT
== submitted
sweep:      job $sweep_job ($kind)
reduce:     job $reduce_job, when the sweep is done
run folder: $run_folder
watch:      squeue -j $sweep_job,$reduce_job
            $(printf '%q ' "${program[@]}" status "$run_folder")
            tail -F $(printf %q "$run_folder/logs")/slurm-$sweep_job*.log
at the end: $run_folder/report/report.html
go on:      the same command with --run-tag $tag, if the sweep ends early for good
TEXT
}

run_here() {
  local status=0
  bash "$run_folder/jobs/$kind.sbatch" || status=$?
  # Some runs failed: the others still have a report.
  ((status == 0 || status == 4)) || exit "$status"
  bash "$run_folder/jobs/reduce.sbatch" || status=$?
  exit "$status"
}

main() {
  parse "$@"
  if [[ $only_options == yes ]]; then
    load_site
    tasks=1 render_options sweep "${study:-study}" 1 | sed -n '/job-name/d; s/^#SBATCH //p' | paste -sd' ' -
    exit 0
  fi
  check_arguments
  load_site
  kind=sweep log_pattern=slurm-%j.log
  [[ -z $tasks ]] || kind=array log_pattern=slurm-%A_%a.log
  [[ -z $tasks || ${site[scheduler]} == slurm ]] || fail "--array needs a scheduler"
  echo "site: $site_name"
  find_program
  if [[ $dry_run == yes ]]; then
    print_plan
    render_all
    print_dry_run
    exit 0
  fi
  stage
  print_plan
  render_all
  write_batch_files
  if [[ ${site[scheduler]} == none ]]; then run_here; fi
  submit_both
}

main "$@"
