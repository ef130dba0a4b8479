"""How qsweep bears ten thousand runs: makes two run folders of made-up records as large as real ones, then measures
reducing, resuming, looking and planning, and prints a table with the targets.

    cmake --build build --target qsweep made_up_runs
    tests/bench/scale.py [--folder DIR]       # a folder that is there is used again; it takes 4 GB

`repeated` is 25 configs x 8 cells x 50 repeats, `spread` is 50 configs x 200 cells x 1: as many runs, but each a cell
of its own, so each perplexity run has bootstraps of its own. Times are wall times from process start; memory is the
peak of the process. `cold` means that the kernel was told to forget the files first."""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import harness  # noqa: E402

SCALES = "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]"
REPEATED = f"""
study: repeated
model: {harness.ROOT}/data/mini-phi3
seed: 1
repeats: 50
baseline: base
configs:
  base: {{}}
  wide: {{sweep: {{m: {SCALES}}}, scope: mlp, weights: "int4/g128/e5m{{m}}"}}
  tight: {{sweep: {{m: {SCALES}}}, scope: mlp, weights: "int4/g64/e5m{{m}}"}}
  int8: {{scope: all_linear, weights: int8/channel}}
workloads:
  profile: {{prompt: [8, 16, 32, 64], output: 8}}
  perplexity: {{data: {harness.ROOT}/data/tasks/heldout.txt, window: [64, 128, 256], stride: 64, max_tokens: 1024}}
  synthetic: {{seconds: 0.01}}
claims:
  no_time: {{equivalent: [wide_m5, wide_m4], metric: profile.tpot_ms, within: 1%}}
  no_quality: {{equivalent: [wide_m5, wide_m4], metric: perplexity.nll, within: 0.5%}}
  fewer_bits: {{ordered: [wide_m5, wide_m3, wide_m0], metric: perplexity.nll, direction: increasing}}
"""
SPREAD = f"""
study: spread
model: {harness.ROOT}/data/mini-phi3
seed: 1
baseline: base
configs:
  base: {{}}
  a: {{sweep: {{m: {SCALES}, s: [mlp, attention]}}, scope: "{{s}}", weights: "int4/g128/e5m{{m}}"}}
  b: {{sweep: {{m: {SCALES}, s: [mlp, attention]}}, scope: "{{s}}", weights: "int4/g64/e5m{{m}}"}}
  c: {{sweep: {{f: [int8, nf4], s: [mlp, all_linear]}}, scope: "{{s}}", weights: "{{f}}"}}
workloads:
  profile: {{prompt: {list(range(1, 11))}, output: {list(range(1, 11))}}}
  perplexity: {{data: {harness.ROOT}/data/tasks/heldout.txt, window: {list(range(64, 320, 16))},
               stride: [8, 16, 32, 48, 64], max_tokens: 1024}}
  synthetic: {{seconds: 0.01, lengths: {list(range(1, 21))}}}
"""
SYNTHETIC = f"""
study: sleeps
model: none
repeats: 1000
noise_floor: false
configs:
  A: {{sweep: {{m: {list(range(10))}}}, scope: mlp, weights: "int4/g128/e5m{{m}}"}}
workloads:
  synthetic: {{seconds: 0.01, lengths: {list(range(1, 11))}}}
"""
LOOK = """
import sys, time
import h5py
begin = time.perf_counter()
with h5py.File(sys.argv[1], "r") as file:
    tables = {name: {column: values[()] for column, values in file[name].items()} for name in ("aggregate", "run_index")}
    runs = sum(len(lengths) for config in file["runs"].values() for workload in config.values()
               for lengths in workload.values())
assert runs == len(tables["run_index"]["id"])
print(time.perf_counter() - begin)
"""


def fail(message):
    sys.exit(f"scale.py: {message}")


