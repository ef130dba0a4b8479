"""Quality against bytes: how many weight bytes a config holds and what its negative log-likelihood is."""

import numpy as np
import pandas as pd
from matplotlib import rc_context

from . import panels, style

BYTES, QUALITY = "profile.weight_bytes", "perplexity.nll"
RESAMPLES = 2000
MAX_PANELS = 4


def paired_difference(study):
    """Difference of the negative log-likelihood from the baseline's, window by window: the windows' own spread, which
    all configs share, drops out, and what is left is the config's doing."""
    samples = study.samples("window_nll", "window_tokens")
    samples = samples.drop_duplicates(["config", "workload", "lengths", "index"])  # repeats give the same bits
    base = samples[samples["config"] == study.baseline]
    if base.empty or samples["config"].nunique() < 2:
        return []
    cell = ["config", "workload", "lengths"]
    both = samples.merge(base, on=["workload", "lengths", "index"], suffixes=("", "_base"))
    windows = samples.groupby(cell).size()  # where the baseline has other windows, nothing pairs
    rows = [(*key, *_weighted_interval((own["window_nll"] - own["window_nll_base"]).to_numpy(float),
                                       own["window_tokens"].to_numpy(float)))
            for key, own in both.groupby(cell, sort=False) if len(own) == windows[key]]
    rows = pd.DataFrame(rows, columns=["config", "workload", "lengths", "mean", "low", "high"])
    rows = rows[np.isfinite(rows["mean"])]
    if rows.empty:
        return []
    title = "NLL above the baseline"
    canvas = panels.draw(study, rows, title, "nat/token", lambda workload, lengths: None)
    caption = (f"Mean over tokens of the difference from {study.baseline} on the same windows, with its 95 % paired bootstrap "
               "interval over windows. Lower is better; an interval that excludes 0 shows a difference.")
    return [style.Figure("nll_difference", title, caption, canvas)]


def _weighted_interval(values, weights):
    """Weighted mean of values[n] and its 95 % percentile-bootstrap interval, from a fixed seed."""
    if len(values) == 0 or weights.sum() <= 0:
        return (np.nan,) * 3
    mean = np.average(values, weights=weights)
    if len(values) < 2:
        return mean, np.nan, np.nan
    draws = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    means = (values * weights)[draws].sum(axis=1) / weights[draws].sum(axis=1)
    return mean, *np.percentile(means, [2.5, 97.5])


def quality_against_bytes(study):
    """A point a config and perplexity cell, with its name; lower left is better."""
    weight = study.rows(BYTES).groupby("config")["mean"].first()
    rows = study.rows(QUALITY)
    rows = rows[rows["config"].isin(weight.index) & np.isfinite(rows["mean"])]
    if rows.empty or rows["config"].nunique() < 2:
        return []
    cells = panels.cells_of(rows, MAX_PANELS)
    colours = style.colour_of(study.configs)
    factor, unit = style.scale_of(weight, "byte")
    with rc_context(style.RC):
        canvas = style.canvas(7.5, 4.6 * len(cells))
        axes = canvas.subplots(len(cells), 1, squeeze=False)[:, 0]
        for axis, (workload, lengths) in zip(axes, cells):
            cell = rows[(rows["workload"] == workload) & (rows["lengths"] == lengths)]
            x = weight[cell["config"]].to_numpy() * factor
            for row, at in zip(cell.itertuples(), x):
                colour = colours[row.config][0]
                if np.isfinite(row.low) and np.isfinite(row.high):
                    axis.plot([at, at], [row.low, row.high], color=colour, lw=0.9, alpha=0.35, zorder=1)
                axis.plot([at], [row.mean], "o", color=colour, markersize=6, zorder=3)
            _limits(axis, study, cell, workload, lengths, x)
            axis.set_xlabel(f"resident weight bytes [{unit}]")
            axis.set_ylabel("negative log-likelihood [nat/token]")
            axis.set_title(style.plain(f"{workload} {lengths}"), loc="left")
        canvas.draw_without_rendering()  # the layout must be known before labels can avoid each other
        for axis, (workload, lengths) in zip(axes, cells):
            cell = rows[(rows["workload"] == workload) & (rows["lengths"] == lengths)]
            points = np.column_stack([weight[cell["config"]].to_numpy() * factor, cell["mean"].to_numpy()])
            _label(axis, points, list(cell["config"]), colours)
    caption = ("Lower left is better. Vertical lines: 95 % bootstrap interval over windows, cut at the axis; they move "
               "together, since all configs score the same windows, so compare configs by their paired claims. Grey "
               "line and band: the baseline and its A/A noise floor." + panels.thinned(rows, MAX_PANELS))
    return [style.Figure("quality_bytes", "Quality against bytes", caption, canvas)]


