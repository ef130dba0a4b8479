# shellcheck shell=bash
# Sourced: the settings of a site. A site file (env/sites/NAME.sh) is read, not run: comments and lines KEY=VALUE,
# where VALUE is a bare word, 'text' or "text" without $, `, \ and ". Every value must match its key's pattern, and
# what matches none is refused with file and line, so no value means more than itself wherever it goes from here.

# key  default ("-": empty)  pattern of the whole value
readonly site_table='
hosts             -         [][A-Za-z0-9_.*?-]+( [][A-Za-z0-9_.*?-]+)*
scheduler         slurm     slurm|none
account           -         [A-Za-z0-9_.@-]+
partition         -         [A-Za-z0-9_.,-]+
reduce_partition  -         [A-Za-z0-9_.,-]+
qos               -         [A-Za-z0-9_.-]+
reservation       -         [A-Za-z0-9_.,-]+
constraint        -         [][A-Za-z0-9_.,&|*()-]+
time              04:00:00  ([0-9]+-)?[0-9]+(:[0-9]+)?(:[0-9]+)?
reduce_time       00:30:00  ([0-9]+-)?[0-9]+(:[0-9]+)?(:[0-9]+)?
nodes             1         [1-9][0-9]{0,4}
ranks_per_node    -         [1-9][0-9]{0,2}
cpus_per_rank     -         [1-9][0-9]{0,2}
gpus_per_node     0         [0-9]{1,2}
gpu_type          -         [A-Za-z0-9_.-]+
memory_per_node   -         [0-9]+[KMGT]?
exclusive         no        yes|no
array_limit       -         [1-9][0-9]{0,4}
signal_seconds    120       [1-9][0-9]{0,3}
requeues          20        [0-9]{1,3}
launcher          auto      auto|pmix|pmi2|mpirun
modules           -         [A-Za-z0-9_.+/-]+( [A-Za-z0-9_.+/-]+)*
environment       -         [A-Za-z_][A-Za-z0-9_]*=[A-Za-z0-9_./:,@%+=^-]*( [A-Za-z_][A-Za-z0-9_]*=[A-Za-z0-9_./:,@%+=^-]*)*
container         none      none|apptainer|enroot
image             -         [A-Za-z0-9_./:@#+-]+
mounts            -         /[A-Za-z0-9_./+-]+( /[A-Za-z0-9_./+-]+)*
program           -         /[A-Za-z0-9_./+-]+
backend           -         auto|cpu|cuda
flops             -         [0-9]+(\.[0-9]+)?(e[0-9]{1,2})?
bandwidth         -         [0-9]+(\.[0-9]+)?(e[0-9]{1,2})?
'
readonly site_max_bytes=65536
# -g: it may be a function that sources this.
declare -gA site=() site_pattern=()
site_order=() site_faults=()

# site_init: fills the arrays `site` (values, defaults first) and `site_pattern`.
site_init() {
  site=() site_pattern=() site_order=() site_faults=()
  local key default pattern
  while read -r key default pattern; do
    [[ -n $key ]] || continue
    [[ $default != - ]] || default=""
    site[$key]=$default site_pattern[$key]=$pattern
    site_order+=("$key")
  done <<<"$site_table"
}

# site_set PLACE KEY VALUE: or one more of site_faults.
site_set() {
  local place=$1 key=$2 value=$3
  # LC_ALL: ranges of letters mean ASCII.
  local LC_ALL=C
  if [[ ! $key =~ ^[a-z_]+$ || -z ${site_pattern[$key]+known} ]]; then
    site_faults+=("$place: unknown setting ${key@Q} (known: ${site_order[*]}) remove it")
  elif [[ -n $value && ! $value =~ ^(${site_pattern[$key]})$ ]]; then
    site_faults+=("$place: $key cannot be ${value@Q} (it must match ${site_pattern[$key]}) see env/README.md")
  else
    site[$key]=$value
  fi
}

site_line() {
  local place=$1 line=$2 key value LC_ALL=C
  local double='^"([^"$`\\]*)"[[:space:]]*(#.*)?$' single="^'([^']*)'[[:space:]]*(#.*)?\$"
  local bare='^([^[:space:]"'\''$`\\#;&|()<>]*)[[:space:]]*(#.*)?$'
  [[ ! $line =~ ^[[:space:]]*(#.*)?$ ]] || return 0
  if [[ ! $line =~ ^([a-z_]+)=(.*)$ ]]; then
    site_faults+=("$place: ${line@Q} is no setting (lines are KEY=VALUE or comments) a site file is read, not run")
    return 0
  fi
  key=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
  if [[ $value =~ $double || $value =~ $single || $value =~ $bare ]]; then
    site_set "$place" "$key" "${BASH_REMATCH[1]}"
  else
    site_faults+=("$place: ${value@Q} is no value (a word, 'text', or \"text\" without \$, \`, \\) nothing in it is run")
  fi
}

# site_read FILE: into `site`; its faults into site_faults.
site_read() {
  local file=$1 line number=0
  if [[ ! -f $file || ! -r $file ]]; then
    site_faults+=("${file@Q}: no such file (or it cannot be read) see env/sites")
    return 0
  fi
  if (($(wc -c <"$file") > site_max_bytes)); then
    site_faults+=("${file@Q}: larger than $site_max_bytes bytes (no site needs that) is it a site file?")
    return 0
  fi
  while IFS= read -r line || [[ -n $line ]]; do
    site_line "$file:$((++number))" "$line"
  done < <(tr -d '\000' <"$file")
}

# site_check: what only values together can be wrong about.
site_check() {
  if [[ ${site[container]} != none && -z ${site[image]} ]]; then
    site_faults+=("container=${site[container]} needs image= (a .sif file or a registry's name)")
  fi
  if [[ ${site[container]} == enroot && ${site[launcher]} == mpirun ]]; then
    site_faults+=("container=enroot needs srun (its Slurm plugin starts the container) set launcher=pmix or pmi2")
  fi
  if [[ ${site[backend]} == cuda && ${site[gpus_per_node]} == 0 ]]; then
    site_faults+=("backend=cuda needs gpus_per_node (it is 0)")
  fi
}

# site_finish: fills what follows from the rest; fails, having told all faults, where there are any.
site_finish() {
  site_check
  if ((${#site_faults[@]})); then
    printf '%s\n' "${site_faults[@]}" >&2
    return 2
  fi
  if [[ -z ${site[backend]} ]]; then
    if ((site[gpus_per_node] > 0)); then site[backend]=cuda; else site[backend]=cpu; fi
  fi
  if [[ -z ${site[ranks_per_node]} ]]; then
    site[ranks_per_node]=$((site[gpus_per_node] > 0 ? site[gpus_per_node] : 1))
  fi
}

# Names under which this machine may be known: its own and its cluster's.
site_names() {
  hostname -s 2>/dev/null || true
  hostname -f 2>/dev/null || true
  printf '%s\n' "${SLURM_CLUSTER_NAME:-}"
}

# site_find FOLDER: prints the name of the one site whose `hosts` match this machine, or generic.
site_find() {
  local folder=$1 file name pattern found=() names=() patterns=()
  mapfile -t names < <(site_names)
  for file in "$folder"/*.sh; do
    [[ -f $file ]] || continue
    site_init
    site_read "$file"
    read -r -a patterns <<<"${site[hosts]}"
    for pattern in "${patterns[@]}"; do
      for name in "${names[@]}"; do
        # shellcheck disable=SC2053 # the pattern is meant as one
        if [[ -n $name && $name == $pattern ]]; then
          found+=("$(basename "$file" .sh)")
          continue 3
        fi
      done
    done
  done
  if ((${#found[@]} > 1)); then
    echo "more than one site is this machine: ${found[*]} (their hosts= overlap) choose one with --site" >&2
    return 2
  fi
  echo "${found[0]:-generic}"
}

# site_load FOLDER NAME: NAME may be empty: found by this machine's name. Sets site_name.
site_load() {
  local folder=$1 name=$2 LC_ALL=C
  [[ -n $name ]] || name=$(site_find "$folder") || return 2
  if [[ ! $name =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,60}$ ]]; then
    echo "${name@Q} is no name of a site (letters, digits, '_', '.', '-') see env/sites" >&2
    return 2
  fi
  site_init
  site_read "$folder/$name.sh"
  # shellcheck disable=SC2034 # for who sources this
  site_name=$name
}

# site_program ROOT: prints the program's path outside containers. Each preset has a build folder of its own.
site_program() {
  local of_cuda=$1/build-cuda/bin/qsweep
  if [[ -n ${site[program]} ]]; then
    echo "${site[program]}"
  elif [[ ${site[backend]} == cuda && -x $of_cuda ]]; then
    echo "$of_cuda"
  else
    echo "$1/build/bin/qsweep"
  fi
}

# site_mounts ROOT STUDY OPTION...: prints the folders that a container needs: the project's, the study's, that of
# --out, and the site's. Nothing where one of them would mean something else to a container.
site_mounts() {
  local study=$2 mount mounts=("$1")
  shift 2
  [[ $study != /* ]] || mounts+=("$(dirname "$study")")
  while (($#)); do
    [[ $1 != --out || ${2:-} != /* ]] || mounts+=("$2")
    shift
  done
  for mount in ${site[mounts]}; do mounts+=("$mount"); done
  for mount in "${mounts[@]}"; do
    if [[ $mount == *[:,]* ]]; then
      echo "${mount@Q} cannot be mounted into a container (it holds ':' or ',') rename it" >&2
      return 2
    fi
  done
  printf '%s\n' "${mounts[@]}" | awk '!seen[$0]++'
}
