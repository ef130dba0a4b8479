"""Writes run folders in the layout of a reduced study, with made-up numbers that follow from `seed` alone.

    python tests/made_up_study.py DIR     leaves one in DIR, to look at its report
"""

import hashlib
import io
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

TEXT = h5py.string_dtype("utf-8")
CONFIGS = ("C0", "C1_fp8", "C2_nf4_dq", "C2_mlp", "C3_fp32", "C4_e5m5", "C5_m5", "C5_m3", "C5_m0", "w8a8_int8", "kv_int4",
           "C0_again")
BITS = (16, 8, 4.2, 6, 5.2, 5.1, 5.1, 5.05, 5.0, 8, 16, 16)
ROLES = ("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj")


@dataclass
class Shape:
    """How large the made-up study is."""
    configs: tuple = CONFIGS
    lengths: tuple = ("p32_o64", "p128_o64", "p512_o64")
    repeats: int = 3
    tokens: int = 64
    blocks: int = 16
    windows: int = 40
    profile: bool = True
    perplexity: bool = True
    synthetic: bool = False
    failed: tuple = ()      # configs whose runs all fail
    seed: int = 1
    aggregate: list = field(default_factory=list)
    index: list = field(default_factory=list)


def write_column(group, name, values, units="1"):
    values = list(values)
    text = any(isinstance(v, str) for v in values)
    data = group.create_dataset(name, data=values, dtype=TEXT if text else None)
    data.attrs["units"], data.attrs["long_name"] = units, name


def write_table(file, name, columns, rows):
    group = file.create_group(name)
    for i, column in enumerate(columns):
        write_column(group, column, [row[i] for row in rows])
    return group


