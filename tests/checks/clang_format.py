"""Every C++ source is laid out as .clang-format says.

usage: clang_format.py ROOT
"""

import shutil
import subprocess
import sys

import tree

# Another release breaks lines elsewhere and finds other things, so only this one (Debian 12's) decides.
RELEASE = "14"


def find(tool):
    """The tool of the deciding release, or None."""
    for name in filter(shutil.which, (f"{tool}-{RELEASE}", tool)):
        version = subprocess.run([name, "--version"], capture_output=True, text=True, timeout=60).stdout
        if f"version {RELEASE}." in version:
            return name
    return None


def find_or_skip(tool):
    found = find(tool)
    if found is None and shutil.which(tool):
        tree.skip(f"{tool} is here in another release than {RELEASE}, which decides", promised=False)
    if found is None:
        tree.skip(f"{tool} is not here (env/bootstrap.sh --test brings it)")
    return found


def main(root):
    tool = find_or_skip("clang-format")
    paths = [str(path) for path in tree.sources(root)]
    run = subprocess.run([tool, "--dry-run", "-Werror", "--ferror-limit=3", *paths], cwd=root, text=True,
                         capture_output=True, timeout=300)
    wrong = sorted({line.split(":")[0] for line in run.stderr.splitlines() if "error:" in line})
    problems = [f"{path}: not laid out (run: clang-format -i {path})" for path in wrong]
    if run.returncode != 0 and not problems:
        problems = [run.stderr]
    tree.finish("clang-format", f"{len(paths)} files", problems)


if __name__ == "__main__":
    main(sys.argv[1])
