"""Prints the results of qsweep_bench as one table.

usage: table.py RESULTS.json     (written by qsweep_bench --benchmark_out=RESULTS.json)
"""

import json
import sys


def row(result):
    name = result["name"].split("/iterations:")[0]
    if result.get("error_occurred"):
        return [name, "failed", result.get("error_message", ""), "", "", "no"]
    target, fraction = result["target"], result["fraction"]
    verdict = "" if target == 0 else "yes" if fraction >= target else "NO"
    return [name, f"{result['kernel_ms']:.3f} ms", f"{fraction:.2f}", result["label"],
            f"{target:.2f}" if target else "-", verdict]


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        results = json.load(file)["benchmarks"]
    rows = [["case", "time", "reached", "of", "target", "met"]] + [row(result) for result in results]
    widths = [max(len(r[column]) for r in rows) for column in range(len(rows[0]))]
    for r in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(r, widths)).rstrip())


if __name__ == "__main__":
    main()
