"""Hostile run folders, names and variables: what was written stays, and nothing is written elsewhere."""

import hashlib
import io
import json
import os
import shutil

import h5py
import numpy as np

import hostile
import harness

STUDY = """study: s
model: none
seed: 1
repeats: 2
configs: {A: {}, B: {scope: mlp, weights: int4/g8}}
noise_floor: false
workloads: {synthetic: {seconds: 0, items: 4, lengths: [1, 2]}}
claims: {same: {equivalent: [A, B], metric: synthetic.value, within: 1%}}
"""


def sealed(content):
    return content + b"\nqsweep-sha256 " + hashlib.sha256(content).hexdigest().encode() + b"\n"


def hdf5(fill):
    """A sealed HDF5 file that `fill` has written; only its content is hostile."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        fill(file)
    return sealed(buffer.getvalue())


class Folder(hostile.Case):
    def setUp(self):
        super().setUp()
        self.path = self.study(STUDY)
        self.command = (self.path, "--out", self.out / "runs", "--run-tag", "t")
        self.folder = self.out / "runs" / "s" / "t"

    def sweep(self):
        self.accept(*self.command)
        self.assertEqual(len(harness.results(self.folder)), 8)

    def test_hostile_records_are_run_again_and_the_others_kept(self):
        self.sweep()
        record = harness.results(self.folder)[3]
        sound = record.read_bytes()
        elsewhere = self.out / "elsewhere"
        elsewhere.write_bytes(b"precious")

        def of_another_run(file):
            with h5py.File(io.BytesIO(sound), "r") as source:
                for name, value in source.attrs.items():
                    file.attrs[name] = value
            file.attrs["run_id"] = "0" * 16

        def wrong_types(file):
            file.attrs["schema_version"] = "1"

        def huge(file):
            file.attrs["schema_version"] = np.int64(1)
            file.create_dataset("metrics/synthetic.value", shape=(1 << 40,), dtype="f8", chunks=(1 << 20,))

        def leads_away(file):
            file.attrs["schema_version"] = np.int64(1)
            file["metrics"] = h5py.ExternalLink("/etc/passwd", "/")

        def circle(file):
            file.attrs["schema_version"] = np.int64(1)
            file["metrics"] = file["/"]
            file["samples"] = h5py.SoftLink("/samples")

        def contents():
            yield "nothing", b""
            yield "zeros", bytes(len(sound))
            yield "text", b"not HDF5"
            yield "sealed text", sealed(b"not HDF5")
            yield "no seal", sound[:-80]
            for share in range(1, 8):
                yield f"cut at {share}/8", sound[:len(sound) * share // 8]
            yield "one byte bent", sound[:100] + bytes([sound[100] ^ 1]) + sound[101:]
            for fill in (of_another_run, wrong_types, huge, leads_away, circle):
                yield fill.__name__, hdf5(fill)

        def places():
            for what, content in contents():
                yield what, lambda content=content: record.write_bytes(content)
            yield "pipe", lambda: os.mkfifo(record)
            yield "device", lambda: record.symlink_to("/dev/zero")
            yield "circle of links", lambda: record.symlink_to(record.name)
            yield "dangling link", lambda: record.symlink_to("nowhere.h5")
            yield "link to another file", lambda: record.symlink_to(elsewhere)

        for what, place in places():
            with self.subTest(case=what):
                record.unlink()
                place()
                before = hostile.tree(self.folder / "results")
                self.accept(*self.command)
                after = hostile.tree(self.folder / "results")
                self.assertEqual(after[record][0], "file")
                self.assertNotEqual(before.pop(record), after.pop(record))
                self.assertEqual(before, after, "another record was touched")
                with h5py.File(record, "r") as file:
                    self.assertEqual(file.attrs["status"], "ok")
        self.assertEqual(elsewhere.read_bytes(), b"precious")

    def test_a_record_cannot_command_the_terminal(self):
        self.sweep()
        record = harness.results(self.folder)[0]
        with h5py.File(record, "r") as source:
            attributes = dict(source.attrs)

        def shouts(file):
            file.attrs.update(attributes)
            file.attrs["status"] = "failed\x1b[2J"
            file.attrs["error"] = "\x1b]0;title\x07\x9b"

        record.write_bytes(hdf5(shouts))
        for arguments in (("status", self.folder), ("inspect", self.folder), ("inspect", record)):
            shown = self.accept(*arguments)
            self.assertNotRegex(shown, r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
        code, stdout, _ = self.start(self.path, "--out", self.out / "runs", "--run-tag", "t", "--reduce-only")
        self.assertEqual(code, 4)
        self.assertNotIn(b"\x1b", stdout)

    def test_a_folder_in_place_of_a_record(self):
        self.sweep()
        record = harness.results(self.folder)[3]
        record.unlink()
        (record / "inside").mkdir(parents=True)
        kept = {path: content for path, content in hostile.tree(self.folder / "results").items()}
        code, stdout, stderr = self.start(*self.command)
        self.assertEqual(code, 1, stdout)
        self.assertIn(record.name, stderr.decode())
        self.assertEqual(kept, hostile.tree(self.folder / "results"))

    def test_hostile_plans_are_refused_and_nothing_is_touched(self):
        self.sweep()
        plan = self.folder / "manifests" / "plan.json"
        text = plan.read_text()

        def changed(**changes):
            return json.dumps({**json.loads(text), **changes})

        def with_run(**changes):
            whole = json.loads(text)
            whole["runs"][1].update(changes)
            return json.dumps(whole)

        cases = {
            "nothing": "", "cut": text[:-3], "depth": "[" * 1_000_000, "no UTF-8": text.encode() + b"\xff",
            "a zero byte": text.replace("synthetic", "syn\0thetic", 1),
            "a key twice": text.replace('"seed"', '"study"'), "a list": "[]",
            "another version": changed(schema_version=99), "a version of 2^64": changed(schema_version=2**64),
            "a study that leads away": changed(study="../../x"), "runs that are no list": changed(runs={}),
            "a run that is no object": changed(runs=[1]), "an id": with_run(id="../../../x"),
            "an id twice": with_run(id=json.loads(text)["runs"][0]["id"]),
            "a path that leads away": with_run(path="results/../../../x.h5"),
            "an absolute path": with_run(path="/etc/passwd"), "a config that leads away": with_run(config=".."),
            "a workload that leads away": with_run(workload="a/b"), "a negative repeat": with_run(repeat=-1),
            "a repeat of 2^63": with_run(repeat=2**63), "a cost that is none": text.replace('"cost": ', '"cost": NaN', 1),
            "a negative cost": with_run(cost=-1), "an unknown baseline": changed(baseline="Z"),
            "a claim of an unknown kind": text.replace('"kind": "equivalent"', '"kind": "x"'),
            "a long text": changed(model="x" * 5000)}
        for what, content in cases.items():
            with self.subTest(case=what):
                self.assertNotEqual(content, text)
                plan.write_bytes(content if isinstance(content, bytes) else content.encode())
                self.refuse(*self.command, says="plan.json")
                self.refuse("status", self.folder, says="plan.json")
        plan.unlink()
        os.mkfifo(plan)
        self.refuse(*self.command, code=1, says=["plan.json", "not a regular file"])
        self.refuse("status", self.folder, code=1, says="plan.json")
        self.refuse(*self.command, "--reduce-only", code=1, says="plan.json")

    def test_other_files_of_the_folder_that_are_none(self):
        self.sweep()
        for name in ("logs/rank-0000.log", "configs/study.yaml", "sweep.h5", "aggregate.csv", "manifests/model.json"):
            with self.subTest(name=name):
                path = self.folder / name
                path.unlink()
                os.mkfifo(path)
                before = hostile.tree(self.folder / "results")
                code, stdout, stderr = self.start(*self.command)
                self.assertEqual(code, 1 if name.startswith("logs") else 0, stdout + stderr)
                self.assertEqual(before, hostile.tree(self.folder / "results"))
                if code:
                    self.assertIn(b"not a regular file", stderr)
                    path.unlink()
                self.assertFalse(path.is_fifo())

    def test_a_link_under_a_temporary_name_is_not_followed(self):
        self.sweep()
        precious = self.out / "precious"
        precious.write_bytes(b"precious")
        # Names hold the number of the process; those that the next ones will have.
        for number in range(os.getpid(), os.getpid() + 400):
            for count in range(3):
                (self.folder / "configs" / f"study.yaml.{number}-{count}.qsweep-tmp").symlink_to(precious)
        self.accept(*self.command)
        self.assertEqual(precious.read_bytes(), b"precious")

    def test_names_that_become_paths(self):
        for tag in ("../x", "/x", "a/b", "..", ".hidden", "-x", "a\x1b[2J", "a b", "x" * 121, "\u00e9"):
            with self.subTest(tag=tag):
                self.refuse(self.path, "--out", self.out / "runs", f"--run-tag={tag}", says="cannot be a folder name")
        for line, says in (("study: ../x", "study.yaml:1:8"), ("study: a/b", "study.yaml:1:8"),
                           ("study: " + "x" * 121, "study.yaml:1:8")):
            self.refuse(self.study(STUDY.replace("study: s", line), "study.yaml"), "--out", self.out, says=says)
        for old, new in (("{A: {}", "{../A: {}"), ("B: {scope", "..: {scope"), ("{synthetic:", "{../w: {kind: synthetic}, x:"),
                         ("{same:", "{../same:")):
            self.refuse(self.study(STUDY.replace(old, new)), "--out", self.out, says="cannot name a folder")

    def test_variables(self):
        run = (*self.command[:-1], "v")
        for name, values in (("OMP_NUM_THREADS", ("abc", "0", "-1", "4x", "1025", "99999999999999999999", " ")),
                             ("SLURM_NTASKS", ("x", "0", "-1", "2x", "99999999999999999999", "4294967297")),
                             ("SLURM_STEP_NUM_TASKS", ("1e3",))):
            for value in values:
                with self.subTest(name=name, value=value):
                    self.refuse(*run, variables={name: value}, says=[name, "whole number"])
        self.refuse(*run, variables={"SLURM_NTASKS": "2"}, says="SLURM_NTASKS")
        self.refuse(*run, "--expect-ranks", "-1", says="--expect-ranks")
        hub = self.out / "hub"
        (hub / "models--a--b" / "refs").mkdir(parents=True)
        (hub / "models--a--b" / "refs" / "main").write_text("../../../../model")
        study = self.study(STUDY.replace("model: none", "model: a/b").replace("{synthetic:", "{profile: {}, synthetic:"))
        self.refuse(study, "--out", self.out, variables={"HF_HUB_CACHE": str(hub)}, says=["refs/main", "not a commit"])
        for value in ("/dev/null", "/proc/self/mem", "x" * 5000, "\udcff", str(self.path)):
            with self.subTest(hub=value[:20]):
                self.refuse(study, "--out", self.out, variables={"HF_HUB_CACHE": value, "HF_HOME": value, "HOME": value},
                            says="'a/b' not found")

    def test_variables_are_recorded_as_text(self):
        variables = {"SLURM_JOB_ID": "7\udcff\x1b[2J", "QSWEEP_X\udcff": "a\udcfe", "OMP_TOKEN": "secret"}
        self.accept(*self.command, variables=variables)
        environment = json.loads((self.folder / "manifests" / "env_info.json").read_text())
        self.assertEqual(environment["variables"]["SLURM_JOB_ID"], "7\ufffd\x1b[2J")
        self.assertEqual(environment["variables"]["QSWEEP_X\ufffd"], "a\ufffd")
        self.assertNotIn("OMP_TOKEN", environment["variables"])
        with h5py.File(harness.results(self.folder)[0], "r") as file:
            self.assertEqual(file.attrs["slurm_job_id"], "7\ufffd\x1b[2J")

    def test_places_that_are_no_utf8(self):
        odd = os.fsdecode(os.fsencode(self.out) + b"/odd-\xff")
        shutil.copytree(hostile.write_model(self.out / "model"), odd + "/model")
        with open(odd + "/study.yaml", "w") as file:
            file.write("study: s\nmodel: model\nconfigs: {A: {}}\nworkloads: {profile: {prompt: 4, output: 2}}\n")
        self.accept(odd + "/study.yaml", "--out", odd + "/runs", "--run-tag", "t")
        with open(odd + "/runs/s/t/manifests/model.json") as file:
            self.assertIn("odd-\ufffd", json.load(file)["folder"])


class Shortened(hostile.Case):
    """The weights are cut off while the sweep has them mapped: it ends with the reason, and keeps what it had."""

    def test_weights_cut_under_a_running_sweep(self):
        model = self.out / "model"
        shutil.copytree(harness.ROOT / "data" / "mini-llama", model)
        configs = "".join(f"  B{m}: {{scope: all_linear, weights: {{format: int4, group: 32, scale: e5m{m}}}}}\n"
                          for m in range(8))
        study = self.study(f"study: s\nmodel: {model}\nnoise_floor: false\nconfigs:\n  A: {{}}\n{configs}"
                           "workloads: {profile: {prompt: 64, output: 32}}\n")
        process = harness.start(1, study, "--out", self.out / "runs", "--run-tag", "t")
        folder = self.out / "runs" / "s" / "t"
        harness.wait_for_results(process, folder, 1)
        os.truncate(model / "model.safetensors", 100)
        output, _ = process.communicate(timeout=harness.TIMEOUT_S)
        self.assertEqual(process.returncode, 1, output)
        self.assertIn("model.safetensors (it was shortened while it was in use", output)
        self.assertLess(len(harness.results(folder)), 9)
        for record in harness.results(folder):
            self.assertIn("status", self.accept("inspect", record))
        self.refuse(study, "--out", self.out / "runs", "--run-tag", "t", says="model.safetensors")


if __name__ == "__main__":
    harness.main()