def measured(*arguments):
    """Wall seconds and peak MB of one process; its output is dropped."""
    begin = time.perf_counter()
    process = subprocess.Popen([str(argument) for argument in arguments], cwd=harness.ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    if os.waitstatus_to_exitcode(status) != 0:
        fail(f"exit code {os.waitstatus_to_exitcode(status)} of {' '.join(map(str, arguments))}")
    return seconds, usage.ru_maxrss / 1024


def forget(folder):
    for path in harness.results(folder):
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class Bench:
    def __init__(self, folder, writer):
        self.out, self.writer, self.rows = folder, writer, []

    def add(self, what, seconds, target, megabytes=None, room=None):
        held = seconds <= target and (room is None or megabytes <= room)
        memory = "" if megabytes is None else f"{megabytes:.0f} MB"
        goal = f"{target} s" + (f", {room} MB" if room else "")
        self.rows.append((what, f"{seconds:.2f} s", memory, goal, "held" if held else "MISSED"))
        print("  ".join(self.rows[-1]), flush=True)

    def study(self, text):
        name = text.split()[1]
        path = self.out / f"{name}.yaml"
        path.write_text(text)
        return path, self.out / name / "t"

    def stage(self, study, *options):
        return measured(harness.QSWEEP, study, "--prep-only", "--out", self.out, "--run-tag", "t", *options)

    def make(self, text):
        study, folder = self.study(text)
        if not (folder / "manifests/plan.json").exists():
            self.stage(study)
        if len(harness.results(folder)) < len(harness.plan_runs(folder)):
            seconds, _ = measured(self.writer, folder)
            print(f"wrote {len(harness.results(folder))} records in {seconds:.0f} s", flush=True)
        return study, folder

    def reduce(self, study, folder):
        seconds, megabytes = measured(harness.QSWEEP, study, "--reduce-only", "--out", self.out, "--run-tag", "t")
        self.add(f"reduce {study.stem}", seconds, 60, megabytes, 1024)
        taken = subprocess.run([sys.executable, "-c", LOOK, folder / "sweep.h5"], check=True, capture_output=True)
        self.add(f"open sweep.h5 of {study.stem} in h5py", float(taken.stdout), 1)

    def resume(self, study, folder, ranks, cold):
        """From process start to the first line `start` of a rank's log, with one run left to do."""
        victim = folder / "results/base/synthetic/n1/r0.h5"
        victim.unlink(missing_ok=True)
        for log in (folder / "logs").glob("*"):
            log.unlink()
        if cold:
            forget(folder)
        begin = time.perf_counter()
        process = harness.start(ranks, study, "--out", self.out, "--run-tag", "t")
        while not any(" start " in log.read_text() for log in (folder / "logs").glob("*.log")):
            if process.poll() is not None or time.perf_counter() - begin > 120:
                fail(f"no run was started\n{process.stdout.read()}")
            time.sleep(0.01)
        seconds = time.perf_counter() - begin
        harness.wait_for_results(process, folder, len(harness.plan_runs(folder)))
        harness.kill_group(process)
        self.add(f"resume {study.stem} on {ranks} ranks{', cold' if cold else ''}", seconds, 10)

    def look(self, folder):
        """inspect checks every record; status believes the ranks' logs, which made-up runs have not written."""
        self.add(f"inspect {folder.parent.name}", measured(harness.QSWEEP, "inspect", folder)[0], 2)
        log = folder / "logs/rank-9999.log"
        log.write_text("".join(f"2026-01-31T12:00:00.000 info end {run['id']} ok after 1.000 s \n"
                               for run in harness.plan_runs(folder)))
        self.add(f"status {folder.parent.name}", measured(harness.QSWEEP, "status", folder)[0], 2)
        forget(folder)
        self.add(f"status {folder.parent.name}, cold", measured(harness.QSWEEP, "status", folder)[0], 2)
        log.unlink()

    def plans(self):
        sleeps, _ = self.study(SYNTHETIC)
        for study, repeats in ((sleeps, 1000), (harness.ROOT / "configs/smq_phi35.yaml", 1235)):
            for ranks in (8, 4096):
                seconds, megabytes = measured(harness.QSWEEP, study, "--plan", "--repeats", repeats, "--ranks", ranks)
                self.add(f"plan 100,000 runs of {study.stem} for {ranks} ranks", seconds, 5, megabytes)
        for what in ("stage", "stage again"):  # the second time the stored plan is read and compared
            seconds, megabytes = self.stage(sleeps)
            self.add(f"{what} 100,000 runs", seconds, 5, megabytes)

    def table(self):
        widths = [max(len(row[i]) for row in self.rows) for i in range(5)]
        return "\n".join("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths)) for row in self.rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--qsweep", type=pathlib.Path, default=harness.QSWEEP)
    parser.add_argument("--writer", type=pathlib.Path, default=harness.ROOT / "build/tests/made_up_runs")
    parser.add_argument("--folder", type=pathlib.Path, help="where the run folders lie, and stay (default: go again)")
    parser.add_argument("--only-make", action="store_true", help="make the run folders, measure nothing")
    options = parser.parse_args()
    harness.QSWEEP = options.qsweep.resolve()
    with tempfile.TemporaryDirectory(prefix="qsweep-scale-") as temporary:
        folder = (options.folder or pathlib.Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        bench = Bench(folder, options.writer.resolve())
        made = [bench.make(text) for text in (REPEATED, SPREAD)]
        if options.only_make:
            return
        for study, run_folder in made:
            for ranks, cold in ((1, False), (2, False), (1, True)):
                bench.resume(study, run_folder, ranks, cold)
            bench.look(run_folder)
            bench.reduce(study, run_folder)
        bench.plans()
    print("\n" + bench.table())


if __name__ == "__main__":
    main()
