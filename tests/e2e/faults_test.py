"""Random faults against a running sweep, over many resumes with changing numbers of ranks.

    faults_test.py [--qsweep PATH] [--faults N] [--seed S]      default: 10 faults, as CI runs it

A fault is a signal to a rank, to mpirun, or to all of them, a disk that is full, a results folder that turns
read-only, a run folder that vanishes, or a rank that is held for a while. After each one the sweep must end by itself
within WATCHDOG_S and leave nothing but whole records; the next start must go on from them. At the end:

  * every planned run is recorded once, and its quality has the bits of an undisturbed sweep;
  * no record was ever written again, and no run begun more often than was lost: at most one a rank and fault;
  * file-system faults are told in one message, with exit code 1 or 75.

Full disks and read-only folders need a mount of its own, in a private namespace; where that is not allowed (no root)
these two are left out, aloud.
"""

import argparse
import collections
import errno
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import harness

# From the fault to the end of the last process. A run takes well below a second, and mpirun kills within a few.
WATCHDOG_S = 60
# Bytes of the run folders' own small disk, where there is one.
DISK_MB = 64
STUDY = """
study: faults
model: @ROOT@/data/mini-phi3
seed: 3
repeats: 3
baseline: C0
configs:
  C0: {}
  C3: {scope: mlp, weights: {format: int4, group: 128, scale: fp32}}
  C5: {scope: mlp, weights: {format: int4, group: 128, scale: e5m3}}
workloads:
  profile: {prompt: 24, output: 4, warmup: 0}
  perplexity: {data: @ROOT@/data/tasks/heldout.txt, window: 64, stride: 32, max_tokens: 256}
  trial: {kind: synthetic, seconds: 0.1, lengths: [1, 2, 3, 4, 6]}
"""


class Sweep(harness.RunFolder):
    """One run folder, from its first start to its end."""

    def __init__(self, out, study, tag, rng):
        super().__init__(out / "faults" / tag)
        self.out, self.study, self.tag, self.rng = out, study, tag, rng
        self.lost = 0  # runs that faults may have cost at most
        self.output = ""

    def start(self):
        self.ranks = self.rng.choice([1, 2, 2, 3, 4, 6])
        self.process = harness.start(self.ranks, self.study, "--out", self.out, "--run-tag", self.tag, mpi=True)

    def members(self):
        """Processes of the sweep: the ranks, without mpirun."""
        return sorted(harness.ranks_with(self.tag))

    def wait_for_end(self):
        deadline = time.monotonic() + WATCHDOG_S
        try:
            self.output, _ = self.process.communicate(timeout=WATCHDOG_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"a sweep hangs: ranks {self.members()}") from None
        while self.members():
            if time.monotonic() > deadline:
                raise AssertionError(f"mpirun has ended, its ranks have not: {self.members()}")
            time.sleep(0.05)
        return self.process.returncode


def send(sweep, whom, number):
    """A signal to a random rank, to mpirun, or to everybody."""
    ranks = sweep.members()
    victims = {"rank": [sweep.rng.choice(ranks)] if ranks else [],
               "mpirun": [sweep.process.pid],
               "all": [sweep.process.pid, *ranks]}[whom]
    for pid in victims:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def signal_fault(whom, number):
    def fault(sweep):
        send(sweep, whom, number)
        code = sweep.wait_for_end()
        # One rank that was asked to go goes alone, and the others finish.
        assert code != 0 or whom == "rank" or sweep_is_whole(sweep), sweep.output
        # A signal that comes while the program is still being loaded ends it before it can listen.
        unheard = code == 128 + number and "study faults" not in sweep.output
        if number == signal.SIGUSR1 and not sweep_is_whole(sweep) and not unheard:
            assert code == 75, (code, sweep.output)
    return fault


def sweep_is_whole(sweep):
    return sweep.folder.exists() and len(harness.results(sweep.folder)) == len(harness.plan_runs(sweep.folder))


def held_rank(sweep):
    """A rank that does nothing for a while keeps nobody else waiting, and goes on."""
    ranks = sweep.members()
    if ranks:
        victim = sweep.rng.choice(ranks)
        os.kill(victim, signal.SIGSTOP)
        time.sleep(1)
        os.kill(victim, signal.SIGCONT)
    send(sweep, "all", signal.SIGKILL)
    sweep.wait_for_end()


def vanished_folder(sweep):
    away = sweep.folder.with_name(sweep.tag + ".away")
    if sweep.folder.exists():
        sweep.folder.rename(away)
    code = sweep.wait_for_end()
    if away.exists():
        shutil.rmtree(sweep.folder, ignore_errors=True)  # nothing of ours: the sweep must not make it anew
        away.rename(sweep.folder)
    expect_message(sweep, code, ("vanished", "No such file"))


def full_disk(sweep):
    balloon = sweep.out / "balloon"
    with open(balloon, "wb", buffering=0) as file:
        try:
            while True:  # the sweep writes meanwhile, so what is free cannot be asked for beforehand
                file.write(bytes(1 << 16))
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
    code = sweep.wait_for_end()
    balloon.unlink()
    expect_message(sweep, code, ("No space left",))


