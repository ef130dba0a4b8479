"""One metric by config: a dot and its 95 % interval a config, a panel a cell. Configs are rows and so never collide,
however many there are; the value stands beside its dot. The baseline is a line, its A/A noise floor a grey band."""

import numpy as np
import pandas as pd
from matplotlib import rc_context

from . import style

MAX_COLUMNS = 3
MAX_PANELS = 12  # of a figure: beyond, cells spread evenly from first to last stand for all
PANEL_WIDTH, ROW_HEIGHT = 3.3, 0.235  # inches


def ttft(study):
    return metric_figure(study, "profile.ttft_ms", "ttft", "Time to first token")


def tpot(study):
    return metric_figure(study, "profile.tpot_ms", "tpot", "Time per output token")


def throughput(study):
    return (metric_figure(study, "profile.decode_tokens_per_s", "throughput_decode", "Decode throughput") +
            metric_figure(study, "profile.prefill_tokens_per_s", "throughput_prefill", "Prefill throughput"))


def perplexity(study):
    return (metric_figure(study, "perplexity.ppl", "perplexity", "Perplexity") +
            metric_figure(study, "perplexity.nll", "nll", "Negative log-likelihood"))


def divergence(study):
    return metric_figure(study, "perplexity.kl", "kl", "KL divergence from the baseline")


def synthetic(study):
    return metric_figure(study, "synthetic.value", "synthetic_value", "Synthetic value")


MEMORY = (("profile.prefill_peak_bytes", "prefill peak", "o"), ("profile.decode_peak_bytes", "decode peak", "s"),
          ("profile.weight_bytes", "weights", "D"), ("profile.state_bytes", "cache or state", "^"))


def metric_figure(study, metric, name, title):
    """[Figure] of one metric, or [] where no config has a value."""
    rows = study.rows(metric)
    rows = rows[np.isfinite(rows["mean"])]
    if rows.empty:
        return []
    counts = sorted(set(pd.to_numeric(rows["n"], errors="coerce").dropna().astype(int)))
    floor = lambda workload, lengths: study.floor(metric, workload, lengths)  # noqa: E731
    canvas = draw(study, rows, title, rows["units"].iloc[0], floor)
    return [style.Figure(name, title, _caption(rows, counts, study), canvas)]


def draw(study, rows, title, units, floor):
    """A canvas of `rows` (config, workload, lengths, mean, low, high); `floor(workload, lengths)` is relative."""
    cells = cells_of(rows)
    configs = [c for c in study.configs if c in set(rows["config"])]
    factor, unit = style.scale_of(rows["mean"], units)
    with rc_context(style.RC):
        canvas, axes = _grid(len(cells), len(configs))
        for axis, (workload, lengths) in zip(axes, cells):
            cell = rows[(rows["workload"] == workload) & (rows["lengths"] == lengths)]
            _dots(axis, study, cell, configs, factor, floor(workload, lengths))
            _finish(axis, configs, f"{workload} {lengths}", _axis_label(title, unit))
    return canvas


def memory(study):
    """Peaks and what is resident, in one panel a cell."""
    series = [(study.rows(metric), label, marker) for metric, label, marker in MEMORY]
    series = [(rows[np.isfinite(rows["mean"])], label, marker) for rows, label, marker in series]
    series = [entry for entry in series if not entry[0].empty]
    if not series:
        return []
    everything = pd.concat([rows for rows, _, _ in series])
    cells = cells_of(everything)
    configs = [c for c in study.configs if c in set(everything["config"])]
    factor, unit = style.scale_of(everything["mean"], "byte")
    with rc_context(style.RC):
        canvas, axes = _grid(len(cells), len(configs), extra=0.35)
        for axis, (workload, lengths) in zip(axes, cells):
            for index, (rows, label, marker) in enumerate(series):
                cell = rows[(rows["workload"] == workload) & (rows["lengths"] == lengths)]
                axis.plot(cell["mean"] * factor, [configs.index(c) for c in cell["config"]], marker, label=label,
                          color=style.COLOURS[index], markersize=5, alpha=0.9, markerfacecolor="none",
                          markeredgewidth=1.4)
            axis.set_xlim(left=0)
            _finish(axis, configs, f"{workload} {lengths}", _axis_label("memory", unit))
        canvas.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(series),
                      frameon=False)
    caption = ("Peak memory of prefill and of decode, and what of it is weights and cache (or state). "
               f"Means over repeats.{thinned(everything)}")
    return [style.Figure("memory", "Memory", caption, canvas)]


