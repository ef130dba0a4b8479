"""The figures of a report. Each is a function Study -> list of Figure, one row in FIGURES; an empty list where the
study holds nothing to draw."""

from . import latency, layers, panels, quality

FIGURES = (panels.ttft, panels.tpot, panels.throughput, panels.memory, latency.per_token, panels.perplexity,
           quality.paired_difference, panels.divergence, quality.quality_against_bytes, layers.error_by_layer, panels.synthetic)


def draw_all(study):
    """Figures in report order."""
    return [figure for draw in FIGURES for figure in draw(study)]
