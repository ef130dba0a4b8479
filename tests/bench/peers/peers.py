"""Times other engines beside qsweep's, in one job on one GPU, and reports ratios: above 1, qsweep is faster.

Models (batch 1, greedy, after `--context` tokens, median over `--tokens` tokens that each come back to the host):
  transformers eager     its usual forward pass, growing cache
  transformers compiled  static cache, the decode step under torch.compile(mode="reduce-overhead"), that is CUDA graphs
Linears (replay of a CUDA graph over rotating weights, more than the second-level cache holds):
  PyTorch int4           torch.ops.aten._weight_int4pack_mm, groups of 128, bf16 scales and zeros
  PyTorch bf16           torch.nn.functional.linear, that is cuBLAS
qsweep's figures are gpu_bench's (tests/gpu/bench), which is started first and measures in the same way; its engine
starts a step before the host has the token in front of it, transformers' loop when the host has it.

usage: peers.py --gpu-bench PROGRAM [--qsweep-json FILE] [--json OUT] [--no-linears] MODEL_FOLDER...

What a peer could not do stands in the output as its error, with no ratio. Needs torch and transformers, no network.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

WARMUP_STEPS = 8
ROTATING_BYTES = 300 << 20  # the same as gpu_bench's: more than any second-level cache
REPLAYS = 15
SHAPES = [(16384, 3072), (3072, 8192), (9216, 3072), (3072, 3072), (32064, 3072), (16384, 2048), (2048, 8192)]
ROWS = [1, 4, 16, 64]
INT4_GROUP = 128
INT4_INNER_TILES = 8
BENCH_LIMIT_S = 1200


def median(values):
    values = sorted(values)
    return values[len(values) // 2]


def attempt(work):
    """What work() returns, or its error: one peer that fails must not hide the others."""
    try:
        return work()
    except Exception as error:  # pylint: disable=broad-except
        return {"error": f"{type(error).__name__}: {str(error)[:500]}"}


class Greedy:
    """One sequence in transformers: prefill, then one token after another."""

    def __init__(self, torch, transformers, folder):
        self.torch = torch
        self.transformers = transformers
        self.model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.bfloat16, attn_implementation="sdpa").to("cuda").eval()

    def prompt(self, length):
        vocab = self.model.config.vocab_size
        return self.torch.tensor([[(i * 7919 + 13) % vocab for i in range(length)]], device="cuda")

    def step(self, ids, positions, cache):
        output = self.model(input_ids=ids, position_ids=positions, past_key_values=cache, use_cache=True,
                            logits_to_keep=1)
        return output.logits[:, -1].argmax(-1, keepdim=True)

    def decode(self, step, cache, context, tokens):
        """Seconds of each of the tokens after a prompt; the first WARMUP_STEPS are left out."""
        torch = self.torch
        positions = torch.arange(context, device="cuda")[None]
        token = self.step(self.prompt(context), positions, cache)
        int(token)
        seconds = []
        for i in range(WARMUP_STEPS + tokens):
            positions = torch.tensor([[context + i]], device="cuda")
            token = token.clone()  # the graph's own output is overwritten by its next replay
            torch.cuda.synchronize()
            start = time.perf_counter()
            token = step(token, positions, cache)
            int(token)  # the token is on the host, as after qsweep's next_token()
            seconds.append(time.perf_counter() - start)
        return seconds

    def eager(self, context, tokens):
        seconds = self.decode(self.step, self.transformers.DynamicCache(config=self.model.config), context, tokens)
        return {"decode_ms": median(seconds[WARMUP_STEPS:]) * 1e3}

    def compiled(self, context, tokens):
        cache = self.transformers.StaticCache(config=self.model.config,
                                              max_cache_len=context + WARMUP_STEPS + tokens + 8)
        step = self.torch.compile(self.step, mode="reduce-overhead", fullgraph=False)
        start = time.perf_counter()
        seconds = self.decode(step, cache, context, tokens)
        return {"decode_ms": median(seconds[WARMUP_STEPS:]) * 1e3, "warmup_s": sum(seconds[:WARMUP_STEPS]),
                "in_all_s": time.perf_counter() - start}

    def prefill(self, length):
        prompt, seconds = self.prompt(length), []
        positions = self.torch.arange(length, device="cuda")[None]
        for _ in range(5):
            cache = self.transformers.DynamicCache(config=self.model.config)
            self.torch.cuda.synchronize()
            start = time.perf_counter()
            int(self.step(prompt, positions, cache))
            seconds.append(time.perf_counter() - start)
        return {"prefill_ms": median(seconds[1:]) * 1e3}


def time_model(torch, transformers, folder, options):
    greedy = Greedy(torch, transformers, folder)
    result = {}
    with torch.no_grad():  # not inference_mode: compiled steps may not write into tensors made in it
        result["transformers eager"] = attempt(lambda: greedy.eager(options.context, options.tokens))
        result["transformers eager, prefill"] = attempt(lambda: greedy.prefill(options.prompt))
        result["transformers compiled"] = attempt(lambda: greedy.compiled(options.context, options.tokens))
    del greedy
    torch._dynamo.reset()
    gc.collect()
    torch.cuda.empty_cache()
    return result


def replay_us(torch, call, weights):
    """Microseconds of one call, from replays of a graph that calls it once with each of the weights."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for weight in weights[:2]:
            call(weight)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for weight in weights:
            call(weight)
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    times = []
    for _ in range(REPLAYS):
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1e3 / len(weights))
    return median(times[3:])


