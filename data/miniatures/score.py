"""Scores a miniature: held-out perplexity, passkey, arithmetic, closed-world choice, and fake quantization.

Everything runs in fp32 on the bf16-rounded weights. An answer counts as generated when every one of its tokens,
and the token that ends it, is the arg-max given the prompt and the tokens before: what greedy decoding yields.
"""

import json
import math

import torch

WINDOW, STRIDE = 512, 256  # perplexity: windows of 512 tokens, the last 256 of each are scored
GROUP = 128                # fake quantization: weights per scale along a row


def read_items(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


class Scorer:
    def __init__(self, model, tokenizer, style, device, batch=32):
        self.model, self.tokenizer, self.device, self.batch = model, tokenizer, device, batch
        self.prefix = [style.bos_id] if style.bos_share > 0.5 else []

    def _logprobs(self, rows):
        """For rows of token ids: (log-probability [n] of each next token, is it the arg-max [n]) per row."""
        result = []
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        found = {}
        for at in range(0, len(order), self.batch):
            chunk = order[at:at + self.batch]
            width = max(len(rows[i]) for i in chunk)
            ids = torch.zeros(len(chunk), width, dtype=torch.long)
            for r, i in enumerate(chunk):
                ids[r, :len(rows[i])] = torch.tensor(rows[i])
            ids = ids.to(self.device)
            logits = self.model(input_ids=ids, use_cache=False).logits[:, :-1].float()
            target = ids[:, 1:]
            chosen = logits.gather(-1, target[..., None])[..., 0] - logits.logsumexp(-1)
            greedy = logits.argmax(-1) == target
            for r, i in enumerate(chunk):
                n = len(rows[i]) - 1
                found[i] = (chosen[r, :n].double().cpu(), greedy[r, :n].cpu())
        for i in range(len(rows)):
            result.append(found[i])
        return result

    def _pair(self, context, continuation):
        """Ids of context + continuation and how many of them belong to the continuation."""
        whole = self.tokenizer.encode(context + continuation, add_special_tokens=False).ids
        head = self.tokenizer.encode(context, add_special_tokens=False).ids
        return self.prefix + whole, len(whole) - len(head)

    @torch.no_grad()
    def perplexity(self, text):
        ids = self.tokenizer.encode(text, add_special_tokens=False).ids
        rows, counts, done = [], [], 1
        while done < len(ids):
            end = min(max(done + STRIDE, WINDOW), len(ids))
            rows.append(ids[max(0, end - WINDOW):end])
            counts.append(end - done)
            done = end
        nll = -sum(float(lp[-n:].sum()) for (lp, _), n in zip(self._logprobs(rows), counts))
        tokens, n_bytes = sum(counts), len(text.encode())
        return {"nll_per_token": nll / tokens, "token_ppl": math.exp(nll / tokens),
                "bits_per_byte": nll / n_bytes / math.log(2), "byte_ppl": math.exp(nll / n_bytes), "tokens": tokens}

    @torch.no_grad()
    def generated(self, items, ending):
        """One bool per item: greedy decoding gives ` answer` and then `ending`."""
        pairs = [self._pair(item["prompt"], f" {item['answer']}{ending}") for item in items]
        return [bool(greedy[-n:].all()) for (_, greedy), (_, n) in zip(self._logprobs([p[0] for p in pairs]), pairs)]

    @torch.no_grad()
    def chosen(self, items):
        """One bool per item: the right choice has the largest summed log-probability."""
        pairs = [self._pair(item["context"], " " + choice) for item in items for choice in item["choices"]]
        sums = [float(lp[-n:].sum()) for (lp, _), (_, n) in zip(self._logprobs([p[0] for p in pairs]), pairs)]
        right, at = [], 0
        for item in items:
            scores = sums[at:at + len(item["choices"])]
            at += len(item["choices"])
            right.append(scores.index(max(scores)) == item["answer"])
        return right


def share(flags):
    return sum(flags) / max(1, len(flags))


def task_scores(scorer, tasks, limit):
    """Accuracies by task and by part of it; `limit` items of each task, spread over the file."""
    thin = lambda items: items[::max(1, len(items) // limit)] if limit else items
    passkey, arithmetic, choice = (thin(read_items(tasks / f"{n}.jsonl")) for n in ("passkey", "arithmetic", "choice"))
    scores = {}
    flags = scorer.generated(passkey, ".")
    scores["passkey"] = share(flags)
    for key in ("wording", "filler_chars"):
        for value in sorted({i[key] for i in passkey}, key=str):
            scores[f"passkey/{value}"] = share([f for f, i in zip(flags, passkey) if i[key] == value])
    flags = scorer.generated(arithmetic, "\n")
    scores["arithmetic"] = share(flags)
    for kind in ("add", "sub", "mul"):
        scores[f"arithmetic/{kind}"] = share([f for f, i in zip(flags, arithmetic) if i["kind"] == kind])
    flags = scorer.chosen(choice)
    scores["choice"] = share(flags)
    for kind in ("rewording", "statement_only"):
        scores[f"choice/{kind}"] = share([f for f, i in zip(flags, choice) if i["kind"] == kind])
    return scores


def e5m(scale, mantissa_bits):
    """Scale with a mantissa of so many bits: rounded to nearest even; with 0 bits cut off (a power of two)."""
    exponent = torch.floor(torch.log2(scale))
    fraction = scale / torch.exp2(exponent) - 1.0
    steps = 2.0 ** mantissa_bits
    kept = torch.round(fraction * steps) / steps if mantissa_bits else torch.zeros_like(fraction)
    return (1.0 + kept) * torch.exp2(exponent)


def fake_quantized(weight, bits, scale_codec):
    """Symmetric round-to-nearest in groups of GROUP along the columns, scale absmax / (2^(bits-1) - 1)."""
    top = 2 ** (bits - 1) - 1
    groups = weight.float().reshape(weight.shape[0], -1, GROUP)
    scale = scale_codec((groups.abs().amax(-1, keepdim=True) / top).clamp_min(1e-8))
    return ((groups / scale).round().clamp(-top - 1, top) * scale).reshape(weight.shape)


EXACT = lambda scale: scale
FAKE_QUANT = [  # name, parameters it touches, bits, scale codec
    ("int8 mlp, fp32 scales", (".mlp.",), 8, EXACT),
    ("int4 mlp, fp32 scales", (".mlp.",), 4, EXACT),
    ("int4 mlp, e5m5 scales", (".mlp.",), 4, lambda s: e5m(s, 5)),
    ("int4 mlp, e5m3 scales", (".mlp.",), 4, lambda s: e5m(s, 3)),
    ("int4 mlp, e5m0 scales", (".mlp.",), 4, lambda s: e5m(s, 0)),
    ("int4 all linears, fp32 scales", (".mlp.", ".self_attn."), 4, EXACT),
    ("int3 mlp, fp32 scales", (".mlp.",), 3, EXACT),
]


@torch.no_grad()
def fake_quant_table(scorer, tasks, text, limit):
    """[(name, perplexity dictionary, task scores)]; the first row is the unquantized model."""
    model = scorer.model
    table = [("bf16", scorer.perplexity(text), task_scores(scorer, tasks, limit))]
    for name, touched, bits, codec in FAKE_QUANT:
        saved = {n: p.clone() for n, p in model.named_parameters() if p.dim() == 2 and any(t in n for t in touched)}
        for n, p in model.named_parameters():
            if n in saved:
                p.copy_(fake_quantized(p, bits, codec))
        table.append((name, scorer.perplexity(text), task_scores(scorer, tasks, limit)))
        for n, p in model.named_parameters():
            if n in saved:
                p.copy_(saved[n])
    return table
