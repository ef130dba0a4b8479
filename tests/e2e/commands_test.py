"""Every sub-command as its user calls it, and the documented exit codes."""

import json
import os
import unittest.mock

import h5py
import numpy as np

import harness

MODEL = harness.ROOT / "data/mini-phi3"
STUDY = harness.ROOT / "configs/quickstart.yaml"


class Commands(harness.Case):
    def test_tokenize_there_and_back(self):
        texts = ["Hello world", "", "Ünïcödé ☃ 1234", "a\nb\tc"]
        stdin = "".join(json.dumps(text) + "\n" for text in texts)
        ids = harness.run(1, "tokenize", "--model", MODEL, stdin=stdin)
        self.assertEqual(len(ids.splitlines()), len(texts))
        back = harness.run(1, "tokenize", "--model", MODEL, "--decode", stdin=ids)
        self.assertEqual([json.loads(line) for line in back.splitlines()], texts)
        harness.run(1, "tokenize", "--model", MODEL, stdin="not json\n", expect=2)
        harness.run(1, "tokenize", "--model", MODEL, "--decode", stdin='["x"]\n', expect=2)

    def test_generate_tokens_and_logits(self):
        logits = self.out / "logits.h5"
        output = harness.run(1, "generate", "--model", MODEL, "--tokens", "5,6,7", "--max-new", "4",
                             "--logits", logits)
        ids = json.loads(output.splitlines()[-1])
        self.assertEqual(len(ids), 4)
        with h5py.File(logits, "r") as file:
            values = file["logits"][()]
        vocab = json.loads((MODEL / "config.json").read_text())["vocab_size"]
        self.assertEqual(values.shape, (3, vocab))
        self.assertEqual(values.dtype, np.float32)
        self.assertEqual(int(values[-1].argmax()), ids[0])
        text = harness.run(1, "generate", "--model", MODEL, "--prompt", "The people", "--max-new", "5")
        self.assertIn("The people", text)

    def test_quantized_checkpoint_loads_again(self):
        def last_logits(*arguments):
            path = self.out / "l.h5"
            harness.run(1, "generate", "--tokens", "5,6,7,8", "--max-new", "1", "--logits", path, *arguments)
            with h5py.File(path, "r") as file:
                return file["logits"][()]

        direct = last_logits("--model", MODEL, "--study", STUDY, "--config", "C4")
        packed, dense = self.out / "packed", self.out / "dense"
        for folder, options in ((packed, []), (dense, ["--dequantized"])):
            harness.run(1, "quantize", "--model", MODEL, "--study", STUDY, "--config", "C4", "--out", folder, *options)
            manifest = json.loads((folder / "quantization.json").read_text())
            self.assertIn("config", manifest)
        self.assertTrue(np.array_equal(direct, last_logits("--model", packed)))
        other = last_logits("--model", dense)
        # The same weights multiplied through another kernel: fp32 rounding only.
        self.assertLess(np.linalg.norm(other - direct) / np.linalg.norm(direct), 1e-5)
        plain = last_logits("--model", MODEL)
        self.assertGreater(np.linalg.norm(plain - direct) / np.linalg.norm(direct), 1e-4)
        harness.run(1, "quantize", "--model", MODEL, "--study", STUDY, "--config", "C4", "--out", packed, expect=2)
        study = self.study(f"study: again\nmodel: {packed}\nconfigs: {{P: {{}}}}\n"
                           "workloads: {profile: {prompt: 8, output: 2}}\n")
        harness.run(1, study, "--out", self.out, "--run-tag", "t")
        for path in harness.results(self.out / "again" / "t"):
            with h5py.File(path, "r") as file:
                self.assertEqual((file.attrs["status"], file.attrs["w_bits"]), ("ok", 4), file.attrs["error"])
                self.assertIn("int4 g128 e5m5", list(file["certificate/format"].asstr()))

    def test_plan_of_every_shipped_study(self):
        for study in harness.studies():
            with self.subTest(study=study.name):
                output = harness.run(1, study, "--plan", "--ranks", "8")
                self.assertRegex(output, r"efficiency \d+ %|nothing to run")
                self.assertNotIn("nan", output)

    def test_exit_codes(self):
        bad = self.study("study: x\nmodel: none\nconfgs: {A: {}}\nworkloads: {synthetic: {secnds: 1}}\n")
        output = harness.run(1, bad, "--plan", expect=2)
        self.assertIn("study.yaml:3:1", output)
        self.assertIn("configs", output)
        self.assertIn("study.yaml:4", output)
        harness.run(1, self.out / "missing.yaml", "--plan", expect=2)
        harness.run(1, "--no-such-option", expect=2)
        harness.run(1, STUDY, "--backend", "cuda", "--out", self.out, expect=3)
        harness.run(1, STUDY, "--run-tag", "../escape", "--out", self.out, expect=2)
        harness.run(1, "generate", "--model", self.out / "nowhere", "--tokens", "1", expect=2)
        harness.run(1, "make-model", expect=2)

    def test_missing_inputs_are_told_before_the_first_run(self):
        study = self.study("study: s\nmodel: microsoft/Phi-3.5-mini-instruct\nconfigs: {A: {}}\n"
                           "workloads: {perplexity: {data: nowhere.txt}, profile: {prompt: 8, output: 2}}\n")
        left = self.out / "left"  # where a batch file reads the code
        with unittest.mock.patch.dict(os.environ, QSWEEP_EXIT_CODE_FILE=str(left)):
            output = harness.run(2, study, "--out", self.out, "--run-tag", "t", expect=2)
        self.assertEqual(left.read_text(), "2\n")
        self.assertEqual(output.count("exit code 2\n"), 1, output)
        self.assertIn("microsoft/Phi-3.5-mini-instruct", output)
        self.assertIn("nowhere.txt", output)
        self.assertFalse((self.out / "s").exists())

    def test_prep_only_then_status_and_inspect(self):
        study = self.study("study: s\nmodel: none\nconfigs: {A: {}}\nworkloads: {synthetic: {seconds: 0.01}}\n")
        harness.run(1, study, "--prep-only", "--out", self.out, "--run-tag", "t")
        folder = self.out / "s" / "t"
        for name in ("configs/study.yaml", "configs/resolved.yaml", "manifests/plan.json", "manifests/model.json",
                     "manifests/env_info.json"):
            self.assertTrue((folder / name).exists(), name)
        self.assertEqual(harness.results(folder), [])
        self.assertIn("to come", harness.run(1, "status", folder))
        harness.run(1, study, "--out", self.out, "--run-tag", "t")
        self.assertIn("0 to come", harness.run(1, "status", folder))
        self.assertIn("synthetic.value", harness.run(1, "inspect", harness.results(folder)[0]))
        csv = (folder / "aggregate.csv").read_bytes()
        (folder / "aggregate.csv").unlink()
        harness.run(1, study, "--reduce-only", "--out", self.out, "--run-tag", "t")
        self.assertEqual(csv, (folder / "aggregate.csv").read_bytes())
        harness.run(1, "inspect", self.out / "study.yaml", expect=2)

    def test_doctor_speaks(self):
        self.assertIn("ok", harness.run(1, "doctor", "--out", self.out))


if __name__ == "__main__":
    harness.main()
