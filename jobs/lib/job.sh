# shellcheck shell=bash
# Sourced by the batch files: what happens inside a job. Starts qsweep as the site wants it, hands signals on to it,
# and puts the job back into the queue where another life of it would get further.
#
# Exit code: qsweep's own (README.md). Requeued are 75 (interrupted) and codes of processes that were killed, a
# bounded number of times, and not where the last two lives ended no run; never 1, 2, 3, nor a cancelled job.

# A life may end without a run's end once (it started late, its node was lost), not twice.
readonly barren_lives=2
# mpirun's code for a node it has lost touch with.
readonly lost_node=205

say() {
  echo "job: $*"
}

fail() {
  echo "job: $*" >&2
  exit 2
}

# job_main KIND ROOT KEY=VALUE... -- STUDY [qsweep options]
job_main() {
  kind=$1 root=$2 child="" signalled=no
  shift 2
  trap on_signal USR1 TERM INT
  [[ -f $root/jobs/lib/site.sh ]] || fail "${root@Q} is not the project's root; set QSWEEP_ROOT"
  # shellcheck source=jobs/lib/site.sh
  source "$root/jobs/lib/site.sh"
  cd "$root"
  job_settings "$@"
  job_environment
  job_folder
  case $kind in
    sweep) job_sweep ;;
    array) job_array ;;
    reduce) job_reduce ;;
  esac
}

