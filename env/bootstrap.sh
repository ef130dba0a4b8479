#!/usr/bin/env bash
# Makes a Debian 12 or Ubuntu 24.04 machine able to build, run and test the project.
#
#   env/bootstrap.sh --run      what `jobs/quickstart.sh` needs (the default)
#   env/bootstrap.sh --test     that, and what `tests/run.sh` needs
#   env/bootstrap.sh --check [--run|--test]   install nothing; exit 1 where something required is missing
#
# A package is installed only where the thing it brings is not found, whoever put it there (a module system, a
# newer toolchain in PATH). With everything found, neither root nor the network is touched.
set -euo pipefail

# mode  need      probe                            package                         what it is for
# run: every machine; test: machines that run the test suite. optional: the project works without it.
# Probes: cmd:NAME in PATH; sbin:NAME there or among the system's own programs; pc:NAME known to pkg-config; hdr:FILE found by the compiler; link:NAMES of sanitizers that
# clang++ can link; venv: a Python that can make virtual environments, or one that has the analysis packages already.
packages='
run     required  cmd:g++                          g++                             the C++20 compiler, 12 or newer
run     required  cmd:cmake                        cmake                           configures the build, 3.25 or newer
run     required  cmd:ninja                        ninja-build                     runs the build
run     required  cmd:pkg-config                   pkg-config                      finds the libraries below
run     optional  cmd:git                          git                             the commit that every record names
run     optional  cmd:ccache                       ccache                          a changed tree builds in seconds
run     optional  cmd:mpicxx                       libopenmpi-dev                  several ranks share a sweep
run     optional  cmd:mpirun                       openmpi-bin                     starts the ranks
run     required  pc:openssl                       libssl-dev                      SHA-256 of models and records
run     required  pc:fmt                           libfmt-dev                      text formatting
run     required  pc:spdlog                        libspdlog-dev                   log files of the ranks
run     required  pc:nlohmann_json                 nlohmann-json3-dev              config.json, tokenizer.json, manifests
run     required  pc:yaml-cpp                      libyaml-cpp-dev                 study files
run     required  pc:hdf5-serial|hdf5              libhdf5-dev                     records
run     required  pc:openblas                      libopenblas-dev                 matrix products of the CPU backend
run     required  pc:libpcre2-8                    libpcre2-dev                    the tokenizers'"'"' split patterns
run     required  pc:libutf8proc                   libutf8proc-dev                 Unicode normal forms in tokenizers
run     optional  pc:libcurl                       libcurl4-openssl-dev            downloads models and datasets (--prep-only)
run     optional  pc:libarchive                    libarchive-dev                  opens the datasets'"'"' archives (--prep-only)
run     required  hdr:boost/version.hpp            libboost-dev                    quantiles of the statistics
run     required  hdr:boost/program_options.hpp    libboost-program-options-dev    the command line
run     required  cmd:python3                      python3                         figures and the report
run     required  venv:                            python3-venv                    a private place for the packages of analysis/
test    required  pc:gtest                         libgtest-dev                    C++ tests
test    required  pc:benchmark                     libbenchmark-dev                the benchmarks of tests/bench
test    required  cmd:h5dump                       hdf5-tools                      reads the records by other eyes than ours
test    required  cmd:clang-format                 clang-format                    the layout of the sources
test    required  cmd:clang-tidy                   clang-tidy                      bugs that can be seen without running
test    required  cmd:shellcheck                   shellcheck                      the same for shell scripts
test    required  cmd:clang++                      clang                           the compiler of the fuzzers
test    optional  sbin:slurmctld                   slurmctld                       the private cluster of tests/slurm
test    optional  sbin:slurmd                      slurmd                          its nodes
test    optional  cmd:sbatch                       slurm-client                    its jobs
test    optional  sbin:munged                      munge                           its authentication
test    optional  sbin:ip                          iproute2                        its network, which leads nowhere
test    required  link:fuzzer,address,undefined    libclang-rt-dev                 libFuzzer and the sanitizers of clang
'

readonly apt_limit_s=900        # one apt-get call, downloads included
readonly apt_lock_wait_s=120    # another installation may hold the lock, e.g. at the first boot
readonly least_cmake=3.25 least_gxx=12

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

die() {
  echo "bootstrap: $*" >&2
  exit 1
}

# The compiler answers instead of a list of folders, so that CPATH and unusual prefixes count.
has_header() {
  g++ -fsyntax-only -x c++ - 2>/dev/null <<<"#include <$1>"
}

# A fuzzer brings its own main.
links_sanitizers() {
  local program status=0
  program=$(mktemp) || return 1
  clang++ "-fsanitize=$1" -x c++ - -o "$program" >/dev/null 2>&1 <<'CODE' || status=1
#include <cstddef>
#include <cstdint>
extern "C" int LLVMFuzzerTestOneInput(const uint8_t*, size_t) { return 0; }
CODE
  rm -f "$program"
  return "$status"
}

