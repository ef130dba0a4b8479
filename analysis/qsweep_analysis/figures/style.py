"""What all figures share: colours, number formats, how a figure is saved.

Colours: Okabe and Ito's palette (jfly.uni-koeln.de/color), told apart with every common colour blindness; past
eight configs the line style changes too, and every line and point bears its name.
"""

import io
import re
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.figure import Figure as Canvas

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F")
LINES = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))
GREY = "#6b6b6b"
BAND = "#d9d9d9"
DPI = 130
BINARY = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))

RC = {
    "font.size": 9, "font.family": "DejaVu Sans", "axes.titlesize": 9.5, "axes.labelsize": 9,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True,
    "grid.color": "#ececec", "grid.linewidth": 0.8, "svg.hashsalt": "qsweep", "svg.fonttype": "none",
    "axes.formatter.useoffset": False, "figure.facecolor": "white",
}


@dataclass
class Figure:
    """A drawn figure: file name without suffix, heading, what the reader sees, the canvas."""
    name: str
    title: str
    caption: str
    canvas: Canvas

    def svg(self):
        return self._bytes("svg", {"Date": None})

    def png(self):
        return self._bytes("png", {"Software": None})

    def _bytes(self, kind, metadata):
        out = io.BytesIO()
        with matplotlib.rc_context(RC):
            self.canvas.savefig(out, format=kind, dpi=DPI, metadata=metadata)
        return out.getvalue()


def canvas(width, height, **layout):
    """An empty canvas, `width` x `height` inches; the caller draws inside `rc_context(RC)`."""
    return Canvas(figsize=(width, height), layout="constrained", **layout)


def plain(text, limit=40):
    """Text as a label: no mathtext, no control characters, bounded."""
    text = re.sub(r"[\x00-\x1f\x7f]", " ", str(text)).replace("$", r"\$")
    return text if len(text) <= limit else text[:limit - 1] + "…"


def colour_of(configs):
    """config -> (colour, line style), by its place in the study."""
    return {config: (COLOURS[i % len(COLOURS)], LINES[i // len(COLOURS) % len(LINES)])
            for i, config in enumerate(configs)}


def scale_of(values, units):
    """(factor, unit) that make `values` readable: bytes in binary multiples, rates in powers of 1000."""
    finite = np.abs([v for v in values if np.isfinite(v)])
    largest = finite.max() if len(finite) else 0
    if units == "byte":
        return next(((1 / size, name) for size, name in BINARY if largest >= size), (1, "byte"))
    if units == "ms" and largest >= 10_000:
        return 1e-3, "s"
    if units == "ms" and 0 < largest < 0.1:
        return 1e3, "µs"
    return 1, {"1": ""}.get(units, units)


def number(value, digits=4):
    """A number for a person: `digits` significant ones, no exponent in the usual range."""
    if value is None or not np.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    if 1e-4 <= abs(value) < 1e6:
        decimals = max(0, digits - 1 - int(np.floor(np.log10(abs(value)))))
        return f"{value:,.{min(decimals, 8)}f}".replace(",", "\u202f")
    return f"{value:.{digits - 1}e}"


def spread(positions, gap):
    """Moves sorted-by-value label positions apart until neighbours are `gap` apart, moving them as little as
    possible in the mean: overlapping labels are merged into clusters centred on what they label."""
    order = np.argsort(positions, kind="stable")
    clusters = []
    for index in order:
        clusters.append([[index], positions[index]])
        while len(clusters) > 1:
            (below, low), (above, high) = clusters[-2:]
            if high - low >= gap * (len(below) + len(above)) / 2:
                break
            merged = below + above
            clusters[-2:] = [[merged, float(np.mean([positions[i] for i in merged]))]]
    out = np.empty(len(positions))
    for members, centre in clusters:
        for place, index in enumerate(members):
            out[index] = centre + gap * (place - (len(members) - 1) / 2)
    return out
