"""ShellCheck over every shell script of the tree, found by suffix or first line.

usage: shell_scripts.py ROOT
"""

import shutil
import subprocess
import sys
from pathlib import Path

import tree

SHEBANGS = (b"#!/usr/bin/env bash", b"#!/bin/bash", b"#!/bin/sh")


def is_script(root, path):
    if path.suffix in (".sh", ".sbatch"):
        return True
    with open(Path(root) / path, "rb") as file:
        return file.read(32).startswith(SHEBANGS)


def main(root):
    if not shutil.which("shellcheck"):
        tree.skip("shellcheck is not here")
    paths = [str(path) for path in tree.files(root) if path.parts[0] != "data" and is_script(root, path)]
    run = subprocess.run(["shellcheck", "-x", "--format=gcc", *paths], cwd=root, text=True,
                         capture_output=True, timeout=300)
    problems = (run.stdout + run.stderr).splitlines()
    if run.returncode != 0 and not problems:
        problems = [f"shellcheck ended with {run.returncode}"]
    tree.finish("shellcheck", f"{len(paths)} scripts", problems)


if __name__ == "__main__":
    main(sys.argv[1])
