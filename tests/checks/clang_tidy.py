"""Runs clang-tidy over every .cpp of src/ and kernels/, and remembers clean files by content.

A file is clean as long as it, every project header that it includes, its compile command and .clang-tidy are
the same; BUILD/tidy-cache holds one empty file for each such hash.

usage: clang_tidy.py ROOT BUILD [JOBS]
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import clang_format
import tree

LIMIT_S = 600  # one file


def content_hash(root, path, command, settings, known):
    digest = hashlib.sha256(settings + command.encode())
    for name in sorted(tree.closure(root, path, known)):
        digest.update(str(name).encode() + b"\0" + (Path(root) / name).read_bytes())
    return digest.hexdigest()


def gcc_headers():
    """GCC's own headers, looked at last: they hold omp.h, which Clang keeps in another package."""
    run = subprocess.run(["g++", "-print-file-name=include"], capture_output=True, text=True, timeout=60)
    return f"--extra-arg=-idirafter{run.stdout.strip()}"


def tidy(tool, build, file, mark):
    """clang-tidy's findings in one file, or an empty text."""
    try:
        run = subprocess.run([tool, "-p", str(build), "--quiet", gcc_headers(), str(file)], text=True,
                             capture_output=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return f"{file}: clang-tidy took more than {LIMIT_S} s"
    if run.returncode == 0:
        mark.touch()
        return ""
    return run.stdout.strip() or run.stderr.strip()


def main(root, build, jobs=2):
    root, build, start = Path(root).resolve(), Path(build).resolve(), time.monotonic()
    tool = clang_format.find_or_skip("clang-tidy")
    cache = build / "tidy-cache"
    cache.mkdir(exist_ok=True)
    commands = {entry["file"]: entry["command"]
                for entry in json.loads((build / "compile_commands.json").read_text())}
    settings, known, work, clean = (root / ".clang-tidy").read_bytes(), {}, [], set()
    for path in tree.sources(root, ("src", "kernels")):
        command = commands.get(str(root / path))
        if path.suffix != ".cpp" or command is None:
            continue
        mark = cache / content_hash(root, path, command, settings, known)
        clean.add(mark)
        if not mark.exists():
            work.append((root / path, mark))
    # Largest first, so that no core is left alone with a long file at the end.
    work.sort(key=lambda item: -os.path.getsize(item[0]))
    with ThreadPoolExecutor(int(jobs)) as pool:
        answers = list(pool.map(lambda item: tidy(tool, build, *item), work))
    for old in set(cache.iterdir()) - clean:
        old.unlink()
    tree.finish("clang-tidy", f"{len(work)} files checked in {time.monotonic() - start:.0f} s, "
                f"{len(clean) - len(work)} unchanged", [answer for answer in answers if answer])


if __name__ == "__main__":
    main(*sys.argv[1:])
