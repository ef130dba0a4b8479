"""What no compiler looks at: lengths, leftovers, machine paths, printing in library code.

usage: source_rules.py ROOT
"""

import re
import sys
from pathlib import Path

import tree

LONGEST_FILE = 450  # lines; the aim is 400
TEXT_SUFFIXES = tree.SOURCE_SUFFIXES | {".py", ".sh", ".sbatch", ".cmake", ".yaml", ".yml", ".md", ".toml", ".txt",
                                        ".json", ".ipynb"}
# Words are put together here so that this file does not trip over itself.
LEFTOVER = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b")
MACHINE_PATH = re.compile(r"(?<![\w.}\])*~/-])/(" + "|".join(("wo" + "rk", "ro" + "ot", "ho" + "me", "tm" + "p")) + r")/")
REGISTRY = re.compile("|".join(("py" + r"pi\.", "python" + r"hosted\.", r"deb\.deb" + "ian", r"archive\.ub" + "untu",
                                r"conda\.ana" + "conda", r"registry\.np" + "mjs")))
PRINTS = re.compile(r"\bstd::(cout|cerr|clog|abort)\b|(?<![\w.>])(?:std::)?(printf|puts|exit|_Exit|quick_exit)\s*\(")
ASSEMBLY = re.compile(r"(?<![\w.>])asm\b")
# What C++ for GPUs has no words for stands in these alone, so that it is named, and written once.
MAY_ASSEMBLE = {Path("kernels/cuda/intrinsics.cuh"), Path("kernels/cuda/warpgroup.cuh")}
# A rank that cannot go on has to take the others with it; MPI_Abort and its one-rank twin stand here alone.
MAY_EXIT = Path("src/comm/communicator.cpp")


def is_text(path):
    if path.parts[0] == "data" and path.suffix in (".json", ".txt", ".jsonl"):
        return False  # model files and texts that others wrote
    return path.suffix in TEXT_SUFFIXES or path.name in ("CMakeLists.txt", "run")


def is_library(path):
    return (path.suffix in tree.SOURCE_SUFFIXES and path.parts[0] in ("src", "kernels")
            and path.parts[:2] != ("src", "app") and path != MAY_EXIT)


def line_problems(path, number, line):
    place = f"{path}:{number}:"
    if LEFTOVER.search(line):
        yield f"{place} a leftover mark (unfinished work hides behind it) finish it or say in the docs what is missing"
    if MACHINE_PATH.search(line):
        yield f"{place} an absolute path of one machine (it is elsewhere on others) derive it or take it as an option"
    if REGISTRY.search(line):
        yield f"{place} a registry host (a site may use a mirror) leave it to the client's own settings"
    # A string may name these words, and a comment too: only code counts.
    code = re.sub(r'"(\\.|[^"\\])*"', '""', line).split("//")[0]
    if is_library(path) and PRINTS.search(code):
        yield f"{place} library code prints or exits (only the mains may) throw qsweep::Error or return the text"
    if path.parts[0] == "kernels" and path.suffix in tree.SOURCE_SUFFIXES and path not in MAY_ASSEMBLE:
        if ASSEMBLY.search(code):
            yield f"{place} inline assembly (it has its own headers) name it in kernels/cuda/intrinsics.cuh"


def check(root):
    problems, count = [], 0
    for path in filter(is_text, tree.files(root)):
        count += 1
        lines = (Path(root) / path).read_text(encoding="utf-8", errors="replace").splitlines()
        for number, line in enumerate(lines, 1):
            problems += line_problems(path, number, line)
        in_library = path.suffix in tree.SOURCE_SUFFIXES and path.parts[0] in ("src", "kernels")
        if in_library and len(lines) > LONGEST_FILE:
            problems.append(f"{path}: {len(lines)} lines (more than {LONGEST_FILE}) something in it wants a name")
    return count, problems


if __name__ == "__main__":
    looked_at, faults = check(sys.argv[1])
    tree.finish("source rules", f"{looked_at} files", faults)
