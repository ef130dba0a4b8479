"""jobs/submit.sh on a real Slurm of two nodes with two ranks each: from one command to the report, through every way
in which a job can end early, with the bits of an undisturbed sweep on one rank.

    slurm_test.py [--qsweep PATH] [--long] [unittest's options]      --long: also what waits for Slurm's own clocks

There is no route out of these nodes, so whatever a study needs is there after the submission or not at all.
"""

import argparse
import concurrent.futures
import contextlib
import errno
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import cluster
import harness

STUDY = """
study: on-slurm
model: @ROOT@/data/mini-phi3
seed: 5
repeats: 3
baseline: C0
configs:
  C0: {}
  C3: {scope: mlp, weights: {format: int4, group: 128, scale: fp32}}
workloads:
  profile: {prompt: 16, output: 2, warmup: 0}
  perplexity: {data: @ROOT@/data/tasks/heldout.txt, window: 64, stride: 32, max_tokens: 128}
  trial: {kind: synthetic, seconds: 0.3, lengths: [1, 2, 3]}
claims:
  coarse: {equivalent: [C0, C3], metric: perplexity.nll, within: 50%}
"""
TRIAL = "study: trial\nmodel: none\nconfigs: {A: {}}\nworkloads: {synthetic: {seconds: 0.05, lengths: [1, 2]}}\n"
SITE = """
time=00:10:00
nodes=2
ranks_per_node=2
cpus_per_rank=1
launcher=pmix
environment="OMPI_MCA_mpi_yield_when_idle=1"
program={program}
"""
RANKS = 4
SIDE_BY_SIDE = 3
# Generous: a job that hangs must fail the test, a slow machine must not. An undisturbed sweep takes seven seconds, a
# submission two, and a job that ends at once three.
JOB_S, SUBMIT_S, AT_ONCE_S = 180, 120, 60
LONG = False


