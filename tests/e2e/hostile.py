"""What the tests of hostile input share: a tiny sound model to spoil, and the check that a refusal is a good one."""

import json
import os
import re
import struct
import subprocess
import time

import numpy as np

import harness

# A refusal takes milliseconds; this leaves room for a busy machine and none for a hang.
LIMIT_S = 60
QUICK_S = 20

HIDDEN, HEADS, HEAD_DIM, FFN, VOCAB = 8, 2, 4, 16, 16

CONFIG = {"model_type": "llama", "hidden_size": HIDDEN, "intermediate_size": FFN, "num_hidden_layers": 1,
          "num_attention_heads": HEADS, "num_key_value_heads": HEADS, "head_dim": HEAD_DIM, "vocab_size": VOCAB,
          "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "torch_dtype": "float32",
          "hidden_act": "silu", "tie_word_embeddings": False, "bos_token_id": 0, "eos_token_id": 1}

TOKENIZER = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
             "pre_tokenizer": None, "post_processor": None, "decoder": {"type": "Fuse"},
             "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                       "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                       "vocab": {"a": 0, "b": 1, "c": 2, " ": 3, "ab": 4, "abc": 5, "bc": 6, "\n": 7},
                       "merges": [["a", "b"], ["b", "c"], ["ab", "c"]]}}


def shapes():
    layer = "model.layers.0."
    square = [HIDDEN, HIDDEN]
    return {"model.embed_tokens.weight": [VOCAB, HIDDEN], "model.norm.weight": [HIDDEN], "lm_head.weight": [VOCAB, HIDDEN],
            layer + "input_layernorm.weight": [HIDDEN], layer + "post_attention_layernorm.weight": [HIDDEN],
            **{layer + f"self_attn.{name}_proj.weight": square for name in "qkvo"},
            **{layer + f"mlp.{name}_proj.weight": [FFN, HIDDEN] for name in ("gate", "up")},
            layer + "mlp.down_proj.weight": [HIDDEN, FFN]}


def header_and_data():
    """The header as a dict, in file order, and the data of a sound safetensors file."""
    rng = np.random.default_rng(1)
    header, data = {}, b""
    for name, shape in sorted(shapes().items()):
        values = rng.standard_normal(shape, dtype=np.float32).tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    return header, data


def safetensors(header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def write_model(folder):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    (folder / "model.safetensors").write_bytes(safetensors(*header_and_data()))
    return folder


def tree(folder):
    """What lies below a folder, without opening what is no plain file. The lock says who came last, so it is left out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.match("manifests/lock"):
            continue
        if path.is_symlink():
            found[path] = ("link", os.readlink(path))
        elif path.is_file():
            found[path] = ("file", path.read_bytes())
        else:
            found[path] = ("other", path.lstat().st_mode)
    return found


class Case(harness.Case):
    def start(self, *arguments, variables=None, stdin=None):
        """(exit code, stdout, stderr) as bytes; a run that does not end is a failure."""
        env = {**harness.environment(1), **(variables or {})}
        began = time.monotonic()
        done = subprocess.run(harness.command(1, *arguments), env=env, cwd=harness.ROOT, timeout=LIMIT_S, input=stdin,
                              capture_output=True)
        self.assertLess(time.monotonic() - began, QUICK_S, f"{arguments} took too long")
        return done.returncode, done.stdout, done.stderr

    def accept(self, *arguments, **options):
        code, stdout, stderr = self.start(*arguments, **options)
        self.assertEqual(code, 0, stdout + stderr)
        return stdout.decode(errors="replace")

    def refuse(self, *arguments, says, code=2, **options):
        """The program ends with `code`, says where and why in the one form, and changes nothing."""
        before = tree(self.out)
        got, stdout, stderr = self.start(*arguments, **options)
        message = stderr.decode(errors="strict")
        self.assertEqual(got, code, f"{stdout!r}\n{message}")
        self.assertRegex(message, r"(?m)^qsweep: .+\S \(.+\)", "reads: problem (why) suggestion")
        self.assertFalse(re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", message), f"control characters in {message!r}")
        for part in [says] if isinstance(says, str) else says:
            self.assertIn(part, message)
        self.assertEqual(before, tree(self.out), "something was written")
        return message
