"""Hostile model files, studies and texts: each is refused with its place and the documented exit code, at once."""

import json
import os
import struct

import hostile
import harness

STUDY = """study: s
model: {model}
configs: {{A: {{}}, B: {{scope: mlp, weights: int4/g8}}}}
workloads: {{perplexity: {{data: {text}, window: 8, stride: 4}}}}
"""


class Files(hostile.Case):
    def setUp(self):
        super().setUp()
        self.model = hostile.write_model(self.out / "model")
        self.generate = ("generate", "--model", self.model, "--tokens", "1,2,3", "--max-new", "1")
        self.say = ("generate", "--model", self.model, "--prompt", "ab abc", "--max-new", "1")

    def spoil(self, name, content):
        (self.model / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    def refuse_each(self, name, cases, *command):
        """`cases`: {what: (content, words of the message)}; the file is told in each."""
        sound = (self.model / name).read_bytes() if (self.model / name).exists() else None
        for what, (content, says) in cases.items():
            with self.subTest(name=name, case=what):
                self.spoil(name, content)
                self.refuse(*(command or self.generate), says=[name, *([says] if isinstance(says, str) else says)])
        self.spoil(name, sound) if sound is not None else (self.model / name).unlink()

    def test_the_model_is_sound_before_it_is_spoiled(self):
        self.assertEqual(len(json.loads(self.accept(*self.generate))), 1)
        self.assertIn("ab abc", self.accept(*self.say))

    def test_safetensors(self):
        header, data = hostile.header_and_data()
        norm = "model.norm.weight"

        def with_norm(**changes):
            return hostile.safetensors({**header, norm: {**header[norm], **changes}}, data)

        begin, end = header[norm]["data_offsets"]
        twice = json.dumps(header)[:-1] + f', "{norm}": ' + json.dumps(header[norm]) + "}"
        self.refuse_each("model.safetensors", {
            "empty": (b"", "the header length alone takes 8"),
            "seven bytes": (b"1234567", "7 bytes"),
            "a header of 2^64 - 1": (b"\xff" * 8 + b"{}", "header too long"),
            "a header beyond the bound": (struct.pack("<Q", 100_000_001) + b"{}", "header too long"),
            "a header beyond the file": (struct.pack("<Q", 1000) + b"{}", "truncated header"),
            "no object": (hostile.safetensors(b"[]", b""), "no JSON object"),
            "no header": (hostile.safetensors(b"", b""), "no JSON object"),
            "no JSON": (hostile.safetensors(b"{nonsense", b""), "not valid JSON"),
            "no UTF-8": (hostile.safetensors(b'{"\xff\xfe": 1}', b""), "not valid JSON"),
            "a zero byte": (hostile.safetensors(b'{"a\0": 1}', b""), "not valid JSON"),
            "text behind": (hostile.safetensors(b"{} x", b""), "not valid JSON"),
            "depth": (hostile.safetensors(b'{"a":' + b"[" * 100_000, b""), "nested too deeply"),
            "a name twice": (hostile.safetensors(twice.encode(), data), "stands twice"),
            "metadata of numbers": (hostile.safetensors({"__metadata__": {"a": 1}, **header}, data), "__metadata__.a"),
            "an entry that is a list": (hostile.safetensors({**header, norm: []}, data), norm),
            "an unknown dtype": (with_norm(dtype="F33"), "unknown dtype 'F33'"),
            "a dtype with commands": (with_norm(dtype="\x1b[2J\x9b"), "unknown dtype"),
            "a dtype for no weights": (with_norm(dtype="I32"), "has dtype I32"),
            "a negative length": (with_norm(shape=[-8]), "number out of range"),
            "a fractional length": (with_norm(shape=[8.0]), "expected an integer"),
            "a length of 2^64": (with_norm(shape=[2**64]), "shape[0]"),
            "a shape that overflows": (with_norm(shape=[2**62, 2**62]), "shape overflows"),
            "bits that overflow": (with_norm(shape=[2**60]), "shape overflows"),
            "half bytes": (with_norm(dtype="F4", shape=[7]), "whole bytes"),
            "many dimensions": (with_norm(shape=[1] * 33), "too many dimensions"),
            "another shape": (with_norm(shape=[4, 2]), "wrong shape"),
            "end before begin": (with_norm(data_offsets=[end, begin]), "end before begin"),
            "one offset": (with_norm(data_offsets=[begin]), "expected [begin, end]"),
            "an offset beyond": (with_norm(data_offsets=[begin, 2**40]), "tensor outside the file"),
            "a size that does not match": (with_norm(data_offsets=[begin, end - 4]), "size does not match"),
            "an overlap": (with_norm(data_offsets=[begin - 32, end - 32]), ["tensor '", "another"]),
            "bytes behind": (hostile.safetensors(header, data + b"x"), "bytes after the last tensor"),
        })
        self.spoil("model.safetensors", hostile.safetensors({}, b""))
        self.refuse(*self.generate, says=["model: tensor 'model.embed_tokens.weight' is missing"])

    def test_safetensors_cut_anywhere(self):
        whole = hostile.safetensors(*hostile.header_and_data())
        first_data = 8 + struct.unpack("<Q", whole[:8])[0]
        for length in (0, 1, 7, 8, 9, first_data // 2, first_data - 1, first_data, first_data + 1, len(whole) - 1):
            with self.subTest(length=length):
                self.spoil("model.safetensors", whole[:length])
                self.refuse(*self.generate, says="model.safetensors")

    def test_index_of_shards(self):
        (self.model / "model.safetensors").rename(self.model / "model-1.safetensors")

        def index(**where):
            return json.dumps({"weight_map": {**{name: "model-1.safetensors" for name in hostile.shapes()}, **where}})

        name = "model.safetensors.index.json"
        self.spoil(name, index())
        self.accept(*self.generate)
        norm = "model.norm.weight"
        self.refuse_each(name, {
            "a way out": (index(**{norm: "../model/model-1.safetensors"}), ["not a shard's file name", norm]),
            "an absolute path": (index(**{norm: "/etc/x.safetensors"}), "not a shard's file name"),
            "a hidden file": (index(**{norm: ".x.safetensors"}), "not a shard's file name"),
            "another kind": (index(**{norm: "tokenizer.json"}), "not a shard's file name"),
            "a zero byte": (index(**{norm: "a\0.safetensors"}), "not a shard's file name"),
            "a number": (index(**{norm: 1}), "expected a string"),
            "no map": ('{"weight_map": []}', "expected an object"),
            "nothing": ("", "not valid JSON"),
            "depth": ('{"weight_map":' + "[" * 1000, "nested too deeply")})
        self.spoil(name, index(extra="model-1.safetensors"))
        self.refuse(*self.generate, says=["model-1.safetensors", "'extra' is missing"])
        self.spoil(name, index(extra="model-2.safetensors"))
        self.refuse(*self.generate, code=1, says=["model-2.safetensors", "No such file"])

    def test_config(self):
        def config(**changes):
            return json.dumps({**hostile.CONFIG, **changes})

        text = config()
        self.refuse_each("config.json", {
            "empty": ("", "not valid JSON"),
            "cut": (text[:-1], "not valid JSON"),
            "depth": ("[" * 1_000_000, "nested too deeply"),
            "size": (" " * (9 << 20), "too large"),
            "no UTF-8": (text[:-1].encode() + b', "a": "\xff"}', "not valid JSON"),
            "a key twice": (text[:-1] + ', "hidden_size": 8}', "'hidden_size' stands twice"),
            "a list": ("[]", "expected an object"),
            "not a number": (text.replace("1e-05", "NaN"), "rms_norm_eps"),
            "infinity": (text.replace("10000.0", "Infinity"), "rope_theta"),
            "beyond double": (text.replace("10000.0", "1e999"), "not valid JSON"),
            "a negative size": (config(hidden_size=-8), ["hidden_size", "-8"]),
            "no size": (config(vocab_size=0), "vocab_size"),
            "a size of 2^64": (config(intermediate_size=2**64), "intermediate_size"),
            "a size that takes all memory": (config(vocab_size=1 << 24), ["model.embed_tokens.weight", "wrong shape"]),
            "a fraction": (config(num_hidden_layers=1.5), "num_hidden_layers"),
            "a text": (config(num_attention_heads="2"), "num_attention_heads"),
            "heads that do not divide": (config(num_key_value_heads=3), "num_key_value_heads"),
            "an end beyond": (config(eos_token_id=[1, 16]), "eos_token_id[1]"),
            "a type with commands": (config(model_type="\x1b]0;x\x07\x85"), "unknown model type"),
            "a long type": (config(model_type="x" * 1_000_000), "unknown model type")})

    def test_tokenizer(self):
        def tokenizer(model=None, **sections):
            return json.dumps({**hostile.TOKENIZER, **sections, "model": {**hostile.TOKENIZER["model"], **(model or {})}})

        def replace(what, by):
            return {"type": "Replace", "pattern": {"String": what}, "content": by}

        def split(pattern):
            return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}

        def sequence(kind, steps):
            return {"type": "Sequence", kind: steps}

        vocabulary = hostile.TOKENIZER["model"]["vocab"]
        self.refuse_each("tokenizer.json", {
            "empty": ("", "not valid JSON"),
            "depth": ('{"model":' * 1000, "nested too deeply"),
            "an id for a huge table": (tokenizer({"vocab": {**vocabulary, "x": 2**31 - 1}}), "model.vocab['x']"),
            "a negative id": (tokenizer({"vocab": {**vocabulary, "x": -1}}), "-1"),
            "a long token": (tokenizer({"vocab": {**vocabulary, "x" * 5000: 9}}), "token too long"),
            "a long prefix": (tokenizer({"continuing_subword_prefix": "x" * 300}), "text too long"),
            "a long insertion": (tokenizer(normalizer=replace("a", "x" * 300)), "normalizer.content"),
            "many steps": (tokenizer(normalizer=sequence("normalizers", [{"type": "NFC"}] * 65)), "too many steps"),
            "a template of many ids": (tokenizer(post_processor={
                "type": "TemplateProcessing", "pair": [],
                "single": [{"SpecialToken": {"id": "x", "type_id": 0}}] * 3 + [{"Sequence": {"id": "A"}}],
                "special_tokens": {"x": {"id": "x", "ids": [0] * 400, "tokens": []}}}), "too many ids"),
            "a pattern without end": (tokenizer(pre_tokenizer=split("(a")), "invalid regular expression"),
            "a pattern too long": (tokenizer(pre_tokenizer=split("a" * 70_000)), "unsupported regular expression"),
            "repetitions of repetitions": (tokenizer(pre_tokenizer=split("(((a{1000}){1000}){1000})")), "Regex"),
        }, *self.say)
        long_text = "a" * 20_000
        say = ("generate", "--model", self.model, "--prompt", long_text + "!", "--max-new", "1")
        for what, (content, says) in {
                "a laugh of a billion": (tokenizer(normalizer=sequence("normalizers", [replace("a", "aa")] * 40)),
                                         "makes a text too long"),
                "bytes as letters as bytes": (tokenizer(pre_tokenizer=sequence("pretokenizers", [
                    {"type": "Metaspace", "replacement": "\u2581"},
                    *[{"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}] * 60])),
                                              "makes a text too long"),
                "exponential backtracking": (tokenizer(pre_tokenizer=split("(a+)+$")), "cannot be matched"),
                "quadratic backtracking": (tokenizer(pre_tokenizer=split("a*a*[bc]")), "cannot be matched"),
                "slow at every start": (tokenizer(pre_tokenizer=split("a{0,200}a{0,200}a{0,9}[bc]")), "cannot be matched"),
                "endless recursion": (tokenizer(pre_tokenizer=split(r"(?<n>a\g<n>?)*[bc]")), "cannot be matched"),
        }.items():
            with self.subTest(case=what):
                self.spoil("tokenizer.json", content)
                self.refuse(*say, says=says)

    def test_quantization_manifest(self):
        entry = {"layer": 0, "format": {"format": "int4", "group": 8}, "rows": 8, "cols": 8, "relative_mse": 0.1,
                 "worst_group": 0.1, "cosine": 0.9, "code_bytes": 1, "scale_bytes": 1, "sha256": "0" * 64}
        whole = {"qsweep_quantization": 2, "dequantized": False, "config": {}, "quantize_seconds": 0.1,
                 "bytes_before": 1, "bytes_after": 1, "tensors": {"x": entry}}

        def changed(**changes):
            return json.dumps({**whole, **changes})

        def tensor(**changes):
            return changed(tensors={"x": {**entry, **changes}})

        self.refuse_each("quantization.json", {
            "empty": ("", "not valid JSON"),
            "a later version": (changed(qsweep_quantization=3), "qsweep_quantization"),
            "an earlier version": (changed(qsweep_quantization=1), ["qsweep_quantization", "again with qsweep quantize"]),
            "a config that is none": (changed(config={"weigths": 1}), ["config", "weigths"]),
            "a format that is none": (tensor(format={"format": "int3"}), ["tensors.x.format", "int3"]),
            "a size of 2^40": (tensor(rows=2**40), "tensors.x.rows"),
            "a negative size": (tensor(cols=-1), "tensors.x.cols"),
            "no hash": (tensor(sha256="0" * 63), "SHA-256"),
            "an unknown linear": (changed(), "names unknown linears")})

    def test_what_is_no_file(self):
        """A pipe, a folder, a device, a circle of links in the place of each file."""
        for name, code in (("config.json", 2), ("model.safetensors", 1), ("tokenizer.json", 1),
                           ("tokenizer_config.json", 1), ("generation_config.json", 1), ("quantization.json", 1),
                           ("model.safetensors.index.json", 1)):
            for kind in ("pipe", "folder", "device", "circle"):
                if name == "tokenizer_config.json" and kind == "circle":
                    continue
                with self.subTest(name=name, kind=kind):
                    path, kept = self.model / name, self.out / "kept"
                    there = path.exists()
                    if there:
                        path.rename(kept)
                    {"pipe": lambda: os.mkfifo(path), "folder": path.mkdir,
                     "device": lambda: path.symlink_to("/dev/zero"), "circle": lambda: path.symlink_to(name)}[kind]()
                    self.refuse(*self.say, code=code, says="model")
                    path.rmdir() if kind == "folder" else path.unlink()
                    if there:
                        kept.rename(path)

    def test_plan_hashes_no_pipe(self):
        study = self.study(STUDY.format(model=self.model, text="t.txt"))
        (self.model / "tokenizer.json").unlink()
        os.mkfifo(self.model / "tokenizer.json")
        self.refuse(study, "--plan", code=1, says=["tokenizer.json", "not a regular file"])

    def test_texts(self):
        text = self.out / "t.txt"
        study = self.study(STUDY.format(model=self.model, text="t.txt"))
        command = (study, "--out", self.out / "runs", "--run-tag", "t")
        for kind, make in (("missing", lambda: None), ("pipe", lambda: os.mkfifo(text)), ("folder", text.mkdir),
                           ("device", lambda: text.symlink_to("/dev/zero"))):
            with self.subTest(kind=kind):
                make()
                self.refuse(*command, says=["study.yaml", "t.txt"])
                if text.is_symlink() or text.exists():
                    text.rmdir() if kind == "folder" else text.unlink()
        # Read, whatever its bytes are; too short a text is a run that failed and says so.
        text.write_bytes(b"ab abc\0ab \xff\xfe bc\r\n" * 8)
        self.accept(*command)
        for content in (b"", b"a", b"\0\0\0"):
            with self.subTest(content=content):
                text.write_bytes(content)
                code, stdout, _ = self.start(study, "--out", self.out / "short", "--run-tag", content.hex() or "none")
                self.assertEqual(code, 4, stdout)
                self.assertIn(b"t.txt: too short a text", stdout)

    def test_standard_input(self):
        for line, says in ((b"[" * 100_000, "stdin:1"), (b'"\xff"', "not JSON"), (b'"a\0"', "not JSON"),
                           (b'{"a": 1}', "expected a JSON string")):
            with self.subTest(line=line[:20]):
                self.refuse("tokenize", "--model", self.model, stdin=line + b"\n", says=says)
        for line in (b"[-1]", b"[4294967296]", b"[1.5]", b'["x"]', b"1"):
            with self.subTest(line=line):
                self.refuse("tokenize", "--model", self.model, "--decode", stdin=line + b"\n",
                            says="expected a JSON array of token ids")


if __name__ == "__main__":
    harness.main()
