"""What the end-to-end tests share: starting qsweep on ranks, and reading the quality results of a run folder."""

import argparse
import collections
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import h5py
import numpy as np

SEAL = b"\nqsweep-sha256 "
ROOT = pathlib.Path(__file__).resolve().parents[2]
QSWEEP = ROOT / "build/bin/qsweep"
# Generous: a hang must fail the test, a slow machine must not.
TIMEOUT_S = 300


def environment(threads):
    env = dict(os.environ)
    env.update(
        OMP_NUM_THREADS=str(threads),
        OMPI_ALLOW_RUN_AS_ROOT="1",
        OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
        OMPI_MCA_rmaps_base_oversubscribe="1",
        OMPI_MCA_mpi_yield_when_idle="1",
        OMPI_MCA_hwloc_base_binding_policy="none",
    )
    return env


def command(ranks, *arguments, mpi=False):
    """qsweep alone for one rank, under mpirun for more or where it is wanted."""
    own = [str(QSWEEP), *map(str, arguments)]
    return own if ranks == 1 and not mpi else ["mpirun", "-n", str(ranks), *own]


def start(ranks, *arguments, threads=1, mpi=False):
    """A process group of its own, so that all of it can be killed at once."""
    return subprocess.Popen(
        command(ranks, *arguments, mpi=mpi), env=environment(threads), cwd=ROOT, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run(ranks, *arguments, threads=1, expect=0, stdin=None):
    """Runs to the end; returns stdout. Fails with the output if the exit code is another one."""
    done = subprocess.run(
        command(ranks, *arguments), env=environment(threads), cwd=ROOT, timeout=TIMEOUT_S, input=stdin,
        capture_output=True, text=True)
    if done.returncode != expect:
        raise AssertionError(f"exit code {done.returncode}, expected {expect}\n{done.stdout}\n{done.stderr}")
    return done.stdout if expect == 0 else done.stdout + done.stderr


def kill_group(process, how=signal.SIGKILL):
    """Kills mpirun and every rank; ranks are looked up by session, since mpirun gives them groups of their own."""
    session = os.getsid(process.pid)
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if os.getsid(int(entry.name)) == session or _is_child_of(int(entry.name), process.pid):
                os.kill(int(entry.name), how)
        except (ProcessLookupError, PermissionError):
            pass
    process.wait(timeout=TIMEOUT_S)
    process.stdout.close()


def ranks_with(argument):
    """{process: rank} of living qsweep processes that were started with this argument."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            environ = (entry / "environ").read_bytes().split(b"\0")
            state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if words[0] == str(QSWEEP).encode() and str(argument).encode() in words and state not in "ZX":
            ranks = [word for word in environ if word.startswith(b"PMIX_RANK=")]
            found[int(entry.name)] = int(ranks[0].split(b"=")[1]) if ranks else 0
    return found


def _is_child_of(pid, ancestor):
    while pid > 1:
        try:
            stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return False
        pid = int(stat.rsplit(")", 1)[1].split()[1])
        if pid == ancestor:
            return True
    return False


def results(folder):
    return sorted((folder / "results").rglob("*.h5"))


def wait_for_results(process, folder, count):
    deadline = time.monotonic() + TIMEOUT_S
    while len(results(folder)) < count:
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"ended with {len(results(folder))} records before {count} were there")
        time.sleep(0.01)


# Datasets and metrics that must have the same bits wherever and whenever a run is done.
QUALITY = ("metrics/perplexity.nll", "metrics/perplexity.kl", "metrics/perplexity.top1_agreement",
           "metrics/synthetic.value", "samples/window_nll", "samples/window_kl", "samples/window_tokens",
           "samples/synthetic_items", "samples/output_ids", "layers/relative_mse", "certificate/hash_packed",
           "certificate/activation_absmax")


def quality(folder):
    """{relative path: {dataset: bytes}} of every record."""
    found = {}
    for path in results(folder):
        with h5py.File(path, "r") as file:
            assert file.attrs["status"] == "ok", (path, file.attrs["error"])
            rows = {}
            for name in QUALITY:
                if name in file:
                    value = np.asarray(file[name][()])
                    rows[name] = value.tolist() if value.dtype == object else value.tobytes()
            found[str(path.relative_to(folder))] = (file.attrs["run_id"], rows)
    return found


def studies():
    """The studies that ship; datasets.yaml beside them is none."""
    return sorted(set((ROOT / "configs").glob("*.yaml")) - {ROOT / "configs/datasets.yaml"})


def plan_runs(folder):
    return json.loads((folder / "manifests/plan.json").read_text())["runs"]


class RunFolder:
    """A run folder over several starts: what must hold of its records whatever happened to the sweep."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.written = {}  # path -> time of writing: no record may be written again

    def check_records(self):
        for path in results(self.folder):
            whole = path.read_bytes()
            at = whole.rfind(SEAL)
            sealed = at >= 0 and hashlib.sha256(whole[:at]).hexdigest().encode() == whole[at + len(SEAL):].strip()
            assert sealed, f"{path} is no whole record"
            stamp = path.stat().st_mtime_ns
            assert self.written.setdefault(path, stamp) == stamp, f"{path} was written twice"
        for path in self.written:
            assert path.exists(), f"{path} was lost"

    def finished(self):
        planned = self.folder / "manifests/plan.json"
        return planned.exists() and len(self.written) == len(plan_runs(self.folder))

    def starts_of_runs(self):
        """{run id: how often a rank began it}, from the logs of all starts."""
        starts = collections.Counter()
        for log in (self.folder / "logs").glob("rank-*.log"):
            starts.update(re.findall(r" start ([0-9a-f]{16}) ", log.read_text(errors="replace")))
        return starts


class Case(unittest.TestCase):
    """A test with a folder for runs that goes away at its end."""

    def setUp(self):
        self.out = pathlib.Path(tempfile.mkdtemp(prefix="qsweep-e2e-"))

    def tearDown(self):
        shutil.rmtree(self.out, ignore_errors=True)

    def study(self, text, name="study.yaml"):
        path = self.out / name
        path.write_text(text.replace("@ROOT@", str(ROOT)))
        return path


def main():
    global QSWEEP
    parser = argparse.ArgumentParser()
    parser.add_argument("--qsweep", default=str(QSWEEP))
    arguments, rest = parser.parse_known_args()
    QSWEEP = pathlib.Path(arguments.qsweep).resolve()
    unittest.main(module="__main__", argv=[sys.argv[0], *rest], verbosity=2)