class Slurm(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.top = pathlib.Path(tempfile.mkdtemp(prefix="qsweep-slurm-runs-"))
        cls.cluster = cluster.Cluster()
        cls.addClassCleanup(shutil.rmtree, cls.top, ignore_errors=True)
        cls.addClassCleanup(cls.cluster.stop)
        cls.cluster.start()
        (cls.top / "sites").mkdir()
        (cls.top / "sites/private.sh").write_text(SITE.format(program=harness.QSWEEP))
        cls.study = cls.top / "study.yaml"
        cls.study.write_text(STUDY.replace("@ROOT@", str(harness.ROOT)))
        # Beside the first tests: most of its time it sleeps.
        pool = concurrent.futures.ThreadPoolExecutor(1)
        cls.addClassCleanup(pool.shutdown)
        cls.calm = pool.submit(cls.calm_quality)

    @classmethod
    def calm_quality(cls):
        """Of an undisturbed sweep on one rank."""
        harness.run(1, cls.study, "--out", cls.top, "--run-tag", "calm")
        return harness.quality(cls.top / "on-slurm/calm")

    def setUp(self):
        self.cluster.restore()
        self.began = time.monotonic()

    def tearDown(self):
        print(f"{time.monotonic() - self.began:.0f} s ", end="", file=sys.stderr, flush=True)

    # --- what the tests are made of

    def submit(self, tag, *options, study=None, expect=0, **more):
        """jobs/submit.sh; returns (sweep job, reduce job, output)."""
        done = subprocess.run(
            [harness.ROOT / "jobs/submit.sh", study or self.study, "--site", "private", "--out", self.top, "--run-tag",
             tag, *options], capture_output=True, text=True, timeout=SUBMIT_S, cwd=self.top, check=False,
            env={**os.environ, "QSWEEP_SITES": str(self.top / "sites")}, **more)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        jobs = re.findall(r"^(?:sweep|reduce): +job (\d+)", done.stdout, re.MULTILINE)
        if "--dry-run" in options:
            jobs = (None, None)
        return (*jobs, done.stdout + done.stderr) if expect == 0 else done.stdout + done.stderr

    def folder(self, tag, study="on-slurm"):
        return harness.RunFolder(self.top / study / tag)

    def log(self, folder):
        return "\n".join(path.read_text(errors="replace") for path in sorted((folder.folder / "logs").glob("slurm-*")))

    def told(self, folder):
        """What the batch files and srun said, for messages that must not be cut off: not the program's own output."""
        words = ("job: ", "srun: ", "slurmstepd", "exit code ", "qsweep: ")
        return [line for line in self.log(folder).splitlines() if line.startswith(words)]

    def check_requeued(self, folder):
        """A life ended as the warning asks for; which one does not matter: nodes and launchers have faults of their own."""
        told = self.told(folder)
        self.assertTrue([line for line in told
                         if re.fullmatch(r"job: ended with code 75; queued again \(\d+ of at most 20\)", line)], told)

    def wait_for_records(self, folder, count, job):
        """Returns at once, so that as little as possible ends before the job is held or disturbed."""
        end = time.monotonic() + JOB_S
        while len(harness.results(folder.folder)) < count:
            self.assertIn(cluster.job(job)["JobState"], cluster.UNFINISHED, self.log(folder))
            self.assertLess(time.monotonic(), end, self.log(folder))
            time.sleep(0.02)

    def ended(self, job, folder, state="COMPLETED"):
        fields = cluster.wait_for_job(job, JOB_S)
        self.assertEqual(fields["JobState"], state, f"{fields}\n{self.log(folder)}\n{self.cluster.logs()}")
        return fields

    def check_complete(self, folder, again=0):
        """Every run is recorded once, with the bits of the calm sweep; at most `again` were begun a second time."""
        folder.check_records()
        self.assertTrue(folder.finished(), self.log(folder))
        self.assertEqual(self.calm.result(), harness.quality(folder.folder))
        self.assertFalse(list(folder.folder.rglob("*.qsweep-tmp")))
        self.assertLessEqual(sum(count - 1 for count in folder.starts_of_runs().values()), again, self.log(folder))

    # --- from one command to the report

    def test_01_one_command_gives_the_report(self):
        sweep, reduce, output = self.submit("plain")
        self.assertRegex(output, r"budget: \S+ rank-hours on 4 ranks, .* beside a limit of 10 min 00 s: one job")
        folder = self.folder("plain")
        self.wait_for_records(folder, 4, sweep)
        with self.held("plain"):
            status = harness.run(1, "status", folder.folder)
        self.assertRegex(status, r"runs planned, \d+ ok.*\n.* ago: \d+ of \d+ runs .* 4 of 4 ranks alive")
        self.ended(sweep, folder)
        self.ended(reduce, folder)
        self.assertIn("4 ranks on 2 nodes by pmix", self.log(folder))
        self.check_complete(folder)
        self.assertTrue((folder.folder / "report/report.html").exists(), self.log(folder))
        self.assertEqual(len(list((folder.folder / "logs").glob("rank-*.log"))), RANKS)

    def test_02_array_of_tasks_gives_the_same(self):
        sweep, reduce, _ = self.submit("array", "--array", "4")
        folder = self.folder("array")
        self.ended(reduce, folder)
        self.check_complete(folder)
        for part in range(1, 5):
            self.assertIn(" end ", (folder.folder / f"logs/rank-0000-{part}-of-4.log").read_text())

    def test_03_there_is_no_route_out(self):
        with socket.socket() as probe, self.assertRaises(OSError) as raised:
            probe.connect(("192.0.2.1", 443))
        self.assertEqual(raised.exception.errno, errno.ENETUNREACH)

    # --- ends before the end

    @contextlib.contextmanager
    def held(self, *tags):
        """These sweeps get no further meanwhile, so that none ends before it is disturbed."""
        processes = [process for tag in tags for process in harness.ranks_with(tag)]
        self.signal(processes, signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(processes, signal.SIGCONT)

    def signal(self, processes, what):
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, what)

    def disturbed(self, tag, disturb, *options, requeued=True, hold=True):
        """Submits, waits for some records, disturbs; then the job must complete, queued again or submitted again."""
        folder = self.folder(tag)
        sweep, reduce, _ = self.submit(tag, *options)
        self.wait_for_records(folder, 5, sweep)
        with self.held(*[tag] * hold):
            folder.check_records()
            disturb(sweep)
        if requeued:
            fields = self.ended(sweep, folder)
            self.assertGreaterEqual(int(fields["Restarts"]), 1, self.told(folder))
        else:
            self.ended(sweep, folder, "CANCELLED")
            self.ended(reduce, folder, "CANCELLED")
            folder.check_records()
            self.assertFalse(folder.finished(), "it was too fast to be disturbed")
            sweep, reduce, _ = self.submit(tag, *options)
            self.ended(sweep, folder)
        self.ended(reduce, folder)
        self.check_complete(folder, again=RANKS)
        return folder

    def side_by_side(self, *scenarios):
        """Several at once: most of their time they wait for Slurm."""
        with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            futures = {scenario.__name__: pool.submit(scenario) for scenario in scenarios}
        for name, future in futures.items():
            with self.subTest(name):
                future.result()

    def test_04_jobs_that_are_ended_early(self):
        self.side_by_side(self.usr1, self.usr1_to_a_task, self.cancelled, self.killed_rank, self.killed_daemon,
                          self.nowhere)

    def usr1(self):
        """As before the time limit."""
        folder = self.disturbed("usr1", lambda job: cluster.run_slurm("scancel", "--signal=USR1", "--batch", job))
        self.check_requeued(folder)

    def usr1_to_a_task(self):
        folder = self.folder("usr1-array")
        sweep, reduce, _ = self.submit("usr1-array", "--array", "4")
        self.wait_for_records(folder, 5, sweep)
        with self.held("usr1-array"):
            folder.check_records()
            cluster.run_slurm("scancel", "--signal=USR1", "--batch", f"{sweep}_2")
        self.ended(reduce, folder)
        self.check_requeued(folder)
        self.check_complete(folder, again=1)

    def cancelled(self):
        self.disturbed("scancel", lambda job: cluster.run_slurm("scancel", job), requeued=False)

    def killed_rank(self):
        def kill(_):
            ranks = {rank: pid for pid, rank in harness.ranks_with("killed-rank").items()}
            os.kill(ranks[2], signal.SIGKILL)
        self.disturbed("killed-rank", kill)

    def killed_daemon(self):
        """mpirun's daemon on the second node, which is the task of slurmstepd there."""
        def kill(_):
            found = []
            for path in pathlib.Path("/proc").glob("[0-9]*/comm"):
                with contextlib.suppress(OSError):  # the process has just ended
                    if path.read_text().strip() == "orted":
                        found.append(int(path.parent.name))
            self.assertEqual(len(found), 1)
            os.kill(found[0], signal.SIGKILL)
        self.disturbed("killed-orted", kill, "--with", "launcher=mpirun")

    def nowhere(self):
        """Killed before its first run in every life, a job is not queued for ever."""
        study = self.top / "slow.yaml"
        study.write_text(TRIAL.replace("trial", "slow").replace("0.05", "60"))
        folder = self.folder("nowhere", "slow")
        sweep, reduce, _ = self.submit("nowhere", study=study)
        end = time.monotonic() + JOB_S
        while cluster.job(sweep)["JobState"] in cluster.UNFINISHED and time.monotonic() < end:
            self.signal(harness.ranks_with("nowhere"), signal.SIGKILL)
            time.sleep(0.5)
        fields = self.ended(sweep, folder, "FAILED")
        self.assertEqual(fields["Restarts"], "1", self.told(folder))
        self.assertIn("no run has ended in 2 lives of this job", self.log(folder))
        self.ended(reduce, folder, "CANCELLED")

    def unwarned_batch_file(self, tag):
        """The sweep's without --signal, so that Slurm gives no warning before it preempts."""
        _, _, output = self.submit("template", "--dry-run")
        text = output.split("jobs/sweep.sbatch\n", 1)[1].split("== ", 1)[0].replace("template", tag)
        lines = [line for line in text.splitlines() if "--signal" not in line]
        self.assertEqual(len(lines), len(text.splitlines()) - 1)
        script = self.top / f"{tag}.sbatch"
        script.write_text("\n".join(lines) + "\n")
        (self.folder(tag).folder / "logs").mkdir(parents=True)
        return script

    def test_05_preempted_by_a_higher_partition(self):
        """One job with the site's warning, under mpirun, and one without any, under srun."""
        warned, unwarned = self.folder("warned"), self.folder("unwarned")
        script = self.unwarned_batch_file("unwarned")
        jobs = {warned: self.submit("warned", "--with", "launcher=mpirun")[0],
                unwarned: cluster.run_slurm("sbatch", "--parsable", "-o", unwarned.folder / "logs/slurm-%j.log",
                                            script).strip()}
        with contextlib.ExitStack() as stack:
            for folder, job in jobs.items():
                self.wait_for_records(folder, 5, job)
                stack.enter_context(self.held(folder.folder.name))
                folder.check_records()
            cluster.run_slurm("sbatch", "-p", "urgent", "-N", "2", "--exclusive", "-o", "/dev/null", "--wrap",
                              "sleep 1")
            # Those with a warning have cluster.GRACE_S from here.
            cluster.wait_for_job(jobs[warned], JOB_S, lambda fields: fields["PreemptTime"] != "None")
        for folder, job in jobs.items():
            fields = self.ended(job, folder)
            self.assertEqual(fields["Restarts"], "1", self.told(folder))
            self.check_complete(folder, again=RANKS)
        self.check_requeued(warned)

    def silence(self, job, tag, notice):
        """The second node's slurmd is killed, and its ranks get no further; `notice` until the controller knows."""
        self.cluster.kill_daemon("node2")
        self.signal([process for process, rank in harness.ranks_with(tag).items() if rank >= RANKS // 2],
                    signal.SIGSTOP)
        notice()
        cluster.wait_for_job(job, JOB_S, lambda fields: int(fields["Restarts"]) > 0)
        self.cluster.start_node("node2")

    def test_06_a_node_goes_silent(self):
        """A health check tells the controller, as sites have one."""
        def down():
            cluster.run_slurm("scontrol", "update", "nodename=node2", "state=down", "reason=silent")
        self.disturbed("silent", lambda job: (self.silence(job, "silent", down), self.cluster.resume("node2")),
                       hold=False)

    # --- what else a job may be

    def test_07_other_jobs(self):
        self.side_by_side(self.no_gpu, self.no_gpu_in_an_array, self.odd_names, self.sbatch_alone, self.doctor,
                          self.wrong_launcher)

    def no_gpu(self, *options, tag="no-gpu"):
        """A GPU study on nodes without one ends at once."""
        folder = self.folder(tag)
        sweep, reduce, _ = self.submit(tag, "--with", "gpus_per_node=2", *options)
        fields = self.ended(sweep, folder, "FAILED")
        self.ended(reduce, folder, "CANCELLED")
        self.assertEqual(cluster.exit_code(fields), 3, self.log(folder))
        self.assertEqual(fields["Restarts"], "0")
        self.assertRegex(self.log(folder), r"qsweep: .*GPU")
        began, over = (time.mktime(time.strptime(fields[name], "%Y-%m-%dT%H:%M:%S"))
                       for name in ("StartTime", "EndTime"))
        self.assertLess(over - began, AT_ONCE_S)

    def no_gpu_in_an_array(self):
        self.no_gpu("--array", "2", tag="no-gpu-array")

    def odd_names(self):
        """Quotes, commands and patterns in names are no more than names."""
        odd = self.top / "it's a \"$(touch pwned)\" `touch pwned` & %j;x"
        odd.mkdir()
        study = odd / "a 'b' $(touch pwned) \"c\".yaml"
        study.write_text(TRIAL)
        jobs = [(harness.RunFolder(odd / "trial" / launcher),
                 self.submit(launcher, "--with", f"launcher={launcher}", "--out", odd, study=study))
                for launcher in ("pmix", "mpirun")]
        for folder, (sweep, reduce, _) in jobs:
            self.ended(sweep, folder)
            self.ended(reduce, folder)
            folder.check_records()
            self.assertTrue(folder.finished())
        self.assertEqual(list(self.top.rglob("pwned")), [])
        self.assertFalse((harness.ROOT / "pwned").exists())

    def doctor(self):
        command = ["srun", "-N", "2", "--ntasks-per-node=2", "-c", "2", "-o", self.top / "doctor.log"]
        cluster.run_slurm(*command, "--mpi=pmix", harness.QSWEEP, "doctor", "--out", self.top,
                          env={**os.environ, "SLURM_PMIX_FENCE": "ring"})  # docs/cluster.md says why
        text = (self.top / "doctor.log").read_text()
        for part in ("ok   4 ranks, as many as the launcher started", "ok   file locks hold between the ranks",
                     "node1: no GPU", "node2: no GPU", "verdict: "):
            self.assertIn(part, text)
        with self.assertRaisesRegex(AssertionError, "exit code 1"):
            cluster.run_slurm(*command, "--mpi=none", harness.QSWEEP, "doctor", "--out", self.top)
        self.assertIn("FAIL MPI sees 1 rank(s), the launcher started 4", (self.top / "doctor.log").read_text())

    def wrong_launcher(self):
        """Ranks that do not know of each other do not start to work."""
        folder = self.folder("misfit")
        sweep, _, _ = self.submit("misfit", "--with", "launcher=pmi2")
        fields = self.ended(sweep, folder, "FAILED")
        self.assertEqual(fields["Restarts"], "0", self.log(folder))
        self.assertEqual(harness.results(folder.folder), [])

    def sbatch_alone(self):
        """Without submit.sh: the site by name, the run folder by the job's number."""
        study = self.top / "trial.yaml"
        study.write_text(TRIAL)
        output = cluster.run_slurm(
            "sbatch", "--parsable", "-N", "2", "--ntasks-per-node=2", "--time=10", "-o", self.top / "alone.log",
            "jobs/sweep.sbatch", study, "--out", self.top, cwd=harness.ROOT,
            env={**os.environ, "QSWEEP_SITES": str(self.top / "sites"), "QSWEEP_SITE": "private"})
        job = output.strip()
        folder = self.folder(f"job-{job}", "trial")
        self.assertEqual(cluster.wait_for_job(job, JOB_S)["JobState"], "COMPLETED", (self.top / "alone.log").read_text())
        folder.check_records()
        self.assertTrue(folder.finished())

    def test_21_slurm_itself_notices_a_silent_node(self):
        """After its own timeout and some of its pings."""
        if not LONG:
            self.skipTest("waits for Slurm's own clock (--long)")
        self.disturbed("timeout", lambda job: self.silence(job, "timeout", lambda: None),
                       hold=False)

    def test_20_slurm_itself_sends_usr1(self):
        """A limit of one minute and a warning 40 s before it: some lives, each with some runs."""
        if not LONG:
            self.skipTest("waits for Slurm's own clock (--long)")
        study = self.top / "longer.yaml"
        study.write_text(self.study.read_text().replace("on-slurm", "longer").replace("seconds: 0.3", "seconds: 4"))
        folder = self.folder("clock", "longer")
        sweep, reduce, _ = self.submit("clock", "--with", "time=00:01:00", "--with", "signal_seconds=40", study=study)
        fields = cluster.wait_for_job(sweep, 600)
        self.assertEqual(fields["JobState"], "COMPLETED", self.log(folder))
        self.assertGreaterEqual(int(fields["Restarts"]), 1)
        folder.check_records()
        self.assertTrue(folder.finished())


if __name__ == "__main__":
    cluster.enter()
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--long", action="store_true")
    options, sys.argv[1:] = parser.parse_known_args()
    LONG = options.long
    harness.main()
