"""Every token's latency: a line a config, a panel a cell. The first token (TTFT) is of another size and left out."""

import numpy as np
from matplotlib import rc_context

from . import panels, style

MAX_POINTS = 4000  # of a line: beyond, it is thinned by taking the largest of each bin, so that no spike is lost
MAX_PANELS = 6
TOP = 95.0         # percentile that stays inside the axis
NAMES_WIDTH = 0.16  # of the figure: room for the names at the lines' ends


def per_token(study):
    samples = study.samples("token_latency_ms")
    samples = samples[samples["index"] > 0]
    if samples.empty:
        return []
    cells = panels.cells_of(samples, MAX_PANELS)
    colours = style.colour_of(study.configs)
    with rc_context(style.RC):
        canvas = style.canvas(9.5, 0.4 + 3.1 * len(cells))
        canvas.get_layout_engine().set(rect=(0, 0, 1 - NAMES_WIDTH, 1))
        axes = canvas.subplots(len(cells), 1, squeeze=False)[:, 0]
        for axis, (workload, lengths) in zip(axes, cells):
            cell = samples[(samples["workload"] == workload) & (samples["lengths"] == lengths)]
            _panel(axis, study, cell, colours)
            axis.set_title(style.plain(f"{workload} {lengths}"), loc="left")
    caption = ("Latency of every output token after the first, median over repeats at each token; names stand at the "
               "line's end in the order of the lines. Spikes above the axis are marked by a triangle at its upper edge." +
               panels.thinned(samples, MAX_PANELS))
    return [style.Figure("token_latency", "Latency of every token", caption, canvas)]


def _panel(axis, study, cell, colours):
    lines = {}
    for config in study.configs:
        own = cell[cell["config"] == config]
        if len(own):
            lines[config] = own.groupby("index")["token_latency_ms"].median()
    everything = np.concatenate([line.to_numpy() for line in lines.values()])
    last = max(line.index.max() for line in lines.values())
    top = 1.15 * max(np.percentile(line, TOP) for line in lines.values())
    bottom = max(0.0, everything.min() - 0.15 * (top - everything.min()))
    for config, line in lines.items():
        colour, dash = colours[config]
        x, y = _thinned(line.index.to_numpy(), line.to_numpy())
        axis.plot(x, y, color=colour, ls=dash, lw=1.1)
        over = y > top
        if over.any():  # an empty line that is not clipped would claim the whole canvas from the layout
            axis.plot(x[over], np.full(over.sum(), top), "^", color=colour, markersize=4, clip_on=False)
    axis.set_xlim(1, max(last, 2))
    axis.set_ylim(bottom, top)
    axis.set_xlabel("output token")
    axis.set_ylabel("latency [ms]")
    _names_at_the_end(axis, lines, colours, last)


def _thinned(x, y):
    if len(x) <= MAX_POINTS:
        return x, y
    edges = np.linspace(0, len(x), MAX_POINTS + 1).astype(int)
    keep = np.array([a + np.argmax(y[a:b]) for a, b in zip(edges[:-1], edges[1:])])
    return x[keep], y[keep]


def _names_at_the_end(axis, lines, colours, last):
    names = list(lines)
    bottom, top = axis.get_ylim()
    ends = np.array([min(float(np.median(lines[name].to_numpy()[-9:])), top) for name in names])
    gap = min(0.062, 1.0 / len(names)) * (top - bottom)
    for name, end, place in zip(names, ends, style.spread(ends, gap)):
        colour = colours[name][0]
        label = axis.annotate(style.plain(name, 24), xy=(last, end), xytext=(1.03, (place - bottom) / (top - bottom)),
                              textcoords="axes fraction", va="center", fontsize=8, color=colour, annotation_clip=False,
                              arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.6, "shrinkA": 1, "shrinkB": 0,
                                          "relpos": (0, 0.5)})
        label.set_in_layout(False)  # the layout keeps room for all names at once
