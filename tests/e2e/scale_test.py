"""Many runs in one folder: what is damaged is found and done again, all else is left alone, and reducing them gives
the same bytes on any number of threads. (How long it takes is measured by tests/bench/scale.py.)"""

import random

import h5py
import harness

CONFIGS, LENGTHS, REPEATS = 3, 2, 100
STUDY = f"""
study: many
model: none
repeats: {REPEATS}
noise_floor: false
configs: {{A: {{}}, B: {{}}, C: {{}}}}
workloads: {{synthetic: {{seconds: 0, items: 200, lengths: [1, 2]}}}}
claims:
  same: {{equivalent: [A, B], metric: synthetic.value, within: 1%}}
"""


def damage(paths):
    """Nine of the files, each in its own way; all nine must be done again."""
    cut, empty, flipped, sealless, twin, gone, grown, swapped, other = paths
    cut.write_bytes(cut.read_bytes()[:-1])
    empty.write_bytes(b"")
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 1
    flipped.write_bytes(content)
    sealless.write_bytes(sealless.read_bytes().rsplit(b"\nqsweep-", 1)[0])
    twin.write_bytes(other.read_bytes())  # whole and sealed, but of another run
    gone.unlink()
    grown.write_bytes(grown.read_bytes() + b"\n")
    content = bytearray(swapped.read_bytes())
    content[-2] = ord("0") if content[-2] != ord("0") else ord("1")  # the seal's last digit
    swapped.write_bytes(content)
    other.write_bytes(other.read_bytes()[4096:])


class Many(harness.Case):
    def test_damage_is_mended_and_nothing_else_is_touched(self):
        study = self.study(STUDY)
        arguments = (study, "--out", self.out, "--run-tag", "t")
        folder = self.out / "many" / "t"
        harness.run(2, *arguments)
        paths = harness.results(folder)
        self.assertEqual(len(paths), CONFIGS * LENGTHS * REPEATS)
        undisturbed = harness.quality(folder)
        self.assertIn("600 ok, 0 to come", harness.run(1, "status", folder))

        damaged = random.Random(20260131).sample(paths, 9)
        damage(damaged)
        stamps = {path: path.stat().st_mtime_ns for path in paths if path not in damaged}
        looked = harness.run(1, "inspect", folder)
        self.assertIn("600 runs planned, 591 ok, 8 unreadable, 1 to come", looked)
        self.assertRegex(harness.run(1, "status", folder), r"600 runs planned, 599 ok, 1 to come.*\n.* ago: 600 of 600")

        self.assertIn("591 found finished", harness.run(2, *arguments))
        for path, stamp in stamps.items():
            self.assertEqual(path.stat().st_mtime_ns, stamp, f"{path} was run twice")
        self.assertEqual(undisturbed, harness.quality(folder))
        self.assertIn("600 ok, 0 to come", harness.run(1, "status", folder))

    def test_reducing_does_not_depend_on_threads(self):
        study = self.study(STUDY)
        arguments = (study, "--out", self.out, "--run-tag", "t")
        folder = self.out / "many" / "t"
        harness.run(1, *arguments)
        damage(harness.results(folder)[:90:10])
        made = []
        for threads in (1, 2, 5):
            harness.run(1, *arguments, "--reduce-only", threads=threads, expect=4)
            made.append([(folder / name).read_bytes() for name in ("aggregate.csv", "paper_table.csv", "sweep.h5")])
        self.assertEqual(made[0], made[1])
        self.assertEqual(made[0], made[2])
        with h5py.File(folder / "sweep.h5", "r") as file:
            self.assertEqual(file["run_index/status"].asstr()[:].tolist().count("ok"), 591)
            linked = [file["runs"][config]["synthetic"][f"n{length}"].get(f"r{repeat}", getlink=True)
                      for config in "ABC" for length in (1, 2) for repeat in range(REPEATS)]
            self.assertEqual(sum(isinstance(link, h5py.ExternalLink) for link in linked), 591)
            self.assertEqual(file["runs/C/synthetic/n2/r99"].attrs["config"], "C")  # resolved when asked for


if __name__ == "__main__":
    harness.main()
