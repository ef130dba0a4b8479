"""Writes the seeds of every fuzz target, made from what the project ships and of small hand-written files.

usage: seeds.py FOLDER      writes FOLDER/<target>/<name>
"""

import json
import struct
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def safetensors():
    header = json.dumps({"__metadata__": {"format": "pt"},
                         "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
                         "b": {"dtype": "F4", "shape": [2], "data_offsets": [24, 25]},
                         "c": {"dtype": "BF16", "shape": [], "data_offsets": [25, 27]},
                         "d": {"dtype": "U8", "shape": [0, 7], "data_offsets": [27, 27]}}).encode()
    yield "whole", b"\0" + struct.pack("<Q", len(header)) + header + bytes(27)
    yield "header", b"\1\x1b\0" + header + b"   "
    yield "empty", b"\1\0\0{}"
    holes = {"x": {"dtype": "I64", "shape": [1], "data_offsets": [8, 16]}}
    yield "hole", b"\1\x10\0" + json.dumps(holes).encode()


def config():
    for model in ("mini-phi3", "mini-llama"):
        shipped = json.loads((ROOT / "data" / model / "config.json").read_text())
        yield model, json.dumps(shipped).encode()
    llama = {"model_type": "llama", "hidden_size": 2048, "num_hidden_layers": 16, "vocab_size": 128256,
             "intermediate_size": 8192, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64,
             "max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
             "eos_token_id": [128001, 128008], "bos_token_id": 128000, "tie_word_embeddings": True,
             "rope_scaling": {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
                              "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}}
    yield "llama3", json.dumps(llama).encode()
    long = dict(llama, model_type="phi3", head_dim=4, original_max_position_embeddings=4096,
                rope_scaling={"type": "longrope", "short_factor": [1.0, 1.5], "long_factor": [2, 60.5]})
    yield "longrope", json.dumps(long).encode()
    qwen = dict(llama, model_type="qwen3", use_sliding_window=False, sliding_window=None, attention_bias=False,
                layer_types=["full_attention"], rope_scaling=None)
    yield "qwen3", json.dumps(qwen).encode()
    mamba = {"model_type": "mamba2", "hidden_size": 768, "num_hidden_layers": 24, "vocab_size": 50288,
             "num_heads": 24, "head_dim": 64, "state_size": 128, "n_groups": 1, "expand": 2, "conv_kernel": 4,
             "layer_norm_epsilon": 1e-5, "use_conv_bias": True, "use_bias": False}
    yield "mamba2", (json.dumps(mamba)[:-1] + ', "time_step_limit": [0.0, Infinity]}').encode()


def added_token(number, content, **flags):
    token = {"id": number, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": True}
    return dict(token, **flags)


def small_tokenizer(**sections):
    vocabulary = {token: i for i, token in enumerate(["a", "b", "c", " ", "ab", "abc", "bc", "\u2581", "\u0120"])}
    document = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
                "pre_tokenizer": None, "post_processor": None, "decoder": {"type": "Fuse"},
                "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                          "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                          "vocab": vocabulary, "merges": [["a", "b"], "b c", ["ab", "c"]]}}
    document["model"].update(sections.pop("model", {}))
    document.update(sections)
    return json.dumps(document).encode()


def tokenizer():
    split = {"type": "Split", "invert": False, "behavior": "Isolated",
             "pattern": {"Regex": r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"}}
    yield "plain", small_tokenizer()
    yield "words", small_tokenizer(
        normalizer={"type": "NFC"}, decoder={"type": "ByteLevel"},
        pre_tokenizer={"type": "Sequence", "pretokenizers": [
            split, {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}]},
        added_tokens=[added_token(20, "<x>", rstrip=True), added_token(21, "  ", normalized=True, lstrip=True)],
        post_processor={"type": "TemplateProcessing", "pair": [],
                        "single": [{"SpecialToken": {"id": "<x>", "type_id": 0}}, {"Sequence": {"id": "A"}}],
                        "special_tokens": {"<x>": {"id": "<x>", "ids": [20], "tokens": ["<x>"]}}})
    yield "bytes", small_tokenizer(
        model={"byte_fallback": True, "fuse_unk": True, "unk_token": "<u>",
               "vocab": {**{f"<0x{b:02X}>": b for b in range(256)}, "<u>": 256}, "merges": []},
        normalizer={"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "\u2581"}, {"type": "Lowercase"}, {"type": "StripAccents"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
        decoder={"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"},
            {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})
    for n, step in enumerate(({"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first"},
                              {"type": "Digits", "individual_digits": True}, {"type": "Punctuation"},
                              {"type": "Whitespace"}, {"type": "WhitespaceSplit"},
                              {"type": "ByteLevel", "add_prefix_space": True})):
        yield f"pre{n}", small_tokenizer(pre_tokenizer=step, normalizer={"type": ("NFKC", "NFD", "NFKD")[n % 3]})
    for n, pattern in enumerate((r"\b\w{2}+|[[:alpha:]\d]+?|\h", r"(?<=a)b{,3}|(?m:.)c?", r"\p{^Han}\x{61}\u0062",
                                 r"(?<n>a|b)*\k<n>|(?>a+)(?!c)", r"[^\]\-a-c&]|^$|\A\z")):
        replace = {"type": "Replace", "pattern": {"Regex": pattern}, "content": "c"}
        yield f"regex{n}", small_tokenizer(normalizer=replace, pre_tokenizer=dict(
            split, pattern={"Regex": pattern}, behavior=("Removed", "MergedWithPrevious", "MergedWithNext",
                                                         "Contiguous", "Isolated")[n], invert=n % 2 == 1))
    yield "text", small_tokenizer() + b"\0" + "ab \u0130\ufb01\u1e9b\u0323\u1112\u1161\u11ab abc".encode() + b"\xff\xc3"


def study():
    for path in sorted(set((ROOT / "configs").glob("*.yaml")) - {ROOT / "configs/datasets.yaml"}):
        lines = [line.split(" #")[0].rstrip() for line in path.read_text().splitlines()]
        yield path.stem, "\n".join(line for line in lines if line and not line.startswith("#")).encode() + b"\n"
    small = b"study: s\nmodel: m\nconfigs: {A: {}, B: {scope: mlp, weights: int4/g8}}\nworkloads: {profile: {}}\n"
    yield "overrides", small + b"\0repeats=5\0configs.B.weights.group=64\0workloads.profile={prompt: [1, 2]}"
    yield "later", (b"study: s\nmodel: m\nseed: 7\nrepeats: {min: 2, max: 9, until: {metric: profile.tpot_ms, ci95: 1%}}\n"
                    b"calibration: {data: d, samples: 3}\nconfigs:\n  A: {kv: {format: int4, keep: 25%, by: snapkv}}\n"
                    b"  B: {sharer: {model: x, fuser: y, kv: int8/head}, layers: {last 4: {kv: bf16}, 0-3: {kv: int4}}}\n"
                    b"workloads: {drift: {length: 64, at: [1, 2]}, tasks: [gsm8k], sensitivity: {by: module},\n"
                    b"  w: {kind: serving, concurrency: [1, 2]}, passkey: {}, perplexity: {protocol: disjoint}}\n")


def record():
    yield "raw", b"\0\x89HDF\r\n\x1a\n" + bytes(32) + b"\nqsweep-sha256 " + b"0" * 64 + b"\n"
    yield "sound", b"\2\0\0\0\0\0" + bytes([9, 1, 5]) * 3
    yield "bent", b"\1\x40\x80\x11\0\0" + bytes([9, 2, 6]) * 2
    for kind in range(20):  # one dataset and one attribute of every type in the table
        yield f"type{kind}", (b"\3\0\0\0\0\0" + bytes([4, kind, kind, 7, 3, 0]) + b"\x05words" * 4 +
                              bytes([0, kind, kind, 0]) + b"\x04text")
    # all columns of the certificate, with the same length; then storage, links, circles
    yield "table", b"\2\0\0\0\0\0" + b"".join(bytes([4, path, kind, 7, 3, 0]) + b"\x02ab" * 7
                                            for path in range(8, 30) for kind in (0, 1, 17))
    yield "storage", b"\2\0\0\0\0\0" + b"".join(bytes([4, path, 0, 7, 3, layout, 1, 2, 3])
                                              for path in range(8) for layout in (5, 6, 7))
    yield "links", b"\2\0\0\0\0\0" + b"".join(bytes([op, path, 3]) + b"abc" for op in range(11, 16) for path in (0, 40, 60))


def stage():
    yield "rows", b"\0 = Title = \n \n A line . \n"
    yield "choice", b"\1" + json.dumps({"id": "q", "question": {"stem": "?", "choices": [
        {"text": "a", "label": "A"}, {"text": "b", "label": "B"}]}, "answerKey": "B"}).encode() + b"\n"
    yield "hellaswag", b"\2" + json.dumps({"ind": 1, "activity_label": "x", "ctx_a": "a", "ctx_b": "b",
                                           "endings": ["c", "d"], "label": 1}).encode() + b"\n"
    yield "gsm8k", b'\3{"question": "1+1?", "answer": "2\\n#### 2"}\n'
    yield "lambada", b'\4{"text": "last word"}\n'
    yield "squad", b"\5" + json.dumps({"data": [{"title": "t", "paragraphs": [{"context": "c", "qas": [
        {"id": "i", "question": "q", "answers": [{"text": "c", "answer_start": 0}]}]}]}]}).encode()
    lines = (ROOT / "configs/datasets.yaml").read_text().splitlines()
    yield "list", b"\6" + "\n".join(line for line in lines if not line.strip().startswith("#")).encode() + b"\n"
    yield "small", b"\6sources: {s: {url: 'https://a/b', licence: x, format: zip, bytes: 3, files: {d: {as: rows, member: m}}}}"
    yield "index", b'\7{"weight_map": {"a": "model-00001-of-00002.safetensors"}}'
    yield "names", b"\x08org/name@revision"


TARGETS = {"safetensors": safetensors, "config": config, "tokenizer": tokenizer, "study": study, "record": record,
           "stage": stage}


def main():
    for target, seeds in TARGETS.items():
        folder = Path(sys.argv[1]) / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in seeds():
            (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
