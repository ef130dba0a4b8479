"""Expected statistics, computed with NumPy and SciPy alone, as an independent check of src/reduce.

Run by hand when a definition in docs/statistics.md changes, with any NumPy >= 2 and SciPy >= 1.10:

    python3 tests/goldens/reduce/make_goldens.py

It rewrites statistics.json and claims.json beside itself. Inputs come from fixed seeds; the C++ tests read inputs
and expectations and compare to 1e-9.
"""
import json
import pathlib

import numpy as np
from scipy import stats

HERE = pathlib.Path(__file__).parent
B, SEED, ALPHA, POWER = 10000, 20260131, 0.05, 0.8
MASK = (1 << 64) - 1


# ---------------------------------------------------------------- definitions, from docs/statistics.md
def splitmix64(x):
    """Of uint64 arrays; arithmetic modulo 2^64."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def resample_indices(seed, b, n):
    """Row b of the index stream for n items: uint64[n]."""
    start = np.uint64((seed + (b << 32)) & MASK)
    with np.errstate(over="ignore"):
        h = splitmix64(start + np.arange(n, dtype=np.uint64))
    return (h >> np.uint64(32)) * np.uint64(n) >> np.uint64(32)


def bootstrap_means(x, w, resamples=B, seed=SEED):
    x, w = np.asarray(x, float), np.asarray(w, float)
    out = np.empty(resamples)
    for b in range(resamples):
        i = resample_indices(seed, b, len(x)).astype(np.int64)
        out[b] = np.sum(w[i] * x[i]) / np.sum(w[i])
    return out


def holm(p):
    p = np.asarray(p, float)
    filled = np.where(np.isnan(p), 1.0, p)
    order = np.argsort(filled, kind="stable")
    adjusted = np.minimum(1.0, filled[order] * (len(p) - np.arange(len(p))))
    out = np.empty(len(p))
    out[order] = np.maximum.accumulate(adjusted)
    return np.where(np.isnan(p), np.nan, out)


def detectable(se, df, sides):
    d = stats.norm if np.isinf(df) else stats.t(df)
    return float((d.ppf(1 - ALPHA / sides) + d.ppf(POWER)) * se)


# ---------------------------------------------------------------- plain statistics
def numbers(x):
    return [None if np.isnan(v) else float(v) for v in np.atleast_1d(x)]


def statistics_goldens():
    rng = np.random.default_rng(11)
    out = {}

    out["student_interval"] = []
    for n in (2, 3, 5, 30):
        x = rng.normal(100, 7, n)
        low, high = stats.t.interval(0.95, n - 1, loc=x.mean(), scale=stats.sem(x))
        out["student_interval"].append({"x": numbers(x), "mean": float(x.mean()), "sd": float(x.std(ddof=1)),
                                        "median": float(np.median(x)), "low": float(low), "high": float(high)})

    out["welch"] = []
    for n_a, n_b, shift, spread in ((2, 2, 1.0, 1.0), (3, 3, 0.2, 4.0), (5, 8, -2.0, 0.1), (30, 20, 0.0, 1.0)):
        a, b = rng.normal(10 + shift, 1, n_a), rng.normal(10, spread, n_b)
        test = stats.ttest_ind(a, b, equal_var=False)
        ci = test.confidence_interval(0.95)
        margin = 0.7
        low = stats.ttest_ind(a + margin, b, equal_var=False, alternative="greater").pvalue
        high = stats.ttest_ind(a - margin, b, equal_var=False, alternative="less").pvalue
        out["welch"].append({
            "a": numbers(a), "b": numbers(b), "difference": float(a.mean() - b.mean()), "df": float(test.df),
            "p_two_sided": float(test.pvalue), "low": float(ci.low), "high": float(ci.high), "margin": margin,
            "p_above_minus_margin": float(low), "p_below_margin": float(high), "tost": float(max(low, high)),
            "detectable_one_sided": detectable(float((a.mean() - b.mean()) / test.statistic), float(test.df), 1),
            "detectable_two_sided": detectable(float((a.mean() - b.mean()) / test.statistic), float(test.df), 2)})

    out["resample_index"] = []
    for seed, b, j, n in ((0, 0, 0, 10), (SEED, 0, 0, 1000), (SEED, 9999, 999, 1000), (MASK, 3, 5, 4294967295),
                          (SEED, 1, 0, 1), (7, 65536, 4294967295, 641)):
        with np.errstate(over="ignore"):
            h = int(splitmix64(np.array([(seed + (b << 32) + j) & MASK], dtype=np.uint64))[0])
        out["resample_index"].append({"seed": str(seed), "b": b, "j": j, "n": n, "index": ((h >> 32) * n) >> 32})

    out["bootstrap"] = []
    for n, weighted in ((1, False), (2, False), (37, True), (300, False)):
        x = rng.gamma(2.0, 1.5, n)
        w = rng.integers(1, 500, n).astype(float) if weighted else np.ones(n)
        means = bootstrap_means(x, w)
        out["bootstrap"].append({"x": numbers(x), "w": numbers(w) if weighted else [],
                                 "weighted_mean": float(np.average(x, weights=w)), "first": numbers(means[:5]),
                                 "last": float(means[-1]), "sd": float(means.std(ddof=1)),
                                 "q025": float(np.quantile(means, 0.025)), "q975": float(np.quantile(means, 0.975))})

    out["mcnemar"] = [{"b": b, "c": c, "p": 1.0 if b + c == 0 else float(stats.binomtest(min(b, c), b + c, 0.5).pvalue)}
                      for b, c in ((0, 0), (5, 5), (1, 9), (30, 12), (0, 6), (400, 351))]
    out["holm"] = [{"p": numbers(p), "adjusted": numbers(holm(p))}
                   for p in ([0.01, 0.04, 0.03, 0.005], [0.5], [0.02, np.nan, 0.02], [0.9, 0.8, 0.7], [])]
    return out


# ---------------------------------------------------------------- claims
RATIO = {"profile.tpot_ms": ("lower", True), "profile.decode_tokens_per_s": ("higher", True),
         "profile.prefill_peak_bytes": ("lower", True),
         "profile.weight_bytes": ("lower", False), "perplexity.nll": ("lower", False),
         "perplexity.top1_agreement": ("higher", False), "synthetic.value": ("lower", False)}
# metric -> (better, timed over repeats)
ITEMS = {"perplexity.nll", "perplexity.top1_agreement", "synthetic.value"}


class Welch:
    """d = mean(a) - mean(b) in logs; p-values by SciPy's one-sided tests on shifted samples."""

    ratio = True

    def __init__(self, a, b):
        self.a, self.b = np.log(a).mean(axis=0), np.log(b).mean(axis=0)  # [cells, repeats] -> [repeats]
        self.d, self.n, self.name = self.a.mean() - self.b.mean(), len(self.a), "Welch t"
        self.exact = self.a.std(ddof=1) == 0 and self.b.std(ddof=1) == 0
        self.mean_b = np.exp(self.b.mean())
        if self.exact:
            self.name = "exact"

    def less(self, x, edge="open"):
        if self.exact:
            return 0.0 if self.d < x or (edge == "closed" and self.d == x) else 1.0
        return float(stats.ttest_ind(self.a - x, self.b, equal_var=False, alternative="less").pvalue)

    def greater(self, x, edge="open"):
        if self.exact:
            return 0.0 if self.d > x or (edge == "closed" and self.d == x) else 1.0
        return float(stats.ttest_ind(self.a - x, self.b, equal_var=False, alternative="greater").pvalue)

    def interval(self):
        if self.exact:
            return self.d, self.d
        ci = stats.ttest_ind(self.a, self.b, equal_var=False).confidence_interval(0.95)
        return float(ci.low), float(ci.high)

    def detectable(self, sides):
        if self.exact:
            return np.nan
        test = stats.ttest_ind(self.a, self.b, equal_var=False)
        se = np.sqrt(self.a.var(ddof=1) / len(self.a) + self.b.var(ddof=1) / len(self.b))
        return detectable(float(se), float(test.df), sides)