def cells_of(rows, most=MAX_PANELS):
    """(workload, lengths) of the panels in order of length: all, or `most` spread evenly from first to last."""
    cells = sorted(set(zip(rows["workload"], rows["lengths"])), key=lambda cell: (cell[0], _numbers_in(cell[1])))
    if len(cells) <= most:
        return cells
    return [cells[i] for i in np.unique(np.linspace(0, len(cells) - 1, most).astype(int))]


def _numbers_in(text):
    """Sort key: p128_o64 before p1024_o64."""
    digits = "".join(c if c.isdigit() else " " for c in text).split()
    return [int(d) for d in digits], text


def _grid(panels, configs, extra=0.0):
    columns = min(panels, MAX_COLUMNS)
    lines = -(-panels // columns)
    height = lines * (0.95 + ROW_HEIGHT * max(configs, 3)) + extra
    canvas = style.canvas(1.4 + PANEL_WIDTH * columns, height)
    grid = canvas.subplots(lines, columns, squeeze=False, sharey=True)
    for unused in grid.flat[panels:]:
        unused.set_visible(False)
    return canvas, list(grid.flat[:panels])


def _dots(axis, study, cell, configs, factor, floor):
    colours = style.colour_of(study.configs)
    base = cell[cell["config"] == study.baseline]["mean"]
    if len(base) and floor is not None:
        centre = float(base.iloc[0]) * factor
        axis.axvspan(centre * (1 - floor), centre * (1 + floor), color=style.BAND, lw=0, zorder=0.5)
    if len(base):
        axis.axvline(float(base.iloc[0]) * factor, color=style.GREY, lw=0.9, zorder=1)
    for row in cell.itertuples():
        y, colour = configs.index(row.config), colours[row.config][0]
        low, high = row.low * factor, row.high * factor
        if np.isfinite(low) and np.isfinite(high):
            axis.plot([low, high], [y, y], color=colour, lw=1.8, solid_capstyle="butt", zorder=2)
            axis.plot([low, high], [y, y], "|", color=colour, markersize=6, markeredgewidth=1.3, zorder=2)
        axis.plot([row.mean * factor], [y], "o", color=colour, markersize=4.5, zorder=3)
    # Values stand in a column of their own at the right edge, where no interval can cover them.
    for row in cell.itertuples():
        axis.annotate(style.number(row.mean * factor), (1.015, configs.index(row.config)), xycoords=("axes fraction", "data"),
                      va="center", ha="left", fontsize=8, color="#333333")


def _finish(axis, configs, title, label):
    axis.set_yticks(range(len(configs)), [style.plain(c, 24) for c in configs])
    axis.set_ylim(len(configs) - 0.4, -0.6)
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    axis.locator_params(axis="x", nbins=4)
    axis.set_title(style.plain(title), loc="left")
    axis.set_xlabel(label)


def _axis_label(title, unit):
    lower = title if title[:2].isupper() else title[0].lower() + title[1:]
    return f"{lower} [{unit or '1'}]"


def _caption(rows, counts, study):
    over_items = rows["item_ci95_low"].notna().any()
    spread = ("95 % bootstrap interval over items (documents or windows); every repeat gives the same bits"
              if over_items else f"mean and Student-t 95 % interval over n = {', '.join(map(str, counts))} repeats")
    if not over_items and not rows["low"].notna().any():
        spread = "one value a config: no interval"
    better = str(rows["better"].iloc[0])
    direction = f" {better.capitalize()} is better." if better in ("lower", "higher") else ""
    base = f" Line: baseline {study.baseline}; grey band: its A/A noise floor." if study.baseline else ""
    return f"{spread[0].upper()}{spread[1:]}.{direction}{base}{thinned(rows)}"


def thinned(rows, most=MAX_PANELS):
    """What a caption says where not every cell has a panel."""
    cells = len(set(zip(rows["workload"], rows["lengths"])))
    return f" {most} of {cells} cells are shown; the tables have all." if cells > most else ""
