# shellcheck shell=bash
# Sourced: makes a batch file for one study on one site out of jobs/KIND.sbatch. The lines above the template's mark
# are replaced by the site's options and by the settings, each quoted; what is below it stays as it is.

# shellcheck source=jobs/lib/site.sh
source "$(dirname "${BASH_SOURCE[0]}")/site.sh"

readonly render_mark='# --- the same in every batch file from here on ---'
# What a running job asks for; the rest of a site's settings is in sbatch's options.
readonly render_settings='ranks_per_node gpus_per_node requeues launcher modules environment container image mounts
  program backend'

# option NAME VALUE: one line for sbatch, none where the value is empty. Values matched their patterns.
option() {
  [[ -z $2 ]] || printf '#SBATCH --%s=%s\n' "$1" "$2"
}

gres_text() {
  local count=$1
  ((count > 0)) || return 0
  echo "gpu${site[gpu_type]:+:${site[gpu_type]}}:$count"
}

# Options of any job of this site; the caller adds the shape.
render_common() {
  local name=$1 partition=$2 limit=$3
  option job-name "$name"
  option account "${site[account]}"
  option partition "$partition"
  option qos "${site[qos]}"
  option reservation "${site[reservation]}"
  option time "$limit"
}

render_restartable() {
  option constraint "${site[constraint]}"
  option signal "B:USR1@${site[signal_seconds]}"
  option open-mode append
  echo '#SBATCH --requeue'
}

render_options() {
  local kind=$1 study=$2 tasks=$3
  case $kind in
    sweep)
      render_common "qsweep-$study" "${site[partition]}" "${site[time]}"
      option nodes "${site[nodes]}"
      option ntasks-per-node "${site[ranks_per_node]}"
      option cpus-per-task "${site[cpus_per_rank]}"
      option gres "$(gres_text "${site[gpus_per_node]}")"
      option mem "${site[memory_per_node]}"
      [[ ${site[exclusive]} == no ]] || echo '#SBATCH --exclusive'
      render_restartable
      ;;
    array)
      render_common "qsweep-$study" "${site[partition]}" "${site[time]}"
      option array "1-$tasks${site[array_limit]:+%${site[array_limit]}}"
      option nodes 1
      option ntasks 1
      option cpus-per-task "${site[cpus_per_rank]}"
      option gres "$(gres_text $((site[gpus_per_node] > 0 ? 1 : 0)))"
      render_restartable
      ;;
    reduce)
      render_common "qsweep-reduce-$study" "${site[reduce_partition]:-${site[partition]}}" "${site[reduce_time]}"
      option nodes 1
      option ntasks 1
      ;;
  esac
}

# render ROOT KIND STUDY_NAME RUN_FOLDER TASKS WORD...: prints the batch file; the words are what qsweep gets.
render() {
  local root=$1 kind=$2 study=$3 run_folder=$4 tasks=$5 key
  shift 5
  echo '#!/usr/bin/env bash'
  echo "# Made by jobs/submit.sh from jobs/$kind.sbatch for the site $site_name."
  render_options "$kind" "$study" "$tasks"
  echo 'set -euo pipefail'
  printf 'root=%s\n' "${root@Q}"
  echo '# shellcheck disable=SC2016 # a dollar in a name is no more than that'
  continued 'set --'
  for key in $render_settings; do
    [[ -z ${site[$key]} ]] || continued "  $(quoted "$key=${site[$key]}")"
  done
  continued "  $(quoted "run_folder=$run_folder")"
  [[ $kind == reduce ]] || continued "  'reduce_follows=yes'"
  [[ $kind != array ]] || continued "  'parts=$tasks'"
  printf '  --'
  local word
  for word in "$@"; do printf ' %s' "$(quoted "$word")"; done
  printf '\n'
  sed "1,/^$render_mark\$/d" "$root/jobs/$kind.sbatch"
}

# A line that goes on with the next one.
continued() {
  printf '%s %s\n' "$1" \\
}

# In single quotes, whatever is in it.
quoted() {
  printf '%s' "${1@Q}"
}