class Paired:
    ratio = False

    def __init__(self, a, b, w):
        self.n, self.name, self.exact = len(a), "paired bootstrap", False
        self.d = float(np.average(a - b, weights=w))
        self.mean_b = float(np.average(b, weights=w))
        self.star = bootstrap_means(a - b, w)

    def less(self, x, edge="open"):
        return float((1 + np.sum(self.star >= x)) / (B + 1))

    def greater(self, x, edge="open"):
        return float((1 + np.sum(self.star <= x)) / (B + 1))

    def interval(self):
        return float(np.quantile(self.star, 0.025)), float(np.quantile(self.star, 0.975))

    def detectable(self, sides):
        return detectable(float(self.star.std(ddof=1)), np.inf, sides)


class Exact(Welch):
    def __init__(self, a, b):
        a, b = np.log(a).mean(), np.log(b).mean()
        self.d, self.mean_b, self.n, self.name, self.exact = a - b, np.exp(b), 1, "exact", True


def make_study():
    """Four configs: twin equals base but for noise, bad is clearly worse, odd is between."""
    rng = np.random.default_rng(5)
    configs = ["base", "twin", "odd", "bad", "copy"]
    slow = {"base": 1.0, "twin": 1.0005, "odd": 1.02, "bad": 1.3, "copy": 1.0}
    loss = {"base": 0.0, "twin": 0.0004, "odd": 0.02, "bad": 0.4, "copy": 0.0}
    repeats, cells = 6, ["p8_o8", "p32_o8"]
    data = {c: {} for c in configs}
    nll_base = [rng.gamma(9.0, 0.3, 40), rng.gamma(9.0, 0.3, 25)]
    tokens = [rng.integers(64, 512, 40).astype(float), rng.integers(64, 512, 25).astype(float)]
    hits = (rng.random((1, 80)) < 0.7).astype(float)
    for c in configs:
        data[c]["profile.tpot_ms"] = np.array([[t * slow[c] * np.exp(rng.normal(0, 0.0008)) for _ in range(repeats)]
                                               for t in (3.0, 4.5)])
        data[c]["profile.decode_tokens_per_s"] = 1000 / data[c]["profile.tpot_ms"]
        data[c]["profile.prefill_peak_bytes"] = np.full((2, repeats), 5e6 if c != "bad" else 6e6)
        data[c]["profile.weight_bytes"] = np.array([{"base": 4e6, "bad": 1e6}.get(c, 2e6)] * 2)
        data[c]["perplexity.nll"] = [x + loss[c] * (1 + rng.normal(0, 0.5, len(x))) if loss[c] else x.copy()
                                     for x in nll_base]
        flip = rng.random(80) < {"bad": 0.3}.get(c, 0.01)
        data[c]["synthetic.value"] = [np.where(flip & (hits[0] == 1), 0.0, hits[0])]
        data[c]["perplexity.top1_agreement"] = [1 - 0.1 * loss[c] * rng.random(len(x)) for x in nll_base]
    return configs, cells, repeats, data, tokens


