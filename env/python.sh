#!/usr/bin/env bash
# Prints the path of a Python that can run analysis/; makes .venv with pip where there is none yet.
#
#   env/python.sh            for the report: h5py numpy pandas matplotlib
#   env/python.sh --test     for the tests as well: pytest scipy
#   env/python.sh --found    make nothing; exit 1 where none is there
#   env/python.sh --probe    make nothing; exit 0 where one is there or a virtual environment could be made
#
# Candidates in this order: $QSWEEP_PYTHON, .venv, python3 of PATH, the system's python3.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly pip_limit_s=600
modules="h5py numpy pandas matplotlib"
requirements=analysis/requirements.txt

die() {
  echo "python: $*" >&2
  exit 1
}

# can PYTHON MODULE...: all modules are importable (found, not loaded: loading matplotlib takes seconds).
can() {
  local python=$1
  shift
  [[ -n $python ]] && command -v "$python" >/dev/null &&
    "$python" - "$@" >/dev/null 2>&1 <<'PY'
import importlib.util, sys
sys.exit(sys.version_info < (3, 10) or not all(importlib.util.find_spec(m) for m in sys.argv[1:]))
PY
}

# Prints the first candidate that has every module named.
find_python() {
  local candidate
  for candidate in "${QSWEEP_PYTHON:-}" "$root/.venv/bin/python" python3 /usr/bin/python3; do
    # shellcheck disable=SC2068,SC2086 # the module names are words
    if can "$candidate" $@; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

make_venv() {
  local base
  if [[ ! -x $root/.venv/bin/python ]]; then
    base=$(find_python venv ensurepip) ||
      die "no Python can make a virtual environment (venv and ensurepip are missing) install python3-venv"
    "$base" -m venv "$root/.venv" >&2 || die "no virtual environment (see above) is $root writable?"
  fi
  echo "python: installing $requirements into .venv" >&2
  timeout --kill-after=30 "$pip_limit_s" "$root/.venv/bin/python" -m pip install --quiet --no-input \
    --disable-pip-version-check --retries 3 -r "$root/$requirements" >&2 ||
    die "pip failed (see above; is the package index reachable?) or name a Python that has" \
      "$modules in QSWEEP_PYTHON"
}

probe=no
case ${1:-} in
  "") ;;
  --test)
    modules+=" pytest scipy"
    requirements=analysis/requirements-test.txt
    ;;
  --found | --probe) probe=${1#--} ;;
  *) die "unknown option '$1' (known: --test --found --probe)" ;;
esac

if find_python "$modules"; then exit 0; fi
if [[ $probe == found ]]; then exit 1; fi
if [[ $probe == probe ]]; then
  find_python venv ensurepip
  exit
fi
make_venv
find_python "$modules" || die "packages are missing after the installation (pip said nothing) remove .venv and try again"
