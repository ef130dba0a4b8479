"""A sweep on several ranks, killed and resumed, must give the bits of an undisturbed sweep on one rank."""

import json
import os
import re
import signal

import harness

STUDY = """
study: e2e
model: @ROOT@/data/mini-phi3
seed: 3
repeats: 2
baseline: C0
configs:
  C0: {}
  C3: {scope: mlp, weights: {format: int4, group: 128, scale: fp32}}
  C5: {sweep: {m: [0, 3]}, scope: mlp, weights: {format: int4, group: 128, scale: "e5m{m}"}}
workloads:
  profile: {prompt: 24, output: 4, warmup: 0}
  perplexity: {data: @ROOT@/data/tasks/heldout.txt, window: 64, stride: 32, max_tokens: 384}
  trial: {kind: synthetic, seconds: 0.1, lengths: [1, 2]}
claims:
  coarser_is_worse: {ordered: [C3, C5_m0], metric: perplexity.kl, direction: increasing}
"""


class Sweep(harness.Case):
    def sweep(self, tag, ranks, threads=1, **options):
        study = self.study(STUDY)
        harness.run(ranks, study, "--out", self.out, "--run-tag", tag, threads=threads, **options)
        return self.out / "e2e" / tag

    def test_ranks_and_threads_do_not_change_quality(self):
        alone = harness.quality(self.sweep("one", 1))
        self.assertEqual(len(alone), 5 * 4 * 2)  # four configs and the A/A duplicate, four cells, two repeats
        self.assertEqual(alone, harness.quality(self.sweep("two", 2)))
        self.assertEqual(alone, harness.quality(self.sweep("four", 4)))
        self.assertEqual(alone, harness.quality(self.sweep("threads", 1, threads=2)))

    def test_killed_and_resumed_on_other_ranks(self):
        undisturbed = harness.quality(self.sweep("calm", 1))
        folder = self.out / "e2e" / "killed"
        study = self.study(STUDY)
        kept = {}
        for ranks, records in ((2, 6), (4, 15), (1, 22)):
            process = harness.start(ranks, study, "--out", self.out, "--run-tag", "killed")
            harness.wait_for_results(process, folder, records)
            harness.kill_group(process)
            for path, stamp in kept.items():
                self.assertEqual(path.stat().st_mtime_ns, stamp, f"{path} was run twice")
            kept = {path: path.stat().st_mtime_ns for path in harness.results(folder)}
        self.sweep("killed", 3)
        for path, stamp in kept.items():
            self.assertEqual(path.stat().st_mtime_ns, stamp, f"{path} was run twice")
        self.assertEqual(undisturbed, harness.quality(folder))
        ids = [run["id"] for run in harness.plan_runs(folder)]
        self.assertEqual(len(ids), len(set(ids)))
        self.assertEqual(len(ids), len(harness.results(folder)))
        self.assertFalse(list(folder.rglob("*.qsweep-tmp")))
        self.assertTrue((folder / "sweep.h5").exists())

    def test_signal_ends_resumable(self):
        study = self.study(STUDY)
        for signal_number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            tag = f"signal{int(signal_number)}"
            process = harness.start(1, study, "--out", self.out, "--run-tag", tag)
            harness.wait_for_results(process, self.out / "e2e" / tag, 3)
            process.send_signal(signal_number)
            output, _ = process.communicate(timeout=harness.TIMEOUT_S)
            self.assertEqual(process.returncode, 75, output)
            self.assertIn("resum", output)

    def test_second_start_runs_nothing(self):
        folder = self.sweep("again", 1)
        before = {path: path.stat().st_mtime_ns for path in harness.results(folder)}
        self.sweep("again", 2)
        self.assertEqual(before, {path: path.stat().st_mtime_ns for path in harness.results(folder)})

    def test_part_of_a_finished_sweep_forgets_nothing(self):
        folder = self.sweep("part", 1)
        planned = harness.plan_runs(folder)
        study = self.study(STUDY)
        harness.run(1, study, "--out", self.out, "--run-tag", "part", "--only", "C3")
        self.assertEqual(planned, harness.plan_runs(folder))

    def test_another_compute_type_is_another_run(self):
        self.sweep("compute", 1)
        study = self.study(STUDY)
        output = harness.run(1, study, "--out", self.out, "--run-tag", "compute", "--compute", "bf16", expect=2)
        self.assertIn("another study", output)

    def test_damaged_record_is_done_again(self):
        folder = self.sweep("damaged", 1)
        before = harness.quality(folder)
        victim = harness.results(folder)[3]
        victim.write_bytes(victim.read_bytes()[:700])
        self.sweep("damaged", 1)
        self.assertEqual(before, harness.quality(folder))

    def test_another_study_on_the_same_tag_is_refused(self):
        self.sweep("taken", 1)
        other = self.study(STUDY.replace("seed: 3", "seed: 4"))
        output = harness.run(1, other, "--out", self.out, "--run-tag", "taken", expect=2)
        self.assertIn("another study", output)


SLEEPS = """
study: sleeps
model: none
repeats: 10
configs: {A: {}, B: {}}
workloads: {synthetic: {seconds: 0.2, spread: 0, lengths: [1, 2]}}
"""