def _limits(axis, study, cell, workload, lengths, x):
    """The means fill the axis, not the intervals: all configs share their windows' spread, which says nothing of
    their differences."""
    low, high = cell["mean"].min(), cell["mean"].max()
    room = 0.14 * (high - low) or 0.01 * max(abs(high), 1e-12)
    axis.set_ylim(low - room, high + room)
    width = x.max() - x.min()
    axis.set_xlim(x.min() - 0.12 * (width or x.max()), x.max() + 0.28 * (width or x.max()))
    base = pd.to_numeric(cell[cell["config"] == study.baseline]["mean"], errors="coerce")
    if len(base):
        centre, floor = float(base.iloc[0]), study.floor(QUALITY, workload, lengths)
        if floor is not None:
            axis.axhspan(centre * (1 - floor), centre * (1 + floor), color=style.BAND, lw=0, zorder=0)
        axis.axhline(centre, color=style.GREY, lw=0.8, zorder=0.6)


def _label(axis, points, names, colours):
    """Names beside their points: the first of a ring of places that covers no point and no other name."""
    to_pixels = axis.transData.transform(points)
    scale = axis.figure.dpi / 72
    taken = [(x - 5 * scale, y - 5 * scale, x + 5 * scale, y + 5 * scale) for x, y in to_pixels]
    box = axis.get_window_extent()
    for (x, y), name in sorted(zip(to_pixels, names), key=lambda entry: -entry[0][1]):
        text = style.plain(name, 24)
        size = (5.4 * scale * len(text) + 4 * scale, 11 * scale)
        places = [_place(x, y, size, angle, radius * scale) for radius in (9, 18, 28, 40, 54, 70, 90)
                  for angle in (0, 20, -20, 45, -45, 180, 160, 200, 90, -90, 135, -135)]
        inside = [p for p in places if box.x0 <= p[0] and p[2] <= box.x1 and box.y0 <= p[1] and p[3] <= box.y1]
        best = min(inside or places[:1], key=lambda place: sum(_overlap(place, other) for other in taken))
        taken.append(best)
        middle = ((best[0] + best[2]) / 2 - x, (best[1] + best[3]) / 2 - y)
        far = np.hypot(max(best[0] - x, x - best[2], 0), max(best[1] - y, y - best[3], 0)) > 12 * scale
        arrow = {"arrowstyle": "-", "color": style.GREY, "lw": 0.6} if far else None
        axis.annotate(text, axis.transData.inverted().transform((x, y)), xytext=np.array(middle) / scale,
                      textcoords="offset points", ha="center", va="center", fontsize=8, color=colours[name][0],
                      arrowprops=arrow)


def _place(x, y, size, angle, radius):
    """Box of a label of `size` whose nearest edge is `radius` from (x, y) in the direction `angle` [degree]."""
    dx, dy = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    cx = x + dx * radius + np.sign(round(dx, 6)) * size[0] / 2
    cy = y + dy * radius + (np.sign(round(dy, 6)) * size[1] / 2 if abs(dy) > 0.3 else 0)
    return cx - size[0] / 2, cy - size[1] / 2, cx + size[0] / 2, cy + size[1] / 2


def _overlap(a, b):
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
