"""Independent parts of a sweep (--part K/N) in one run folder: what the tasks of an array do, without a Slurm."""

import signal

import harness

STUDY = """
study: parts
model: @ROOT@/data/mini-phi3
seed: 3
repeats: 2
baseline: C0
configs:
  C0: {}
  C3: {scope: mlp, weights: {format: int4, group: 128, scale: fp32}}
workloads:
  profile: {prompt: 16, output: 2, warmup: 0}
  perplexity: {data: @ROOT@/data/tasks/heldout.txt, window: 64, stride: 32, max_tokens: 128}
  trial: {kind: synthetic, seconds: 0.2, lengths: [1, 2, 3]}
"""
# Long enough that a part lives while others are refused, each after some seconds of patience.
SLEEPS = """
study: parts
model: none
repeats: 30
configs: {A: {}, B: {}}
workloads: {synthetic: {seconds: 0.4, spread: 0}}
"""
COUNT = 3


class Parts(harness.Case):
    text = STUDY

    def arguments(self, tag, *options):
        return (self.study(self.text), "--out", self.out, "--run-tag", tag, *options)

    def start(self, part, ranks=1):
        return harness.start(ranks, *self.arguments("t", "--part", f"{part}/{COUNT}"))

    def end(self, process, code=0):
        output, _ = process.communicate(timeout=harness.TIMEOUT_S)
        self.assertEqual(process.returncode, code, output)
        return output

    def test_parts_side_by_side_are_the_whole(self):
        """One of them is killed and started again, one has two ranks."""
        harness.run(1, *self.arguments("calm"))
        folder = harness.RunFolder(self.out / "parts/t")
        first, second, third = self.start(1), self.start(2, ranks=2), self.start(3)
        harness.wait_for_results(third, folder.folder, 4)
        harness.kill_group(third)
        self.end(first)
        self.end(second)
        folder.check_records()
        self.assertFalse(folder.finished(), "the third part was too fast to be killed")
        self.assertFalse((folder.folder / "sweep.h5").exists(), "a part has reduced")
        output = self.end(self.start(3))
        self.assertIn("found finished", output)
        folder.check_records()
        self.assertTrue(folder.finished())
        starts = folder.starts_of_runs().values()
        self.assertLessEqual(sum(count - 1 for count in starts), 1, "only what the killed part had in hand")
        output = harness.run(1, *self.arguments("t", "--reduce-only"))
        self.assertRegex(output, "busy on 4 ranks")  # of parts with 1, 2 and 1
        self.assertEqual(harness.quality(self.out / "parts/calm"), harness.quality(folder.folder))
        self.assertFalse(list(folder.folder.rglob("*.qsweep-tmp")))

    def test_a_part_keeps_out_what_is_not_of_its_deal(self):
        self.text = SLEEPS
        first = self.start(1)
        harness.wait_for_results(first, self.out / "parts/t", 1)
        for options in ([], ["--part", "1/2"]):
            self.assertIn("a sweep is at work", harness.run(1, *self.arguments("t", *options), expect=2))
        status = harness.run(1, "status", self.out / "parts/t")
        self.assertIn(f"part 1-of-{COUNT}, ", status)
        first.send_signal(signal.SIGUSR1)
        self.assertIn(f"--part 1/{COUNT} resumes", self.end(first, 75))
        harness.run(4, *self.arguments("t"))  # the whole goes on with what the part has left
        folder = harness.RunFolder(self.out / "parts/t")
        folder.check_records()
        self.assertTrue(folder.finished())
        self.assertNotIn("part ", harness.run(1, "status", folder.folder))

    def test_parts_are_refused_where_they_mean_nothing(self):
        for options in (["--plan"], ["--prep-only"], ["--reduce-only"]):
            self.assertIn("--part", harness.run(1, *self.arguments("t", "--part", "1/2", *options), expect=2))
        for part in ("0/2", "3/2", "1", "a/b"):
            self.assertIn("part", harness.run(1, *self.arguments("t", "--part", part), expect=2))


if __name__ == "__main__":
    harness.main()