def write_run(path, attributes, metrics, datasets):
    """A sealed run file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs.update({"schema_version": 1, **attributes})
        for name, (value, units) in metrics.items():
            data = file.create_dataset(f"metrics/{name}", data=float(value))
            data.attrs["units"] = units
        for name, values in datasets.items():
            file.create_dataset(name, data=values, dtype=TEXT if isinstance(values[0], str) else None)
    body = buffer.getvalue()
    path.write_bytes(body + b"\nqsweep-sha256 " + hashlib.sha256(body).hexdigest().encode() + b"\n")


def add_aggregate(shape, config, workload, lengths, metric, units, values, better, items=None):
    values = np.asarray(values, float)
    n, mean, sd = len(values), values.mean(), values.std(ddof=1) if len(values) > 1 else np.nan
    half = {2: 12.71, 3: 4.303}.get(n, 2.3) * sd / np.sqrt(n) if n > 1 else np.nan
    item = (len(items), items.mean(), items.mean() - 0.05, items.mean() + 0.05) if items is not None else (0,) + (np.nan,) * 3
    shape.aggregate.append((config, workload, lengths, workload, metric, units, n, mean, sd, mean - half, mean + half,
                            values.min(), values.max(), np.median(values), better, *item, "f00d" * 4))


def run_attributes(shape, config, workload, lengths, repeat, status):
    return {"study": "made_up", "config": config, "workload": workload, "lengths": lengths, "repeat": repeat,
            "status": status, "host": "node1", "cpu": "Some CPU", "git_commit": "0" * 40, "seed": shape.seed,
            "error": "ran out of memory (as planned)" if status == "failed" else ""}


def make_cell(folder, shape, rng, workload, lengths, make):
    for config in shape.configs:
        made = []
        for repeat in range(shape.repeats):
            status = "failed" if config in shape.failed else "ok"
            path = f"results/{config}/{workload}/{lengths}/r{repeat}.h5"
            metrics, datasets = make(config, rng) if status == "ok" else ({}, {})
            attributes = run_attributes(shape, config, workload, lengths, repeat, status)
            write_run(folder / path, attributes, metrics, datasets)
            shape.index.append((f"{len(shape.index):016x}", config, workload, lengths, repeat, status,
                                attributes["error"], path, repeat % 2, "", "", 1.5))
            made.append((metrics, datasets))
        if config in shape.failed:
            continue
        for name, (_, units) in made[0][0].items():
            items = made[0][1].get("samples/window_nll") if name == "perplexity.nll" else None
            better = "higher" if "per_s" in name else "lower"
            add_aggregate(shape, config, workload, lengths, name, units, [m[name][0] for m, _ in made], better, items)


def profile_run(shape, lengths):
    prompt = int(lengths[1:].split("_")[0])

    def make(config, rng):
        bits = BITS[CONFIGS.index(config) % len(BITS)]
        base = 2 + 6 * bits / 16
        latency = base * (1 + 0.02 * rng.standard_normal(shape.tokens)) + 0.004 * np.arange(shape.tokens)
        latency[rng.integers(1, shape.tokens)] *= 3
        latency[0] = 0.4 * prompt + bits
        weight = 2.4e9 * bits / 16
        metrics = {"profile.ttft_ms": (latency[0] * (1 + 0.01 * rng.standard_normal()), "ms"),
                   "profile.tpot_ms": (latency[1:].mean(), "ms"),
                   "profile.decode_tokens_per_s": (1e3 / latency[1:].mean(), "1/s"),
                   "profile.prefill_tokens_per_s": (1e3 * prompt / latency[0], "1/s"),
                   "profile.prefill_peak_bytes": (weight * 1.2 + 1e6 * prompt, "byte"),
                   "profile.decode_peak_bytes": (weight * 1.1 + 1e5 * prompt, "byte"),
                   "profile.weight_bytes": (weight, "byte"), "profile.state_bytes": (4e5 * (prompt + 64), "byte")}
        names = [f"model.layers.{b}.{r}" for b in range(shape.blocks) for r in ROLES] + ["lm_head"]
        blocks = [b for b in range(shape.blocks) for _ in ROLES] + [-1]
        error = 10.0 ** (-0.6 * bits) * 4 * np.exp(0.5 * rng.standard_normal(len(names)))
        if bits == 16:
            error[:] = 0
        if "mlp" in config or config.startswith(("C3", "C4", "C5")):
            error[[i for i, n in enumerate(names) if "mlp" not in n]] = 0
        return metrics, {"samples/token_latency_ms": latency, "layers/tensor": names, "layers/layer": blocks,
                         "layers/relative_mse": error}
    return make


def perplexity_run(shape):
    windows = np.random.default_rng(5).normal(2.4, 0.3, shape.windows)

    def make(config, _):
        nll = windows + 0.4 * (2.0 ** -BITS[CONFIGS.index(config) % len(BITS)]) * 8
        return ({"perplexity.nll": (nll.mean(), "nat/token"), "perplexity.ppl": (np.exp(nll.mean()), "1"),
                 "perplexity.kl": (nll.mean() - windows.mean(), "nat/token")},
                {"samples/window_nll": nll, "samples/window_tokens": np.full(shape.windows, 512)})
    return make


def synthetic_run(config, rng):
    value = float(len(config))
    return ({"synthetic.value": (value, "1"), "synthetic.seconds": (0.1 + 0.01 * rng.random(), "s")},
            {"samples/synthetic_items": np.full(8, value)})


CLAIM_COLUMNS = ("name kind metric configs verdict exploratory estimate ci_low ci_high margin p_support p_refute "
                 "p_support_holm p_refute_holm smallest_detectable unit_of_estimate n test note").split()
CLAIMS = (
    ("scales_cost_no_time", "equivalent", "profile.tpot_ms", "C3_fp32, C4_e5m5", "inconclusive", 0, 1.001, .982, 1.02, .01,
     .21, .9, .63, 1.0, .018, "ratio", 3, "TOST (Welch, logs)", "only 3 repeats"),
    ("scales_cost_no_quality", "equivalent", "perplexity.nll", "C3_fp32, C4_e5m5", "supported", 0, .0004, -.001, .002,
     .012, 1e-5, 1.0, 3e-5, 1.0, .002, "nat/token", 40, "paired bootstrap", ""),
    ("made_later <b>", "better", "profile.tpot_ms", "C0, C1_fp8", "refuted", 1, 1.6, 1.5, 1.7, 0.0, 1.0, 1e-7, 1.0, 3e-7,
     .02, "ratio", 3, "Welch (logs)", "named after the first run"))
AGGREGATE_COLUMNS = ("config workload lengths kind metric units n mean sd ci95_low ci95_high min max median better item_n "
                     "item_mean item_ci95_low item_ci95_high protocol_fingerprint").split()
INDEX_COLUMNS = "id config workload lengths repeat status error path rank start end seconds".split()


def make_study(folder, shape=None):
    """Writes sweep.h5, results/ and manifests/ below `folder`; returns it."""
    shape, folder = shape or Shape(), Path(folder)
    rng = np.random.default_rng(shape.seed)
    for lengths in shape.lengths if shape.profile else ():
        make_cell(folder, shape, rng, "profile", lengths, profile_run(shape, lengths))
    if shape.perplexity:
        make_cell(folder, shape, rng, "perplexity", "w512_s512", perplexity_run(shape))
    if shape.synthetic:
        make_cell(folder, shape, rng, "synthetic", "n1", synthetic_run)
    floors = [("profile.tpot_ms", lengths, "profile", 8.0, 8.1, .0125, .02, 3) for lengths in shape.lengths]
    floors.append(("perplexity.nll", "w512_s512", "perplexity", 2.4, 2.4, 0.0, 0.0, 3))
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / "sweep.h5", "w") as file:
        file.attrs.update({"study": "made_up", "model": "some/model", "baseline": "C0"})
        write_table(file, "aggregate", AGGREGATE_COLUMNS, shape.aggregate)
        write_table(file, "claims", CLAIM_COLUMNS, CLAIMS if shape.profile and shape.perplexity else ())
        write_table(file, "noise_floor", "metric lengths workload baseline_mean duplicate_mean relative_difference floor "
                    "n".split(), floors if shape.profile else ())
        write_table(file, "drift", "metric workload lengths n span_h per_hour ci95_low ci95_high p over_sweep "
                    "rank_deviation".split(),
                    [("profile.tpot_ms", "profile", shape.lengths[0], 12, 2.5, .004, -.001, .009, .11, .01, .002)]
                    if shape.profile else ())
        cost = write_table(file, "cost", "rank runs busy_s predicted_s span_s".split(), [(0, 9, 13.5, 12.0, 14.0)])
        cost.attrs.update({"total_busy_s": 13.5, "total_predicted_s": 12.0, "failed": 0, "unproven": 0, "missing": 0})
        write_table(file, "run_index", INDEX_COLUMNS, shape.index)
        for row in shape.index:
            _, config, workload, lengths, repeat, _, _, path, *_ = row
            file[f"runs/{config}/{workload}/{lengths}/r{repeat}"] = h5py.ExternalLink(path, "/")
    manifests = folder / "manifests"
    manifests.mkdir(exist_ok=True)
    refusal = {"config": "C9", "workload": "profile", "lengths": "", "reason": "int4 activations need a kernel (none)"}
    (manifests / "plan.json").write_text(json.dumps({"configs": list(shape.configs), "refusals": [refusal]}))
    (manifests / "env_info.json").write_text(json.dumps({"host": "node1", "libraries": {"hdf5": "1.10.8"}}))
    return folder


if __name__ == "__main__":
    make_study(sys.argv[1])
