"""RUN_DIR/report/: every figure as PNG and SVG, and report.html, which holds all of it in one file."""

import base64
from html import escape

import numpy as np
import pandas as pd

from . import page
from .figures import draw_all
from .figures.style import number

LARGEST_SVG = 1_500_000  # bytes: a figure of more is embedded as PNG
HEADLINE = ("profile.weight_bytes", "profile.ttft_ms", "profile.tpot_ms", "profile.decode_tokens_per_s",
            "profile.decode_peak_bytes", "profile.decode_fraction", "perplexity.nll", "perplexity.ppl",
            "perplexity.kl", "perplexity.top1_agreement", "synthetic.value")
PROVENANCE = ("qsweep_version git_commit git_dirty compiler host cpu backend compute threads ranks gpu_name gpu_uuid "
              "driver cuda slurm_job_id model model_fingerprint seed protocol_fingerprint schema_version").split()


def write_report(study, folder):
    """Writes everything below `folder`; returns the path of report.html."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = draw_all(study)
    images = []
    for figure in figures:
        svg, png = figure.svg(), figure.png()
        (folder / f"{figure.name}.svg").write_bytes(svg)
        (folder / f"{figure.name}.png").write_bytes(png)
        images.append(_image(figure, svg, png))
    path = folder / "report.html"
    path.write_text(_html(study, images), encoding="utf-8")
    return path


def _image(figure, svg, png):
    kind, content = ("svg+xml", svg) if len(svg) <= LARGEST_SVG else ("png", png)
    data = base64.b64encode(content).decode()
    return (f'<figure id="{figure.name}"><h3>{escape(figure.title)}</h3>'
            f'<img src="data:image/{kind};base64,{data}" alt="{escape(figure.title)}">'
            f"<figcaption>{escape(figure.caption)}</figcaption></figure>")


def _html(study, images):
    figures = "".join(images) or "<p>No run left anything to draw.</p>"
    sections = [("Claims", _claims(study)), ("Main numbers", _headline(study)), ("Figures", figures),
                ("Noise floor", _noise_floor(study)), ("Drift", _drift(study)),
                ("Runs that do not count", _not_counted(study)), ("Refused combinations", _refusals(study)), ("Cost", _cost(study)),
                ("All aggregates", _aggregate(study)), ("Provenance", _provenance(study))]
    return page.html(f"{study.name}: qsweep report", _summary(study), sections)


def _summary(study):
    verdicts = study.claims["verdict"].value_counts()
    runs = study.run_index["status"].value_counts()
    text = ", ".join(f"{page.badge(v)} × {n}" for v, n in verdicts.items()) or "none were registered"
    counts = ", ".join(f"{n} {escape(str(s))}" for s, n in runs.items()) or "none"
    return (f"<p>Model <b>{escape(study.model)}</b>, baseline <b>{escape(study.baseline)}</b>, "
            f"{len(study.configs)} configs.</p><p>Runs: {counts}. Claims: {text}.</p>")


def _claims(study):
    if study.claims.empty:
        return "<p>The study registers no claims.</p>"
    head = ["claim", "configs", "metric", "verdict", "estimate [95 % interval]", "margin", "p support (Holm)",
            "p refute (Holm)", "smallest detectable", "n", "test", "note"]
    body = []
    for c in study.claims.itertuples():
        unit = "" if c.unit_of_estimate in ("1", "") else f" {escape(str(c.unit_of_estimate))}"
        digits = 5 if c.unit_of_estimate == "ratio" else 4
        estimate = f"{number(c.estimate, digits)} [{number(c.ci_low, digits)}, {number(c.ci_high, digits)}]{unit}"
        marks = page.badge(c.verdict) + (" " + page.badge("exploratory") if c.exploratory else "")
        body.append([f"<b>{escape(str(c.name))}</b><br><small>{escape(str(c.kind).replace('_', ' '))}</small>",
                     escape(str(c.configs)), escape(str(c.metric)), marks, estimate, number(c.margin),
                     f"{_p(c.p_support)} ({_p(c.p_support_holm)})", f"{_p(c.p_refute)} ({_p(c.p_refute_holm)})",
                     number(c.smallest_detectable, 3), str(c.n), escape(str(c.test)), escape(str(c.note))])
    note = ("<p class=note>A claim is supported or refuted where its Holm-adjusted p-value is at most 0.05, else "
            "inconclusive. A ratio compares in logarithms: 1 is no difference. The smallest detectable effect is what "
            "this study could have seen with a power of 80 %. Exploratory: not registered before the first run.</p>")
    return page.table(head, body, numeric=range(4, 10)) + note


def _p(value):
    value = pd.to_numeric(value, errors="coerce")
    if not np.isfinite(value):
        return "–"
    return "&lt; 0.0001" if value < 1e-4 else f"{value:.2g}"


def _value(row):
    if not np.isfinite(row.low) or not np.isfinite(row.high):
        return number(row.mean)
    return f"{number(row.mean)} <small>± {number((row.high - row.low) / 2, 2)}</small>"


def _headline(study):
    """Configs as rows, the main metrics as columns; a table a cell of the grid."""
    present = [m for m in HEADLINE if (study.aggregate["metric"] == m).any()]
    tables = []
    rows = {metric: study.rows(metric) for metric in present}
    cells = sorted({(w, l) for r in rows.values() for w, l in zip(r["workload"], r["lengths"])})
    for workload, lengths in cells:
        own = {m: r[(r["workload"] == workload) & (r["lengths"] == lengths)] for m, r in rows.items()}
        own = {m: r for m, r in own.items() if len(r)}
        head = ["config"] + [f"{escape(m.split('.', 1)[1])}<br><small>{escape(_unit(r))}</small>" for m, r in own.items()]
        body = []
        for config in study.configs:
            values = [r[r["config"] == config] for r in own.values()]
            if any(len(v) for v in values):
                body.append([f"<b>{escape(config)}</b>"] +
                            [_value(next(v.itertuples())) if len(v) else "–" for v in values])
        tables.append(f"<h3>{escape(workload)} {escape(lengths)}</h3>" +
                      page.table(head, body, numeric=range(1, len(head))))
    note = "<p class=note>± is half the 95 % interval: over repeats, or over items where repeats give the same bits.</p>"
    return "".join(tables) + note if tables else "<p>No run counts: there is nothing to aggregate.</p>"


def _unit(rows):
    unit = str(rows["units"].iloc[0])
    return "" if unit == "1" else unit


def _aggregate(study):
    if study.aggregate.empty:
        return "<p>Empty.</p>"
    head = ["config", "workload", "lengths", "metric", "units", "n", "mean", "sd", "95 % interval", "min", "median",
            "max", "over items", "protocol"]
    body = []
    for r in study.aggregate.itertuples():
        items = (f"{number(r.item_mean)} [{number(r.item_ci95_low)}, {number(r.item_ci95_high)}], {r.item_n} items"
                 if pd.to_numeric(r.item_n, errors="coerce") > 0 else "–")
        body.append([escape(str(v)) for v in (r.config, r.workload, r.lengths, r.metric, r.units, r.n)] +
                    [number(r.mean), number(r.sd), f"[{number(r.ci95_low)}, {number(r.ci95_high)}]", number(r.min),
                     number(r.median), number(r.max), items, escape(str(r.protocol_fingerprint)[:12])])
    return f"<details><summary>{len(body)} rows</summary>{page.table(head, body, numeric=range(5, 12))}</details>"


def _noise_floor(study):
    if study.noise_floor.empty:
        return "<p>The study has no A/A duplicate of its baseline, or it did not run.</p>"
    head = ["metric", "workload", "lengths", "baseline", "duplicate", "relative difference", "floor", "n"]
    body = [[escape(str(r.metric)), escape(str(r.workload)), escape(str(r.lengths)), number(r.baseline_mean),
             number(r.duplicate_mean), _percent(r.relative_difference), _percent(r.floor), str(r.n)]
            for r in study.noise_floor.itertuples()]
    return ("<p class=note>A duplicate of the baseline, measured as if it were another config: what differs here differs "
            "for no reason, so an effect below the floor is not one.</p>" + page.table(head, body, numeric=range(3, 8)))


def _drift(study):
    if study.drift.empty:
        return "<p>The sweep had no sentinel runs (too few runs, or no timed workload).</p>"
    head = ["metric", "workload", "lengths", "runs", "hours", "change an hour", "95 % interval", "p", "over the sweep",
            "ranks deviate by"]
    body = [[escape(str(r.metric)), escape(str(r.workload)), escape(str(r.lengths)), str(r.n), number(r.span_h),
             _percent(r.per_hour), f"[{_percent(r.ci95_low)}, {_percent(r.ci95_high)}]", number(r.p),
             _percent(r.over_sweep), _percent(r.rank_deviation)] for r in study.drift.itertuples()]
    return ("<p class=note>The baseline and its duplicate did the same work all through the sweep: what their times did "
            "against the clock is drift of the machines.</p>" + page.table(head, body, numeric=range(3, 10)))


def _percent(value):
    value = pd.to_numeric(value, errors="coerce")
    return f"{100 * value:.2f} %" if np.isfinite(value) else "–"


def _not_counted(study):
    index = study.run_index[study.run_index["status"] != "ok"]
    body = [[page.badge(r.status)] + [escape(str(v)) for v in (r.config, r.workload, r.lengths, r.repeat, r.error)]
            for r in index.itertuples()]
    problems = "".join(f"<li>{escape(problem)}</li>" for problem in study.problems)
    text = page.table(["status", "config", "workload", "lengths", "repeat", "reason"], body) if body else \
        "<p>None: every planned run is there and counts.</p>"
    return text + (f"<p>Could not be read:</p><ul>{problems}</ul>" if problems else "")


def _refusals(study):
    refusals = [r for r in study.plan.get("refusals", []) if isinstance(r, dict)]
    if not refusals:
        return "<p>None: every combination of the study makes sense.</p>"
    columns = ["config", "workload", "lengths", "reason"]
    return page.table(columns, [[escape(str(r.get(c, ""))) for c in columns] for r in refusals])


def _cost(study):
    totals = study.totals
    lines = [("busy", "total_busy_s"), ("predicted", "total_predicted_s")]
    text = ", ".join(f"{label} {number(totals[key])} s" for label, key in lines if key in totals)
    head = ["rank", "runs", "busy [s]", "predicted [s]", "span [s]"]
    body = [[str(r.rank), str(r.runs), number(r.busy_s), number(r.predicted_s), number(r.span_s)]
            for r in study.cost.itertuples()]
    return f"<p>All ranks: {text or 'nothing ran'}.</p>" + (page.table(head, body, numeric=range(5)) if body else "")


def _provenance(study):
    body = []
    for name in PROVENANCE:
        if name in study.runs:
            values = [str(v) for v in dict.fromkeys(study.runs[name].dropna()) if str(v)]
            if values:
                more = f" and {len(values) - 5} more" if len(values) > 5 else ""
                body.append([escape(name), escape(", ".join(values[:5]) + more)])
    for section, value in study.environment.items():
        text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
        body.append([f"environment: {escape(section)}", escape(text)])
    return page.table(["what", "value"], body) if body else "<p>No run left its provenance.</p>"
