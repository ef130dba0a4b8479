"""What the source checks share: the files of the tree, its includes, and how a check ends."""

import os
import re
import subprocess
import sys
from pathlib import Path

SKIPPED = 77  # ctest's SKIP_RETURN_CODE of these tests

# A folder may include itself and the folders before it (the list of libraries in CMakeLists.txt).
ORDER = ["base", "comm", "stage", "record", "device", "quant/format", "kernels", "quant", "model",
         "eval", "sweep/grammar", "sweep/share", "sweep/plan", "sweep/folder", "sweep", "reduce", "app"]

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)
SOURCE_SUFFIXES = {".cpp", ".hpp", ".cu", ".cuh", ".inc"}


def files(root):
    """Paths relative to root of what belongs to the project: git's view, else all but build folders."""
    root = Path(root)
    try:
        listed = subprocess.run(["git", "-C", str(root), "ls-files", "-z", "--cached", "--others",
                                 "--exclude-standard"], capture_output=True, check=True, timeout=60)
        names = sorted(set(listed.stdout.decode().split("\0")) - {""})
        found = [Path(name) for name in names]
    except (OSError, subprocess.SubprocessError):
        found = []
        for folder, folders, names in os.walk(root):
            folders[:] = [f for f in sorted(folders) if f not in (".git", ".venv", "__pycache__")
                          and not Path(folder, f, "CMakeCache.txt").exists()
                          and Path(folder, f) != root / "data" / "runs"]
            found += [Path(folder, name).relative_to(root) for name in sorted(names)]
    return [path for path in found if (root / path).is_file()]


def sources(root, folders=("src", "kernels", "tests")):
    return [path for path in files(root) if path.suffix in SOURCE_SUFFIXES and path.parts[0] in folders]


def includes(path):
    """(line, bracket, name) of every include of a file, in order."""
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    return [(text.count("\n", 0, match.start()) + 1, match[1], match[2])
            for match in INCLUDE.finditer(text)]


def resolve(root, includer, name):
    """The project file that an include names (include paths: src/, the root, the includer's folder), or None."""
    root = Path(root)
    for candidate in (Path("src") / name, Path(name), includer.parent / name):
        if (root / candidate).is_file() and ".." not in candidate.parts:
            return candidate
    return None


def closure(root, path, known):
    """All project files that `path` includes, itself among them; `known` remembers across calls."""
    seen, open_ends = set(), [path]
    while open_ends:
        current = open_ends.pop()
        if current in seen:
            continue
        seen.add(current)
        if current not in known:
            found = (resolve(root, current, name) for _, _, name in includes(Path(root) / current))
            known[current] = [f for f in found if f is not None]
        open_ends += known[current]
    return seen


def finish(name, looked_at, problems):
    """Prints the outcome and leaves with ctest's exit code."""
    for problem in problems:
        print(problem)
    print(f"{name}: {looked_at}, {len(problems)} problem(s)")
    sys.exit(1 if problems else 0)


def skip(reason, promised=True):
    """Skips aloud; a run that promised every check (QSWEEP_REQUIRE_ALL=1) fails instead where it is promised."""
    print(f"skipped: {reason}")
    sys.exit(1 if promised and os.environ.get("QSWEEP_REQUIRE_ALL") == "1" else SKIPPED)
