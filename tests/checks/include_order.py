"""Fails on an include against the order of the folders, on a circle of includes, and on a library that is
included outside the one folder that may know it.

usage: include_order.py ROOT
"""

import sys
from pathlib import Path

import tree

# These libraries stay behind one folder, so that a build without them loses that folder's insides only.
ONLY_IN = {"mpi.h": "comm", "hdf5.h": "record", "hdf5_hl.h": "record", "yaml-cpp": "sweep/grammar",
           "curl/curl.h": "stage", "archive.h": "stage", "archive_entry.h": "stage", "nccl.h": "device"}
# Slow to compile, so public headers use nlohmann/json_fwd.hpp or plain types; `detail` headers are private.
NOT_IN_HEADERS = ("nlohmann/json.hpp", "yaml-cpp/yaml.h", "spdlog/spdlog.h", "hdf5.h", "mpi.h")


def folder_of(path):
    """The place in the order that a file belongs to: the longest prefix in the list, or None."""
    below = path.parts[1:] if path.parts[0] == "src" else path.parts
    names = {"/".join(below[:depth]) for depth in (1, 2)}
    places = [place for place in tree.ORDER if place in names]
    return max(places, key=len) if places else None


def upward(path, line, target):
    here, there = folder_of(path), folder_of(target)
    if here is None:
        return f"{path}: no place in the order (folders: {', '.join(tree.ORDER)}) move it into one"
    if there is None or tree.ORDER.index(there) > tree.ORDER.index(here):
        return (f"{path}:{line}: includes {target} ({there or 'outside the library'} comes after {here}) "
                "move what is needed down, or pass it in")
    return None


def circles(graph):
    """One chain of files for each circle of includes (depth-first, grey nodes close a circle)."""
    found, done = [], set()

    def walk(node, chain):
        if node in chain:
            found.append(chain[chain.index(node):] + [node])
        elif node not in done:
            for target in graph.get(node, []):
                walk(target, chain + [node])
            done.add(node)

    for node in graph:
        walk(node, [])
    return found


def check(root):
    problems, graph = [], {}
    paths = tree.sources(root, ("src", "kernels"))
    for path in paths:
        graph[path] = []
        for line, _, name in tree.includes(Path(root) / path):
            target = tree.resolve(root, path, name)
            if target is not None:
                graph[path].append(target)
                problems += filter(None, [upward(path, line, target)])
                continue
            owner = ONLY_IN.get(name) or ONLY_IN.get(name.split("/")[0]) or folder_of(path)
            if owner != folder_of(path):
                problems.append(f"{path}:{line}: includes {name} (only {owner} may know it) "
                                "use that folder's interface")
            if name in NOT_IN_HEADERS and path.suffix == ".hpp" and "detail" not in path.stem:
                problems.append(f"{path}:{line}: a header includes {name} (every includer pays for it) "
                                "declare what is needed, include it in the .cpp")
    for chain in circles(graph):
        problems.append("circular include: " + " -> ".join(map(str, chain)))
    return len(paths), problems


if __name__ == "__main__":
    count, faults = check(sys.argv[1])
    tree.finish("include order", f"{count} files", faults)