def copies_for(bytes_each):
    return max(2, -(-ROTATING_BYTES // bytes_each))


def time_int4(torch, out, columns, rows):
    x = torch.randn(rows, columns, device="cuda", dtype=torch.bfloat16)
    count = copies_for(out * columns // 2)
    weights = []
    for _ in range(count):
        packed = torch.randint(0, 256, (out, columns // 2), device="cuda", dtype=torch.int32).to(torch.uint8)
        scales = torch.rand(columns // INT4_GROUP, out, 2, device="cuda", dtype=torch.bfloat16) * 0.01
        weights.append((torch.ops.aten._convert_weight_to_int4pack(packed, INT4_INNER_TILES), scales))
    return replay_us(torch, lambda w: torch.ops.aten._weight_int4pack_mm(x, w[0], INT4_GROUP, w[1]), weights)


def time_bf16(torch, out, columns, rows):
    x = torch.randn(rows, columns, device="cuda", dtype=torch.bfloat16)
    weights = [torch.randn(out, columns, device="cuda", dtype=torch.bfloat16)
               for _ in range(copies_for(out * columns * 2))]
    return replay_us(torch, lambda w: torch.nn.functional.linear(x, w), weights)


def time_linears(torch):
    results = []
    for out, columns in SHAPES:
        for rows in ROWS:
            row = {"out": out, "in": columns, "rows": rows}
            for name, measure in (("PyTorch int4", time_int4), ("PyTorch bf16", time_bf16)):
                row[name] = attempt(lambda measure=measure: {"us": measure(torch, out, columns, rows)})
            results.append(row)
        torch.cuda.empty_cache()
    return results


def run_gpu_bench(options):
    """gpu_bench's report of the same models, or the one that was handed over."""
    if options.qsweep_json:
        return json.loads(options.qsweep_json.read_text())
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "qsweep.json")
        linears = [] if options.linears else ["--no-linears"]
        subprocess.run([options.gpu_bench, "--json", report, *linears, *options.models], check=True,
                       timeout=BENCH_LIMIT_S)
        return json.loads(report.read_text())


def decode_ratios(folder, ours, peers):
    """(model, config, qsweep's ms, peer, its ms, ratio) of every pair that was measured."""
    rows = []
    for config in ours["models"][folder]["speed"]["configs"]:
        for key, quantity in (("decode_ms", "decode"), ("prefill_ms", "prefill")):
            for peer, result in peers.items():
                if key in result:
                    rows.append({"model": folder, "quantity": quantity, "config": config["config"],
                                 "qsweep_ms": config[key], "peer": peer, "peer_ms": result[key],
                                 "ratio": result[key] / config[key]})
    return rows


def linear_ratios(ours, peers):
    rows = []
    for row in peers:
        for peer, formats in (("PyTorch int4", ("int4",)), ("PyTorch bf16", ("bf16",))):
            for mine in ours.get("linears", []):
                alike = all(mine[key] == row[key] for key in ("out", "in", "rows"))
                if alike and mine["format"].startswith(formats) and "us" in row[peer]:
                    rows.append({"linear": f"{row['out']} x {row['in']}", "rows": row["rows"],
                                 "format": mine["format"], "qsweep_us": mine["us"], "peer": peer,
                                 "peer_us": row[peer]["us"], "ratio": row[peer]["us"] / mine["us"]})
    return rows


def print_table(rows):
    if not rows:
        return
    table = [list(rows[0])] + [[f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows]
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
    print()


def print_errors(peers):
    for place, results in peers.items():
        for peer, result in results.items():
            if isinstance(result, dict) and "error" in result:
                print(f"{place}: {peer} could not be timed: {result['error']}")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("models", nargs="+", help="checkpoint folders, e.g. of `qsweep make-model`")
    parser.add_argument("--gpu-bench", default="build-cuda/tests/gpu_bench", help="qsweep's benchmark program")
    parser.add_argument("--qsweep-json", type=Path, help="gpu_bench's report of the same job, instead of running it")
    parser.add_argument("--json", type=Path, help="where the report goes")
    parser.add_argument("--context", type=int, default=512, help="tokens before the timed ones, as in gpu_bench")
    parser.add_argument("--tokens", type=int, default=64, help="timed tokens")
    parser.add_argument("--prompt", type=int, default=2048, help="tokens of the timed prefill, as in gpu_bench")
    parser.add_argument("--no-linears", dest="linears", action="store_false", help="whole models only")
    return parser.parse_args()


def main():
    options = parse_arguments()
    import torch  # pylint: disable=import-outside-toplevel
    import transformers  # pylint: disable=import-outside-toplevel
    if not torch.cuda.is_available():
        sys.exit("peers.py: PyTorch sees no GPU (all of this measures one) start it on a GPU machine")
    ours = run_gpu_bench(options)  # before PyTorch takes memory
    for folder in options.models:
        speed = ours["models"][folder]["speed"]
        if (speed["context"], speed["prompt"]) != (options.context, options.prompt):
            sys.exit(f"peers.py: gpu_bench measured {speed['context']} and {speed['prompt']} tokens, not "
                     f"{options.context} and {options.prompt} (figures must be of the same work) leave --context "
                     "and --prompt out")
    peers = {folder: time_model(torch, transformers, folder, options) for folder in options.models}
    linears = time_linears(torch) if options.linears else []
    report = {
        "gpu": torch.cuda.get_device_name(0),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "qsweep": ours,
        "peers": peers,
        "linears": linears,
        "ratios": [row for folder in options.models for row in decode_ratios(folder, ours, peers[folder])],
        "linear_ratios": linear_ratios(ours, linears),
    }
    print(f"\n{report['gpu']}, torch {report['torch']}, transformers {report['transformers']}; "
          "ratio: the peer's time over qsweep's\n")
    print_table(report["ratios"])
    print_table(report["linear_ratios"])
    print_errors(peers)
    print_errors({f"{row['out']} x {row['in']}, {row['rows']} rows": row for row in linears})
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
