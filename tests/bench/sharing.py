"""How well a sweep shares its runs, and how well the simulator foresees it.

    sharing.py [--qsweep PATH] [--ranks 16]

Runs 408 sleeping runs of 0.05 to 9.6 s on the ranks, and prints how busy each was until the last run was handed out
(from the ranks' logs), how long the sweep took, and what `--plan` says: with predicted costs before it, with recorded
ones after it. Runs sleep, so two cores carry sixteen ranks.
"""

import argparse
import datetime
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import harness  # noqa: E402

STUDY = """
study: sharing
model: none
seed: 7
repeats: 5
configs:
  A: {}
  B: {scope: mlp, weights: int8/channel}
  C: {scope: mlp, weights: int4/g128}
  D: {sweep: {m: [0, 3, 5, 7]}, scope: mlp, weights: "int4/g128/e5m{m}"}
workloads:
  synthetic: {seconds: 0.1, spread: 0.5, items: 64, lengths: [1, 2, 4, 8, 12, 16, 24, 32, 48, 64]}
"""


def spans_of(log):
    """[(begin, end)] of a rank's runs, in seconds since 1970."""
    spans, begin = [], None
    for line in log.read_text().splitlines():
        stamp, _, what = line.split(" ", 3)[:3]
        seconds = datetime.datetime.fromisoformat(stamp).timestamp()
        if what == "start":
            begin = seconds
        elif what == "end" and begin is not None:
            spans.append((begin, seconds))
            begin = None
    return spans


def busy_shares(folder):
    """Per rank the share of time that it was in runs, from the first start to the last hand-out of all."""
    ranks = [spans_of(log) for log in sorted((folder / "logs").glob("rank-*.log"))]
    first = min(span[0] for spans in ranks for span in spans)
    empty = max(span[0] for spans in ranks for span in spans)
    return [sum(min(end, empty) - min(begin, empty) for begin, end in spans) / (empty - first) for spans in ranks], \
        max(span[1] for spans in ranks for span in spans) - first


def seconds_of(text):
    """'52.8 s', '1 min 20 s' or '2 h 10 min' in seconds."""
    units = {"s": 1, "min": 60, "h": 3600, "d": 86400}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+) (s|min|h|d)\b", text))


def planned(*arguments):
    plan = subprocess.run([str(harness.QSWEEP), *map(str, arguments)], capture_output=True, text=True, check=True).stdout
    return seconds_of(re.search(r"of work: (.*?) on ", plan)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--qsweep", default=str(harness.QSWEEP))
    parser.add_argument("--ranks", type=int, default=16)
    options = parser.parse_args()
    harness.QSWEEP = pathlib.Path(options.qsweep).resolve()
    with tempfile.TemporaryDirectory(prefix="qsweep-sharing-") as out:
        study = pathlib.Path(out) / "sharing.yaml"
        study.write_text(STUDY)
        plan = (study, "--plan", "--ranks", options.ranks)
        before = planned(*plan)
        harness.run(options.ranks, study, "--out", out, "--run-tag", "t")
        folder = pathlib.Path(out) / "sharing/t"
        shares, took = busy_shares(folder)
        after = planned(*plan, "--costs", folder)
        print(f"{len(harness.results(folder))} runs on {options.ranks} ranks in {took:.1f} s")
        print("busy until the queue was empty: " + " ".join(f"{100 * share:.1f}" for share in shares) + " %")
        print(f"least {100 * min(shares):.1f} %, rank 0 {100 * shares[0]:.1f} %")
        for name, seconds in (("predicted", before), ("recorded", after)):
            print(f"simulated with {name} costs: {seconds:.1f} s, {100 * (seconds / took - 1):+.1f} %")


if __name__ == "__main__":
    main()