# Fills `site`, `parts`, `run_folder`, `reduce_follows` and `words` (the study and qsweep's options).
job_settings() {
  local word
  parts="" reduce_follows=no run_folder=""
  if [[ ${1:-} == -- ]]; then
    site_load "${QSWEEP_SITES:-$root/env/sites}" "${QSWEEP_SITE:-}" || exit 2
  else
    site_init
    while (($#)) && [[ $1 != -- ]]; do
      case $1 in
        parts=*) parts=${1#parts=} ;;
        run_folder=*) run_folder=${1#run_folder=} ;;
        reduce_follows=yes) reduce_follows=yes ;;
        *) site_set "batch file" "${1%%=*}" "${1#*=}" ;;
      esac
      shift
    done
  fi
  site_finish || exit 2
  (($# >= 2)) || fail "which study? usage: sbatch jobs/$kind.sbatch STUDY.yaml [qsweep options]"
  words=("${@:2}")
  for word in "${words[@]}"; do
    case $word in
      --part | --part=* | --prep-only | --plan | --reduce-only) fail "$word is the batch file's business" ;;
    esac
  done
}

# `module` and what it runs were not written for strict shells.
load_modules() {
  local name
  set +eu
  # Batch shells have no `module` where /etc/profile.d is not read.
  # shellcheck source=/dev/null
  type module >/dev/null 2>&1 || source /etc/profile
  type module >/dev/null 2>&1 || fail "modules are set, but there is no 'module' command here"
  for name in ${site[modules]}; do
    module load "$name" || fail "module load $name failed (see above)"
  done
  set -eu
}

job_environment() {
  local assignment
  [[ -z ${site[modules]} ]] || load_modules
  # shellcheck source=env/mpi.sh
  source "$root/env/mpi.sh"
  for assignment in ${site[environment]}; do export "${assignment?}"; done
  # Everything was staged on the login node; nothing here needs the network.
  export HF_HUB_OFFLINE=1
  if [[ -n ${SLURM_CPUS_PER_TASK:-} ]]; then
    export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
  fi
  job_end_time
  program=$(site_program "$root")
  job_container
}

# Slurm before 22.05 does not say when the job ends.
job_end_time() {
  local end
  [[ ${SLURM_JOB_ID:-} =~ ^[0-9]+$ && -z ${SLURM_JOB_END_TIME:-} ]] || return 0
  end=$(scontrol show job -o "$SLURM_JOB_ID" 2>/dev/null | grep -o ' EndTime=[^ ]*' | cut -d= -f2) || return 0
  end=$(date -d "$end" +%s 2>/dev/null) || return 0
  export SLURM_JOB_END_TIME=$end
}

# `inside`: words before the program; `step_options`: options of srun where its plugin starts the container.
job_container() {
  local mount mounts=()
  inside=() step_options=()
  if [[ ${site[container]} == none ]]; then
    [[ -x $program ]] || fail "$program is missing; build it first: env/README.md"
    return 0
  fi
  mapfile -t mounts < <(site_mounts "$root" "${words[@]}") || exit 2
  ((${#mounts[@]})) || exit 2
  if [[ ${site[container]} == apptainer ]]; then
    inside=(apptainer exec)
    ((site[gpus_per_node] == 0)) || inside+=(--nv)
    for mount in "${mounts[@]}"; do inside+=(--bind "$mount"); done
    inside+=(--pwd "$root" "${site[image]}")
  else
    step_options=("--container-image=${site[image]}" "--container-workdir=$root")
    step_options+=("--container-mounts=$(printf '%s\n' "${mounts[@]}" | sed 's/.*/&:&/' | paste -sd, -)")
  fi
}

# The tag must be the same in every life of the job.
job_folder() {
  local number=${SLURM_ARRAY_JOB_ID:-${SLURM_JOB_ID:-}} word
  for word in "${words[@]}"; do
    case $word in --run-tag | --run-tag=*) return 0 ;; esac
  done
  [[ $kind != reduce ]] || fail "--run-tag is missing (it names the run folder to reduce)"
  [[ $number =~ ^[0-9]+$ ]] || fail "--run-tag is missing (outside Slurm nothing else names the run folder)"
  words+=(--run-tag "job-$number")
}

# --- how ranks are started

linked_to_mpi() {
  # In a container the program's libraries cannot be asked for; an image for several ranks has MPI.
  [[ ${site[container]} != none ]] || [[ $(ldd "$program") == *libmpi* ]]
}

srun_offers() {
  local offered
  offered=" $(srun --mpi=list 2>&1 | tr -s ',\n\t' '   ') " && [[ $offered == *" $1 "* ]]
}

# Prints pmix, pmi2 or mpirun.
choose_launcher() {
  if [[ ${site[launcher]} != auto ]]; then
    echo "${site[launcher]}"
  elif [[ ! ${SLURM_JOB_ID:-} =~ ^[0-9]+$ ]] || ! command -v srun >/dev/null; then
    echo mpirun
  elif srun_offers pmix; then
    echo pmix
  elif [[ ${site[container]} != enroot ]] && command -v mpirun >/dev/null; then
    echo mpirun
  elif srun_offers pmi2; then
    echo pmi2
  fi
}

# Fills `launch` with the words before the program.
job_launcher() {
  local nodes=${SLURM_JOB_NUM_NODES:-1} ranks chosen
  [[ $nodes =~ ^[1-9][0-9]{0,5}$ ]] || fail "SLURM_JOB_NUM_NODES is ${nodes@Q}"
  ranks=${SLURM_NTASKS:-$((nodes * site[ranks_per_node]))}
  [[ $ranks =~ ^[1-9][0-9]{0,6}$ ]] || fail "SLURM_NTASKS is ${ranks@Q}"
  launch=()
  if ! linked_to_mpi; then
    ((ranks == 1)) || fail "$program was built without MPI: $ranks ranks would all do the same; use jobs/array.sbatch"
    return 0
  fi
  chosen=$(choose_launcher)
  case $chosen in
    pmix | pmi2)
      launch=(srun "--mpi=$chosen" "--ntasks=$ranks" --kill-on-bad-exit=1 "${step_options[@]}")
      # Between fewer nodes than TreeWidth Slurm's other barrier, the tree, makes no node wait for another, and Open MPI
      # crashes where a rank is sent to that is still in MPI_Init.
      export SLURM_PMIX_FENCE=${SLURM_PMIX_FENCE:-ring}
      # Without a number of cores for each rank Slurm might bind it to one.
      [[ -n ${SLURM_CPUS_PER_TASK:-} ]] || launch+=(--cpu-bind=none)
      # Ranks choose their GPU by local rank; bound to one each they could not reach each other's.
      ((site[gpus_per_node] == 0)) || launch+=(--gpu-bind=none)
      ;;
    mpirun)
      command -v mpirun >/dev/null || fail "no mpirun here; set launcher= or modules= in the site file"
      launch=(mpirun -n "$ranks" --bind-to none)
      ;;
    *) fail "srun offers neither pmix nor pmi2 and there is no mpirun; set launcher= or modules= in the site file" ;;
  esac
  say "$ranks ranks on $nodes nodes by $chosen"
}

# --- signals and lives