def read_only_results(sweep):
    results = str(sweep.folder / "results")
    if not os.path.isdir(results):
        return full_disk(sweep)
    subprocess.run(["mount", "--bind", results, results], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", results], check=True)
    code = sweep.wait_for_end()
    subprocess.run(["umount", "-l", results], check=True)
    expect_message(sweep, code, ("Read-only file system",))


def expect_message(sweep, code, words):
    """The file system refused: told in one line, unless the sweep was done before it could notice."""
    if code == 0:
        return
    assert code in (1, 75), (code, sweep.output)
    told = [line for line in sweep.output.splitlines() if any(word in line for word in words)]
    assert told, sweep.output
    # One message, with a line for every rank that the fault met.
    assert len([line for line in told if line.startswith("qsweep: ")]) <= 1, told


SIGNALS = {f"{signal.Signals(number).name} to {whom}": signal_fault(whom, number)
           for whom, number in (("rank", signal.SIGKILL), ("mpirun", signal.SIGKILL), ("all", signal.SIGKILL),
                                ("mpirun", signal.SIGTERM), ("rank", signal.SIGTERM), ("mpirun", signal.SIGUSR1),
                                ("rank", signal.SIGUSR1), ("mpirun", signal.SIGINT))}
FOLDERS = {"vanished run folder": vanished_folder, "held rank, then all killed": held_rank}
MOUNTS = {"full disk": full_disk, "read-only results": read_only_results}


class Faults(harness.Case):
    faults, seed = 10, None

    def setUp(self):
        super().setUp()
        self.kinds = SIGNALS | FOLDERS
        self.disk = tempfile.mkdtemp(prefix="qsweep-faults-")
        if os.environ.get(NAMESPACE) == "1":
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", self.disk], check=True)
            self.kinds |= MOUNTS
        else:
            print("SKIPPED here: full disk, read-only results (no right to mount)", flush=True)

    def tearDown(self):
        if os.environ.get(NAMESPACE) == "1":
            subprocess.run(["umount", "-l", self.disk], check=True)
        shutil.rmtree(self.disk, ignore_errors=True)
        super().tearDown()

    def undisturbed(self, study):
        harness.run(1, study, "--out", self.out, "--run-tag", "calm")
        return harness.quality(self.out / "faults/calm")

    def finish(self, sweep, calm):
        output = harness.run(sweep.rng.choice([1, 2, 3]), sweep.study, "--out", sweep.out, "--run-tag", sweep.tag)
        sweep.check_records()
        self.assertTrue(sweep.finished(), output)
        self.assertEqual(calm, harness.quality(sweep.folder))
        self.assertFalse(list(sweep.folder.rglob("*.qsweep-tmp")))
        starts = sweep.starts_of_runs()
        # A full disk keeps lines out of the logs, so a run may be missing there; never may one stand there too often.
        again = sum(count - 1 for count in starts.values())
        self.assertLessEqual(again, sweep.lost, "runs were begun again that no fault had cost")
        shutil.rmtree(sweep.folder)
        return again

    def test_random_faults(self):
        seed = self.seed if self.seed is not None else random.randrange(1 << 30)
        print(f"seed {seed}, {self.faults} faults of {len(self.kinds)} kinds", flush=True)
        rng = random.Random(seed)
        study = self.study(STUDY)
        calm = self.undisturbed(study)
        done, again, sweeps, sweep = collections.Counter(), 0, 0, None
        while sum(done.values()) < self.faults:
            if sweep is None or sweep.finished():
                again += self.finish(sweep, calm) if sweep else 0
                sweeps += 1
                sweep = Sweep(pathlib.Path(self.disk), study, f"sweep{sweeps}", rng)
            kind = rng.choice(sorted(self.kinds))
            before = len(harness.results(sweep.folder))
            sweep.start()
            time.sleep(rng.choice([rng.uniform(0, 1), rng.uniform(0.8, 4)]))
            if sweep.process.poll() is None:
                self.kinds[kind](sweep)
                done[kind] += 1
                sweep.lost += sweep.ranks
            else:
                self.assertEqual(sweep.wait_for_end(), 0, sweep.output)
            sweep.check_records()
            print(f"{sum(done.values()):4d} {kind}: {sweep.ranks} ranks, {before} -> {len(sweep.written)} records",
                  flush=True)
        again += self.finish(sweep, calm)
        print(f"{sum(done.values())} faults in {sweeps} sweeps, {again} runs begun again: {dict(done)}", flush=True)


NAMESPACE = "QSWEEP_FAULTS_NAMESPACE"


def enter_namespace():
    """Starts this script again where it may mount, if it may."""
    if NAMESPACE in os.environ:
        return
    enter = ["unshare", "--mount", "--propagation", "private"]
    may = subprocess.run([*enter, "sh", "-c", "d=$(mktemp -d) && mount -t tmpfs tmpfs $d && umount $d; rmdir $d"],
                         capture_output=True, check=False).returncode == 0
    os.environ[NAMESPACE] = "1" if may else "0"
    if may:
        os.execvp(enter[0], [*enter, sys.executable, *sys.argv])


if __name__ == "__main__":
    enter_namespace()
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--faults", type=int, default=Faults.faults)
    parser.add_argument("--seed", type=int)
    options, sys.argv[1:] = parser.parse_known_args()
    Faults.faults, Faults.seed = options.faults, options.seed
    harness.main()
