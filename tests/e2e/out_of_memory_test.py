"""Out of memory is a failed run with that reason in its record, and the rank goes on with the next cell.

Provoked by a cache for more tokens than there is memory: a miniature whose config.json promises that many positions,
on the CPU below a limit of the address space, on a GPU as it is. Only the standard library, since GPU machines may
lack the rest. Skips aloud where a GPU is asked for and there is none.

usage: out_of_memory_test.py --qsweep PATH [--backend cuda]
"""

import argparse
import json
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SKIPPED = 77
TOKENS = 1 << 24  # the longest prompt of the grammar
HOST_BYTES = 16 << 30  # address space on the CPU: thread stacks and libraries count too
REASON = {"cpu": "out of memory", "cuda": "out of GPU memory"}
TIMEOUT_S = 300

STUDY = """
study: memory
model: {model}
repeats: 1
baseline: base
configs:
  base: {{}}
  int4: {{scope: mlp, weights: {{format: int4, group: 128, scale: e5m5}}}}
workloads:
  profile: {{prompt: [16, {tokens}], output: 4, warmup: 0}}
"""


def has_gpu(qsweep, folder):
    done = subprocess.run([qsweep, "doctor", "--out", folder], capture_output=True, text=True, timeout=TIMEOUT_S)
    return re.search(r"\d+ GPUs? to run on", done.stdout) is not None


def gpu_bytes():
    """Memory of the largest GPU, or 0 where nvidia-smi does not tell."""
    try:
        done = subprocess.run(["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"],
                              capture_output=True, text=True, timeout=TIMEOUT_S)
        return max((int(line) << 20 for line in done.stdout.split() if line.isdigit()), default=0)
    except OSError:
        return 0


def make_model(folder):
    """The miniature with TOKENS positions and a few; returns the bytes of their keys and values."""
    shutil.copytree(ROOT / "data/mini-phi3", folder)
    config = json.loads((folder / "config.json").read_text())
    per_token = 2 * 4 * config["num_hidden_layers"] * config["hidden_size"]  # fp32, as many KV heads as heads
    config["max_position_embeddings"] = TOKENS + 1000
    (folder / "config.json").write_text(json.dumps(config))
    return TOKENS * per_token


def status_of(qsweep, record):
    text = subprocess.run([qsweep, "inspect", record], capture_output=True, text=True, check=True,
                          timeout=TIMEOUT_S).stdout
    lines = [line.split(None, 1) for line in text.splitlines() if line.split()]
    return {words[0]: words[1] for words in lines if words[0] in ("status", "error") and len(words) == 2}


def check(holds, what):
    if not holds:
        raise SystemExit(f"FAILED: {what}")


def limit_memory():
    resource.setrlimit(resource.RLIMIT_AS, (HOST_BYTES, HOST_BYTES))


def run(qsweep, folder, backend):
    cache = make_model(folder / "model")
    memory = gpu_bytes() if backend == "cuda" else HOST_BYTES
    if not 0 < memory < cache:
        print(f"skipped: a cache of {cache} bytes may fit into {memory}")
        sys.exit(SKIPPED)
    study = folder / "study.yaml"
    study.write_text(STUDY.format(model=folder / "model", tokens=TOKENS))
    done = subprocess.run(
        [qsweep, study, "--backend", backend, "--compute", "fp32", "--out", folder / "runs", "--run-tag", "memory"],
        capture_output=True, text=True, timeout=TIMEOUT_S, cwd=ROOT,
        preexec_fn=limit_memory if backend == "cpu" else None)
    output = done.stdout + done.stderr
    check(done.returncode == 4, f"exit code {done.returncode}, expected 4 (some runs failed)\n{output}")
    records = sorted((folder / "runs/memory/memory/results").rglob("*.h5"))
    check(len(records) >= 4, f"{len(records)} records, expected one for each of four runs\n{output}")
    failed = fine = 0
    for record in records:
        status = status_of(qsweep, record)
        if f"p{TOKENS}_" in str(record):
            check(status.get("status") == "failed", f"{record}: {status}, expected failed")
            check(REASON[backend] in status.get("error", ""), f"{record}: {status}, expected the reason")
            failed += 1
        else:
            check(status.get("status") == "ok", f"{record}: {status}, expected ok")
            fine += 1
    check(failed >= 2 and fine >= 2, f"{failed} runs lacked memory and {fine} did not, expected both of both configs")
    print(f"{failed} runs lacked memory and say so, {fine} others were done after them")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--qsweep", default=ROOT / "build/bin/qsweep", type=pathlib.Path)
    parser.add_argument("--backend", choices=list(REASON), default="cpu")
    arguments = parser.parse_args()
    qsweep = arguments.qsweep.resolve()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="qsweep-memory-"))
    try:
        if arguments.backend == "cuda" and not has_gpu(qsweep, folder):
            print("skipped: needs a GPU")
            sys.exit(SKIPPED)
        run(qsweep, folder, arguments.backend)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
