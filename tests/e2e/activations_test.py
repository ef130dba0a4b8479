"""Configs whose linears round what they multiply, through a whole sweep: run, proven, told apart from weights alone,
and the same bits on any number of ranks; C1 of the scale-metadata study among them."""

import h5py
import numpy as np

import harness

STUDY = """
study: activations
model: @ROOT@/data/@MODEL@
repeats: 1
calibration: {data: @ROOT@/data/tasks/heldout.txt, samples: 4, length: 48}
configs:
  C0: {}
  C1: {scope: all_linear, weights: fp8_e4m3/channel, activations: fp8_e4m3/token}
  W8: {scope: [all_linear, lm_head], weights: int8/channel}
  W8A8: {scope: [all_linear, lm_head], weights: int8/channel, activations: int8/token}
  W8A8s: {scope: all_linear, weights: int8/channel, activations: int8/tensor}
  W4A8: {scope: all_linear, weights: int4/g128, activations: int8/token}
  W4A4: {scope: all_linear, weights: int4/g128, activations: int4/token}
workloads:
  profile: {prompt: 24, output: 4, warmup: 0}
  perplexity: {data: @ROOT@/data/tasks/heldout.txt, window: 64, stride: 32, max_tokens: 384}
claims:
  four_bits_are_worse: {ordered: [W8A8, W4A4], metric: perplexity.kl, direction: increasing}
"""
BITS = {"C0": (16, 32), "C1": (8, 8), "W8": (8, 32), "W8A8": (8, 8), "W8A8s": (8, 8), "W4A8": (4, 8), "W4A4": (4, 4)}
FOUND = {"C0": "none", "C1": "fp8_e4m3_token", "W8": "none", "W8A8": "int8_token", "W8A8s": "int8_tensor",
         "W4A8": "int8_token", "W4A4": "int4_token"}


class Activations(harness.Case):
    def sweep(self, model, tag, ranks):
        study = self.study(STUDY.replace("@MODEL@", model))
        harness.run(ranks, study, "--out", self.out, "--run-tag", tag)
        return self.out / "activations" / tag

    def check_record(self, file, config):
        self.assertEqual(file.attrs["status"], "ok", file.attrs["error"])
        self.assertEqual((file.attrs["w_bits"], file.attrs["a_bits"]), BITS[config])
        tensors = list(file["certificate/tensor"].asstr())
        found = dict(zip(tensors, file["certificate/activations"].asstr()))
        calls = dict(zip(tensors, zip(file["certificate/activation_calls"], file["certificate/calls"])))
        head = FOUND[config] if config == "W8A8" else "none"
        self.assertEqual(found.pop("lm_head"), head)
        self.assertEqual(set(found.values()), {FOUND[config]})
        for tensor in found:
            rounded, all_calls = calls[tensor]
            self.assertGreater(all_calls, 0)
            self.assertEqual(rounded, 0 if FOUND[config] == "none" else all_calls)
        static = config == "W8A8s"
        self.assertEqual(static, "absmax" in file.attrs["calib_method"])
        ranges = file["certificate/activation_absmax"][()][:-1]  # the head comes last, and is not in scope
        self.assertTrue((ranges > 0).all() if static else np.isnan(ranges).all(), ranges)

    def test_every_format_runs_and_is_proven(self):
        for model in ("mini-phi3", "mini-llama"):
            with self.subTest(model=model):
                folder = self.sweep(model, model, 2)
                nll = {}
                for path in harness.results(folder):
                    with h5py.File(path, "r") as file:
                        config = file.attrs["config"].removesuffix("_aa")
                        self.check_record(file, config)
                        if "metrics/perplexity.nll" in file:
                            nll[config] = file["metrics/perplexity.nll"][()]
                self.assertEqual(set(nll), set(BITS))
                self.assertEqual(len(set(nll.values())), len(BITS), nll)
                self.assertLess(abs(nll["W8A8"] / nll["C0"] - 1), 0.01, nll)
                self.assertLess(abs(nll["C1"] / nll["C0"] - 1), 0.03, nll)
                self.assertGreater(nll["W4A4"], nll["W4A8"])

    def test_the_bits_do_not_depend_on_ranks(self):
        self.assertEqual(harness.quality(self.sweep("mini-phi3", "one", 1)),
                         harness.quality(self.sweep("mini-phi3", "three", 3)))
        logs = "".join(path.read_text() for path in (self.out / "activations/one/logs").glob("rank-*.log"))
        self.assertEqual(logs.count("calibrated"), 1, "once for all configs and runs")
        self.assertIn("4 sequences of up to 48 tokens, 4 asked for", logs)

    def test_static_scales_need_calibration(self):
        study = self.study(STUDY.replace("@MODEL@", "mini-phi3").replace("calibration:", "# calibration:"))
        self.assertIn("add calibration:", harness.run(1, study, "--plan"))
        model = harness.ROOT / "data/mini-phi3"
        for command in ("quantize", "generate"):
            end = ("--out", self.out / "none") if command == "quantize" else ("--tokens", "1")
            output = harness.run(1, command, "--model", model, "--study", study, "--config", "W8A8s", *end, expect=2)
            self.assertIn("add calibration:", output)
        missing = self.study(STUDY.replace("@MODEL@", "mini-phi3").replace("heldout.txt, samples", "no.txt, samples"))
        output = harness.run(2, missing, "--out", self.out, "--run-tag", "t", expect=2)
        self.assertIn("no.txt", output)

    def test_quantized_folders_keep_them(self):
        study = self.study(STUDY.replace("@MODEL@", "mini-phi3"))
        model, packed = harness.ROOT / "data/mini-phi3", self.out / "packed"
        tokens = ("--tokens", "5,17,900,3,3,250,77,1,42", "--max-new", "12")
        for config, folder in (("W8A8s", self.out / "static"), ("W4A4", packed)):
            harness.run(1, "quantize", "--model", model, "--study", study, "--config", config, "--out", folder)
            direct = harness.run(1, "generate", "--model", model, "--study", study, "--config", config, *tokens)
            self.assertEqual(direct, harness.run(1, "generate", "--model", folder, *tokens))
        again = self.study("study: again\nmodel: packed\nconfigs: {held: {}}\n"
                           "workloads: {profile: {prompt: 8, output: 2}}\n")
        harness.run(1, again, "--out", self.out, "--run-tag", "t")
        for path in harness.results(self.out / "again" / "t"):
            with h5py.File(path, "r") as file:
                self.assertEqual((file.attrs["status"], file.attrs["a_bits"]), ("ok", 4), file.attrs["error"])
                self.assertIn("int4_token", list(file["certificate/activations"].asstr()))


if __name__ == "__main__":
    harness.main()
