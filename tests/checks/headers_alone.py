"""Every header of src/ and kernels/ compiles alone.

A header that is the first include of a .cpp is proven by the build itself; only the others are compiled here.

usage: headers_alone.py ROOT BUILD [JOBS]
"""

import json
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tree


def proven_by_build(root):
    proven = set()
    for path in tree.sources(root, ("src", "kernels")):
        first = tree.includes(Path(root) / path)[:1] if path.suffix == ".cpp" else []
        proven |= {tree.resolve(root, path, name) for _, _, name in first}
    return proven


def flags_from(build):
    """Compiler and flags of the build: those of the file with the most include folders."""
    database = json.loads((Path(build) / "compile_commands.json").read_text())
    entries = [shlex.split(entry["command"]) for entry in database if entry["file"].endswith(".cpp")]
    words = max(entries, key=lambda command: sum(w.startswith(("-I", "-isystem")) for w in command))
    if "ccache" in Path(words[0]).name:
        words = words[1:]
    kept, skip_next = [], False
    for word in words:
        if not skip_next and word not in ("-c", "-o") and not word.endswith((".cpp", ".o")):
            kept.append(word)
        skip_next = word == "-o"
    return kept


def compile_alone(command, root, header):
    """The compiler's words where it fails, or None."""
    source = f'#include "{header}"\n'
    run = subprocess.run([*command, "-O0", "-fsyntax-only", "-x", "c++", "-"], input=source, text=True,
                         capture_output=True, timeout=120, cwd=root)
    return None if run.returncode == 0 else f"{header} does not compile alone:\n{run.stderr.rstrip()}"


def main(root, build, jobs=2):
    proven = proven_by_build(root)
    headers = [p for p in tree.sources(root, ("src", "kernels")) if p.suffix == ".hpp" and p not in proven]
    command = [*flags_from(build), "-I", "src", "-I", "."]
    with ThreadPoolExecutor(int(jobs)) as pool:
        answers = list(pool.map(lambda header: compile_alone(command, root, header), headers))
    tree.finish("headers alone", f"{len(proven) - (None in proven)} proven by the build, {len(headers)} compiled",
                [answer for answer in answers if answer])


if __name__ == "__main__":
    main(*sys.argv[1:])
