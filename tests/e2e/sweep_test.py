"""A sweep on several ranks, killed and resumed, must give the bits of an undisturbed sweep on one rank."""

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


class Failures(harness.Case):
    def test_failed_runs_are_data(self):
        study = self.study("study: fails\nmodel: none\nrepeats: 3\nconfigs: {A: {}, B: {}}\n"
                           "workloads: {synthetic: {seconds: 0.001, lengths: [1, 2, 3], fail: 0.4}}\n")
        output = harness.run(2, study, "--out", self.out, "--run-tag", "t", expect=4)
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