# Handed on as USR1, which launchers pass to every rank; of TERM they make an end at once.
on_signal() {
  signalled=yes
  [[ -z $child ]] || kill -USR1 "$child" 2>/dev/null || true
}

# wait_for PROCESS: sets `status`, its exit code.
wait_for() {
  # A signal ends `wait` early, with a code of its own.
  while :; do
    status=0
    wait "$1" || status=$?
    kill -0 "$1" 2>/dev/null || break
  done
  # It may have gone just after that; then its code is still to come.
  ((status >= 0 && status <= 128)) || { status=0; wait "$1" || status=$?; }
  # Of a process that ends at the moment of a signal bash says -1: it counts as ended by that signal (USR1).
  ((status >= 0)) || status=138
}

# run_child COMMAND...: sets `code`.
run_child() {
  local status
  code=75
  [[ $signalled == no ]] || return 0
  "$@" &
  child=$!
  [[ $signalled == no ]] || on_signal  # it came between the two
  wait_for "$child"
  code=$status child=""
}

# Runs that ended so far, of this part or of the whole sweep, as the ranks' logs say.
ended_runs() {
  local logs=("$run_folder"/logs/rank-[0-9]*.log)
  [[ $kind != array ]] || logs=("$run_folder"/logs/rank-[0-9]*-"$part_index-of-$parts".log)
  [[ -e ${logs[0]} ]] || { echo 0; return; }
  cat "${logs[@]}" | grep -c ' end [0-9a-f]\{16\} ' || true
}

# Where qsweep said that the results lie, unless submit.sh said so.
find_run_folder() {
  [[ -z $run_folder ]] || return 0
  run_folder=$(sed -n 's/^run folder: *//p' "$1" | tail -n 1)
}

worth_another_life() {
  case $code in
    75 | "$lost_node") return 0 ;;
    *) ((code > 128 && code < 160)) ;;  # a signal ended it
  esac
}

# True where Slurm is ending the job: it was cancelled, and must stay so, or preempted, and Slurm queues it again
# itself. At the time limit it is ending too, and then another life is wanted.
was_ended() {
  local state
  state=$(scontrol show job -o "$SLURM_JOB_ID" 2>/dev/null) || return 1
  [[ " $state" =~ \ JobState=(CANCELLED|COMPLETING|PREEMPTED) ]] || return 1
  [[ ${SLURM_JOB_END_TIME:-} =~ ^[0-9]+$ ]] || return 0
  (($(date +%s) < SLURM_JOB_END_TIME - 1))
}

# One line for every life of this job: requeues before it, exit code, runs ended by then. Sets `barren`.
note_life() {
  local file=$run_folder/logs/job-$SLURM_JOB_ID.lives
  echo "${SLURM_RESTART_COUNT:-0} $code $(ended_runs)" >>"$file"
  barren=no
  awk -v most="$barren_lives" '
    { idle = $3 > last ? 0 : idle + 1; last = $3 } END { exit idle < most }' "$file" && barren=yes
}

# finish_or_requeue: ends the job.
finish_or_requeue() {
  if [[ $code == 4 && $reduce_follows == yes ]]; then
    # The reduce job depends on this one's success.
    say "some runs failed; the reduce job that follows says which and ends with code 4"
    exit 0
  fi
  worth_another_life || exit "$code"
  [[ ${SLURM_JOB_ID:-} =~ ^[0-9]+$ ]] || exit "$code"
  local lives=${SLURM_RESTART_COUNT:-0} barren=no
  if was_ended; then
    say "cancelled or preempted; where Slurm does not queue it again, submit it with the same --run-tag to go on"
    exit "$code"
  fi
  if [[ -d $run_folder/logs ]]; then
    note_life || true
  elif ((lives + 1 >= barren_lives)); then
    barren=yes  # it did not even get as far as to name its run folder
  fi
  if [[ $barren == yes ]]; then
    say "no run has ended in $barren_lives lives of this job, so it is not queued again" \
      "(too short a time limit for the longest run, or see the messages above)"
    exit "$code"
  fi
  if ((lives >= site[requeues])); then
    say "queued again ${site[requeues]} times already (requeues= of the site); submit it again to go on"
    exit "$code"
  fi
  say "ended with code $code; queued again ($((lives + 1)) of at most ${site[requeues]})"
  # What ends this shell now comes from the requeue itself.
  trap '' TERM
  scontrol requeue "$SLURM_JOB_ID" && exit 0
  say "this cluster does not let a job queue itself again; submit it again with the same --run-tag"
  exit "$code"
}