has_library() {
  local name
  for name in ${1//|/ }; do
    pkg-config --exists "$name" 2>/dev/null && return 0
  done
  return 1
}

# has PROBE PACKAGE: whether what the package brings is there.
has() {
  local kind=${1%%:*} what=${1#*:}
  case $kind in
    cmd) command -v "$what" >/dev/null ;;
    sbin) PATH="$PATH:/usr/sbin:/sbin" command -v "$what" >/dev/null ;;
    pc)
      # Without pkg-config nothing can be asked; what dpkg knows keeps the report from naming everything.
      if command -v pkg-config >/dev/null; then has_library "$what"; else has_package "$2"; fi
      ;;
    hdr) if command -v g++ >/dev/null; then has_header "$what"; else has_package "$2"; fi ;;
    link) if command -v clang++ >/dev/null; then links_sanitizers "$what"; else has_package "$2"; fi ;;
    venv) "$here/python.sh" --probe >/dev/null 2>&1 ;;
    *) die "unknown probe '$1' (the table at the top of this script)" ;;
  esac
}

has_package() {
  command -v dpkg-query >/dev/null &&
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# Fills missing_required and missing_optional with "package|reason" for the mode.
look() {
  local mode=$1 row_mode need probe package reason
  missing_required=() missing_optional=()
  while read -r row_mode need probe package reason; do
    [[ -z $row_mode || ($row_mode == test && $mode != test) ]] && continue
    has "$probe" "$package" && continue
    if [[ $need == required ]]; then
      missing_required+=("$package|$reason")
    else
      missing_optional+=("$package|$reason")
    fi
  done <<<"$packages"
}

names() {
  local entry
  for entry in "$@"; do printf '%s ' "${entry%%|*}"; done
}

tell_missing() {
  local entry
  for entry in "${missing_required[@]}"; do
    printf '  %-30s required: %s\n' "${entry%%|*}" "${entry#*|}"
  done
  for entry in "${missing_optional[@]}"; do
    printf '  %-30s optional: %s\n' "${entry%%|*}" "${entry#*|}"
  done
}

# Sets as_root to the words that run a command as root, or fails.
find_root() {
  as_root=()
  if [[ $(id -u) == 0 ]]; then return 0; fi
  if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root=(sudo -n)
    return 0
  fi
  return 1
}

apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive timeout --kill-after=30 "$apt_limit_s" \
    apt-get -q -y -o "DPkg::Lock::Timeout=$apt_lock_wait_s" -o Acquire::Retries=3 \
    -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30 "$@" </dev/null
}

# install PACKAGE...: once more after a pause, for a mirror that is being updated just now.
install() {
  local try
  for try in 1 2; do
    if apt update && apt install --no-install-recommends "$@"; then return 0; fi
    ((try == 2)) || { echo "bootstrap: apt-get failed, trying once more in 15 s" >&2; sleep 15; }
  done
  return 1
}

# at_least FOUND LEAST: compares versions by their numbers.
at_least() {
  [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]
}

check_versions() {
  local cmake_version gxx_version
  cmake_version=$(cmake --version | sed -n '1s/.*version //p')
  at_least "$cmake_version" "$least_cmake" ||
    die "CMake $cmake_version is too old (at least $least_cmake is needed) put a newer one in PATH"
  gxx_version=$(g++ -dumpfullversion -dumpversion)
  at_least "$gxx_version" "$least_gxx" ||
    die "g++ $gxx_version is too old (C++20 as written needs $least_gxx) put a newer one in PATH as g++"
}

parse() {
  mode="run" check_only="no"
  local argument
  for argument in "$@"; do
    case $argument in
      --run) mode="run" ;;
      --test) mode="test" ;;
      --check) check_only="yes" ;;
      -h | --help)
        sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
        exit 0
        ;;
      *) die "unknown option '$argument' (known: --run --test --check) see --help" ;;
    esac
  done
}

report_check() {
  if ((${#missing_required[@]} + ${#missing_optional[@]} == 0)); then
    echo "bootstrap: everything for --$mode is here"
    return
  fi
  echo "bootstrap: missing for --$mode:"
  tell_missing
  if ((${#missing_required[@]})); then
    echo "get them with: apt-get install $(names "${missing_required[@]}")"
    exit 1
  fi
}

# What cannot be installed is said once, with the command for somebody who may.
refuse_or_go_on() {
  local why=$1
  echo "bootstrap: missing for --$mode:" >&2
  tell_missing >&2
  if ((${#missing_required[@]})); then
    die "required packages are missing ($why) ask for: apt-get install $(names "${missing_required[@]}")"
  fi
  echo "bootstrap: going on without the optional ones ($why)" >&2
}

main() {
  parse "$@"
  look "$mode"
  if [[ $check_only == yes ]]; then
    report_check
    exit 0
  fi
  if ((${#missing_required[@]} + ${#missing_optional[@]})); then
    if ! command -v apt-get >/dev/null; then
      refuse_or_go_on "this system has no apt-get; the names are Debian's"
    elif ! find_root; then
      refuse_or_go_on "neither root nor sudo without a password"
    else
      local wanted
      read -r -a wanted <<<"$(names "${missing_required[@]}" "${missing_optional[@]}")"
      echo "bootstrap: installing ${wanted[*]}"
      local why="apt-get failed, its messages are above; is the package mirror reachable?"
      if install "${wanted[@]}"; then why="installed, but not found: look at PATH and PKG_CONFIG_PATH"; fi
      look "$mode"
      if ((${#missing_required[@]} + ${#missing_optional[@]})); then refuse_or_go_on "$why"; fi
    fi
  fi
  check_versions
}

main "$@"
