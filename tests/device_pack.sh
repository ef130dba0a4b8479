#!/usr/bin/env bash
# Packs the programs of a CUDA build for a GPU machine that cannot build: OUT gets bin/, tests/ and in lib/
# the libraries they link (not those of the driver, of CUDA, of MPI and of the C and C++ runtimes, which
# belong to the machine). Take OUT along with the sources and start there:
#
#   tests/device_pack.sh [BUILD] OUT        BUILD: build-cuda
#   tests/device.sh --binaries OUT
set -euo pipefail

cd -P "$(dirname "${BASH_SOURCE[0]}")/.."

if (($# < 1 || $# > 2)) || [[ $1 == -* ]]; then
  sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  exit 2
fi
build="build-cuda"
if (($# == 2)); then
  build=$1
  shift
fi
out=$1

readonly left_to_the_machine='/(ld-linux|linux-vdso|libc|libm|libdl|librt|libpthread|libgcc_s|libstdc\+\+|libgomp|libcuda|libcudart|libcublas|libcublasLt|libnvidia-ml|libmpi|libopen-pal|libopen-rte|libpmix|libprrte|libucp|libucs|libuct|libfabric)[.-]'

programs=(bin/qsweep tests/test_gpu tests/gpu_bench tests/mpi_gpu_group_test)
mkdir -p "$out/bin" "$out/tests" "$out/lib"
for program in "${programs[@]}"; do
  [[ -x $build/$program ]] || {
    echo "tests/device_pack.sh: no $build/$program (build it with the preset cuda and -DQSWEEP_TESTS=ON)" >&2
    exit 1
  }
  strip -o "$out/$program" "$build/$program"
done
ldd "${programs[@]/#/$build/}" | awk '/=> \// {print $3}' | sort -u | grep -Ev "$left_to_the_machine" |
  while read -r library; do cp -L "$library" "$out/lib/"; done
du -sh "$out"