class Job(harness.Case):
    """What a sweep does in the surroundings of a job: its end, its neighbours, its ranks."""

    def start(self, ranks):
        process = harness.start(ranks, self.study(SLEEPS), "--out", self.out, "--run-tag", "t", mpi=True)
        harness.wait_for_results(process, self.out / "sleeps/t", 3)
        return process

    def test_nothing_is_started_that_cannot_end_before_the_job(self):
        study = self.study(SLEEPS)  # 61 runs, 18 s of one rank
        arguments = (study, "--out", self.out, "--run-tag", "t")
        output = harness.run(1, *arguments, "--until", "+4s", expect=75)
        left = int(re.search(r"(\d+) runs left", output)[1])
        log = (self.out / "sleeps/t/logs/rank-0000.log").read_text()
        done = len(harness.results(self.out / "sleeps/t"))
        self.assertGreater(done, 0)
        self.assertEqual(done + left, 61)
        self.assertEqual(log.count(" start "), done, "a run was begun and not ended")
        output = harness.run(4, *arguments, "--until", "+10m")
        self.assertEqual(len(harness.results(self.out / "sleeps/t")), 61)
        self.assertIn("time left: ", output)
        self.assertIn("soon", harness.run(1, *arguments, "--until", "soon", expect=2))

    def test_a_second_sweep_is_kept_out(self):
        first = self.start(2)
        output = harness.run(1, self.study(SLEEPS), "--out", self.out, "--run-tag", "t", expect=2)
        self.assertRegex(output, r"a sweep is at work in \S+ \(process \d+ on .*--force")
        output, _ = first.communicate(timeout=harness.TIMEOUT_S)
        self.assertEqual(first.returncode, 0, output)

    def test_one_rank_leaves_and_the_others_finish(self):
        process = self.start(3)
        by_rank = {rank: pid for pid, rank in harness.ranks_with(self.out).items()}
        os.kill(by_rank[2], signal.SIGUSR1)
        output, _ = process.communicate(timeout=harness.TIMEOUT_S)
        self.assertEqual(process.returncode, 0, output)
        self.assertEqual(len(harness.results(self.out / "sleeps/t")), 61)
        self.assertIn("leaves: interrupted", (self.out / "sleeps/t/logs/rank-0002.log").read_text())

    def test_status_of_a_running_sweep(self):
        process = self.start(2)
        folder = self.out / "sleeps/t"
        status = harness.run(1, "status", folder)
        self.assertRegex(status, r"ago: \d+ of 61 runs of this start done in .* left; 2 of 2 ranks alive\n")
        stopped = {rank: pid for pid, rank in harness.ranks_with(self.out).items()}[1]
        os.kill(stopped, signal.SIGSTOP)
        beat = folder / "manifests/ranks/0001"
        told = json.loads(beat.read_text())
        self.assertEqual(told["pid"], stopped)
        beat.write_text(json.dumps(told | {"at": told["at"] - 120}))
        self.assertRegex(harness.run(1, "status", folder),
                         rf"; 1 of 2 ranks alive\n(.*\n)*  rank 1 \(process {stopped} on .*\): no sign of life for 2 min")
        os.kill(stopped, signal.SIGCONT)
        output, _ = process.communicate(timeout=harness.TIMEOUT_S)
        self.assertEqual(process.returncode, 0, output)
        self.assertEqual(list(beat.parent.iterdir()), [], "ranks that have left")
        self.assertRegex(harness.run(1, "status", folder), r"ago: 61 of 61 runs of this start done in [^;]*\n")

    def test_status_after_a_kill(self):
        process = self.start(2)
        harness.kill_group(process)
        folder = self.out / "sleeps/t"
        for beat in (folder / "manifests/ranks").iterdir():
            beat.write_text(json.dumps(json.loads(beat.read_text()) | {"at": 0}))
        self.assertRegex(harness.run(1, "status", folder), r"; 0 of 2 ranks alive\n  it was killed, .* start it again")


class Failures(harness.Case):
    def test_failed_runs_are_data(self):
        study = self.study("study: fails\nmodel: none\nrepeats: 3\nconfigs: {A: {}, B: {}}\n"
                           "workloads: {synthetic: {seconds: 0.001, lengths: [1, 2, 3], fail: 0.4}}\n")
        output = harness.run(2, study, "--out", self.out, "--run-tag", "t", expect=4)
        self.assertEqual(output.count("exit code 4\n"), 1, output)
        self.assertIn("synthetic failure", output)
        with self.assertRaises(AssertionError):
            harness.quality(self.out / "fails" / "t")
        self.assertEqual(len(harness.results(self.out / "fails" / "t")), 3 * 3 * 3)

    def test_unwritable_folder_ends_every_rank(self):
        study = self.study("study: s\nmodel: none\nconfigs: {A: {}}\nworkloads: {synthetic: {seconds: 0.01}}\n")
        blocked = self.out / "file"
        blocked.write_text("in the way")
        output = harness.run(2, study, "--out", blocked, "--run-tag", "t", expect=1)
        self.assertIn("file", output)


if __name__ == "__main__":
    harness.main()
