#!/usr/bin/env python3
"""Writes probe.json beside a model: what transformers computes from it in fp32, for checking other engines.

For each probe: token ids, mean negative log-likelihood of the next token (nats), and 16 greedily chosen ids, each
step a full forward pass without a cache. One probe is a passkey prompt, the others are held-out text below and
above the 1024 positions at which longrope changes its factors. Usage: probe.py DIR
"""

import json
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

LENGTHS, GREEDY = (64, 400, 1000, 1300), 16  # 1000 + 16 stays below 1024: no probe crosses the switch


@torch.no_grad()
def probe(model, ids):
    logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float()
    nll = torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:]))
    made = list(ids)
    for _ in range(GREEDY):
        made.append(int(model(input_ids=torch.tensor([made]), use_cache=False).logits[0, -1].argmax()))
    return {"input_ids": ids, "mean_nll_fp32": float(nll), "greedy_ids_fp32": made[len(ids):]}


def main():
    folder = Path(sys.argv[1])
    tasks = Path(__file__).resolve().parent.parent / "tasks"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    text = (tasks / "heldout.txt").read_text(encoding="utf-8")
    ids = tokenizer.encode(text).ids
    probes = {f"heldout_{n}": probe(model, ids[:n]) for n in LENGTHS}
    with open(tasks / "passkey.jsonl", encoding="utf-8") as file:
        item = json.loads(file.readline())
    probes["passkey"] = {"id": item["id"], **probe(model, tokenizer.encode(item["prompt"]).ids)}
    (folder / "probe.json").write_text(json.dumps(probes) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