CLAIMS = [
    dict(name="same_time", kind="equivalent", configs=["base", "twin"], metric="profile.tpot_ms", within=0.01),
    dict(name="not_same_time", kind="equivalent", configs=["base", "bad"], metric="profile.tpot_ms", within=0.01),
    dict(name="perhaps_same_time", kind="equivalent", configs=["odd", "base"], metric="profile.tpot_ms", within=0.0203),
    dict(name="same_time_one_length", kind="equivalent", configs=["twin", "base"], metric="profile.tpot_ms",
         within=0.02, lengths="p8_o8"),
    dict(name="absolute_margin", kind="equivalent", configs=["twin", "base"], metric="profile.tpot_ms", within=0.2,
         within_relative=False),
    dict(name="no_slower", kind="not_worse", configs=["twin", "bad"], metric="profile.tpot_ms", within=0.0),
    dict(name="slower", kind="not_worse", configs=["bad", "base"], metric="profile.tpot_ms", within=0.05),
    dict(name="rate_no_worse", kind="not_worse", configs=["base", "bad"], metric="profile.decode_tokens_per_s",
         within=0.01),
    dict(name="rate_better", kind="better", configs=["bad", "base"], metric="profile.decode_tokens_per_s", within=0.0),
    dict(name="faster", kind="better", configs=["base", "odd"], metric="profile.tpot_ms", within=0.0),
    dict(name="rising_time", kind="ordered", configs=["base", "odd", "bad"], metric="profile.tpot_ms",
         increasing=True),
    dict(name="falling_time", kind="ordered", configs=["base", "odd", "bad"], metric="profile.tpot_ms",
         increasing=False),
    dict(name="same_peak", kind="equivalent", configs=["base", "twin"], metric="profile.prefill_peak_bytes",
         within=0.01),
    dict(name="smaller", kind="better", configs=["twin", "base"], metric="profile.weight_bytes", within=0.0),
    dict(name="no_larger", kind="not_worse", configs=["odd", "twin"], metric="profile.weight_bytes", within=0.0),
    dict(name="tie_is_not_better", kind="better", configs=["odd", "twin"], metric="profile.weight_bytes", within=0.0),
    dict(name="same_nll", kind="equivalent", configs=["twin", "base"], metric="perplexity.nll", within=0.005),
    dict(name="same_bits", kind="equivalent", configs=["copy", "base"], metric="perplexity.nll", within=0.001),
    dict(name="not_same_nll", kind="equivalent", configs=["bad", "base"], metric="perplexity.nll", within=0.005),
    dict(name="nll_no_worse", kind="not_worse", configs=["odd", "base"], metric="perplexity.nll", within=0.05,
         within_relative=False),
    dict(name="nll_worse", kind="not_worse", configs=["bad", "base"], metric="perplexity.nll", within=0.0),
    dict(name="nll_rises", kind="ordered", configs=["base", "odd", "bad"], metric="perplexity.nll", increasing=True),
    dict(name="nll_falls", kind="ordered", configs=["base", "odd", "bad"], metric="perplexity.nll", increasing=False),
    dict(name="agreement_no_worse", kind="not_worse", configs=["twin", "base"], metric="perplexity.top1_agreement",
         within=0.001),
    dict(name="agreement_better", kind="better", configs=["base", "bad"], metric="perplexity.top1_agreement",
         within=0.0),
    dict(name="binary_items", kind="better", configs=["bad", "base"], metric="synthetic.value", within=0.0),
    dict(name="no_data", kind="better", configs=["base", "bad"], metric="profile.ttft_ms", within=0.0),
]


