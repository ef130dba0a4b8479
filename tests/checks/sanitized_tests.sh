#!/usr/bin/env bash
# Runs one test program of the sanitized build, without the tests whose names say `Slow`.
# usage: sanitized_tests.sh PROGRAM
set -euo pipefail
# shellcheck source=tests/checks/sanitized.sh
source "$(dirname "${BASH_SOURCE[0]}")/sanitized.sh"

need "$1"
exec "$1" --gtest_brief=1 --gtest_filter='-*Slow*'