# told_code OUTPUT: the code that rank 0 told before anybody left, in its file or else in what it printed. srun reports
# the signal by which it ended ranks that left a moment after the first, and drops what of theirs is still on its way.
told_code() {
  local told=""
  if [[ -s $code_file ]]; then
    told=$(<"$code_file")
  elif ((code > 128 && code < 160)); then
    told=$(sed -n 's/^exit code \([0-9]\{1,3\}\)$/\1/p' "$1" | tail -n 1)
  fi
  [[ ! $told =~ ^[1-9][0-9]{0,2}$ ]] || code=$told
}

# Fills `code_file`. A name that no life had: another node's look at it may be remembered there for a while.
name_code_file() {
  code_file=$1.code
  [[ -z $run_folder || ! -d $run_folder/logs ]] ||
    code_file=$run_folder/logs/job-${SLURM_JOB_ID:-$$}-$(date +%s).code
  export QSWEEP_EXIT_CODE_FILE=$code_file
}

# run_study COMMAND...: sets `code`; with what it prints kept for the run folder's name.
run_study() {
  local log out tee_process status
  log=$(mktemp) || fail "no temporary file (is TMPDIR there?)"
  name_code_file "$log"
  # shellcheck disable=SC2064 # the names are known now
  trap "rm -f -- ${log@Q} ${code_file@Q}" EXIT
  say "$(printf '%q ' "$@")"
  # What ends the job must not end tee first: a closed pipe would kill the ranks.
  exec {out}> >(trap '' USR1 TERM INT; exec tee -- "$log")
  tee_process=$!
  run_child "$@" >&"$out"
  exec {out}>&-
  wait_for "$tee_process"
  find_run_folder "$log"
  told_code "$log"
}

job_options() {
  options=("${words[@]}")
  case " ${words[*]} " in
    *" --backend"*) ;;
    *) options+=(--backend "${site[backend]}") ;;
  esac
}

job_sweep() {
  job_options
  job_launcher
  run_study "${launch[@]}" "${inside[@]}" "$program" "${options[@]}"
  finish_or_requeue
}

job_array() {
  part_index=${SLURM_ARRAY_TASK_ID:-}
  [[ $part_index =~ ^[1-9][0-9]*$ ]] || fail "SLURM_ARRAY_TASK_ID is ${part_index@Q}; submit with --array=1-N"
  parts=${parts:-${QSWEEP_PARTS:-}}
  if [[ -z $parts ]]; then
    [[ ${SLURM_ARRAY_TASK_MIN:-} == 1 && ${SLURM_ARRAY_TASK_MAX:-} == "${SLURM_ARRAY_TASK_COUNT:-}" ]] ||
      fail "the array is not 1-N, so N is not known (a part of an array is submitted with QSWEEP_PARTS=N)"
    parts=$SLURM_ARRAY_TASK_COUNT
  fi
  [[ $parts =~ ^[1-9][0-9]{0,4}$ ]] || fail "the number of parts is ${parts@Q}"
  job_options
  launch=()
  # Only srun's plugin can start such a container.
  [[ ${site[container]} != enroot ]] || launch=(srun --ntasks=1 "${step_options[@]}")
  run_study "${launch[@]}" "${inside[@]}" "$program" "${options[@]}" --part "$part_index/$parts"
  finish_or_requeue
}

job_reduce() {
  local python status=0
  launch=()
  [[ ${site[container]} != enroot ]] || launch=(srun --ntasks=1 "${step_options[@]}")
  run_study "${launch[@]}" "${inside[@]}" "$program" "${words[@]}" --reduce-only
  if ((code != 0 && code != 4)) || [[ -z $run_folder ]]; then exit "$code"; fi
  if python=$(env/python.sh --found); then
    PYTHONPATH="$root/analysis${PYTHONPATH:+:$PYTHONPATH}" "$python" -m qsweep_analysis report "$run_folder" || status=1
  else
    say "no Python for the report here; on another machine: python3 -m qsweep_analysis report $run_folder"
  fi
  exit "$((code != 0 ? code : status))"
}