def compare(data, cells, tokens, metric, a, b, lengths):
    keep = [i for i, c in enumerate(cells) if not lengths or c == lengths]
    if metric not in RATIO:
        return None
    x, y = data[a][metric], data[b][metric]
    if RATIO[metric][1]:
        return Welch(x[keep], y[keep])
    if metric in ITEMS:
        x, y = np.concatenate(x), np.concatenate(y)
        w = np.ones(len(x)) if metric == "synthetic.value" else np.concatenate(tokens)
        return Paired(x, y, w)
    result = Exact(x, y)
    result.n = len(x)
    return result


def judge(claim, data, cells, tokens):
    kind, metric = claim["kind"], claim["metric"]
    pick = lambda a, b: compare(data, cells, tokens, metric, a, b, claim.get("lengths", ""))
    names = claim["configs"]
    if pick(names[0], names[1]) is None:
        return dict(p_support=np.nan, p_refute=np.nan)
    if kind == "ordered":
        support, refute, shown = -1.0, 1.0, None
        for first, second in zip(names, names[1:]):
            c = pick(second, first)
            up, down = c.greater(0.0), c.less(0.0)
            holds, reverse = (up, down) if claim["increasing"] else (down, up)
            refute = min(refute, reverse)
            if holds > support:
                support, shown = holds, c
        return report(shown, 0.0, 1, support, min(1.0, refute * (len(names) - 1)), "one-sided ")
    c = pick(*names)
    within = claim["within"]
    if kind == "better":
        m = 0.0
    elif c.ratio:
        m = np.log(1 + (within if claim.get("within_relative", True) else within / c.mean_b))
    else:
        m = within * abs(c.mean_b) if claim.get("within_relative", True) else within
    if kind == "equivalent":
        return report(c, m, 2, max(c.greater(-m, "closed"), c.less(m, "closed")),
                      min(1.0, 2 * min(c.greater(m), c.less(-m))), "TOST, ")
    edges = ("closed", "open") if kind == "not_worse" else ("open", "closed")
    if RATIO[metric][0] == "lower":
        return report(c, m, 1, c.less(m, edges[0]), c.greater(m, edges[1]), "one-sided ")
    return report(c, m, 1, c.greater(-m, edges[0]), c.less(-m, edges[1]), "one-sided ")


def report(c, m, sides, p_support, p_refute, prefix):
    level = np.exp if c.ratio else (lambda v: v)
    size = np.expm1 if c.ratio else (lambda v: v)
    low, high = c.interval()
    return dict(estimate=float(level(c.d)), ci_low=float(level(low)), ci_high=float(level(high)),
                margin=float(size(m)), p_support=p_support, p_refute=p_refute, n=c.n,
                smallest_detectable=float(size(c.detectable(sides))),
                test="exact" if c.exact else prefix + c.name)


def claims_goldens():
    configs, cells, repeats, data, tokens = make_study()
    expected = [judge(claim, data, cells, tokens) for claim in CLAIMS]
    support, refute = holm([e["p_support"] for e in expected]), holm([e["p_refute"] for e in expected])
    for e, s, r in zip(expected, support, refute):
        e["p_support_holm"], e["p_refute_holm"] = float(s), float(r)
        e["verdict"] = "supported" if s <= ALPHA else "refuted" if r <= ALPHA else "inconclusive"
    clean = [{k: (None if isinstance(v, float) and np.isnan(v) else v) for k, v in e.items()} for e in expected]
    plain = {c: {m: [numbers(row) for row in np.atleast_2d(v)] if isinstance(v, np.ndarray) and v.ndim == 2
                 else numbers(v) if isinstance(v, np.ndarray) else [numbers(x) for x in v]
                 for m, v in data[c].items()} for c in configs}
    return {"configs": configs, "lengths": cells, "repeats": repeats, "data": plain,
            "tokens": [numbers(t) for t in tokens], "claims": CLAIMS, "expected": clean}


if __name__ == "__main__":
    for name, content in (("statistics.json", statistics_goldens()), ("claims.json", claims_goldens())):
        (HERE / name).write_text(json.dumps(content, indent=1) + "\n")
