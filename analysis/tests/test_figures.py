"""Pieces of the figures whose result a person can check."""

import made_up_study as made
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from scipy import stats

from qsweep_analysis import load
from qsweep_analysis.figures import latency, layers, panels, quality, style


@pytest.mark.parametrize("value, text", [(8.36712, "8.367"), (0, "0"), (1234567.0, "1.235e+06"), (0.00012345, "0.0001234"),
                                         (np.nan, "–"), (12345.6, "12\u202f346"), (-0.5, "-0.5000")])
def test_numbers(value, text):
    assert style.number(value) == text


def test_units_are_scaled():
    assert style.scale_of([3 * 2**30, 2**20], "byte") == (2.0**-30, "GiB")
    assert style.scale_of([12.0], "ms") == (1, "ms")
    assert style.scale_of([np.nan], "byte") == (1, "byte")


def test_spread_keeps_order_and_gap_and_moves_little():
    positions = np.array([1.0, 1.01, 1.02, 5.0])
    out = style.spread(positions, 0.5)
    assert np.all(np.diff(out) >= 0.5 - 1e-12)
    assert out[3] == 5.0
    assert np.mean(out[:3]) == pytest.approx(np.mean(positions[:3]))


@pytest.mark.parametrize("seed", range(20))
def test_spread_never_overlaps(seed):
    positions = np.random.default_rng(seed).random(15)
    out = style.spread(positions, 0.05)
    assert np.all(np.diff(out[np.argsort(positions, kind="stable")]) >= 0.05 - 1e-9)


def test_configs_are_told_apart():
    configs = [f"C{i}" for i in range(24)]
    looks = style.colour_of(configs)
    assert len({(c, str(l)) for c, l in looks.values()}) == len(configs)
    colours = [np.array(to_rgb(c)) for c in style.COLOURS]
    # Viénot, Brettel and Mollon 1999: deuteranopes see red and green alike; what is left must still differ.
    seen = [np.array([0.29 * c[0] + 0.71 * c[1], 0.29 * c[0] + 0.71 * c[1], c[2]]) for c in colours]
    for i, one in enumerate(seen):
        for other in seen[:i]:
            assert np.abs(one - other).max() > 0.08


def test_lengths_sort_by_number():
    rows = pd.DataFrame({"workload": "profile", "lengths": ["p1024_o64", "p128_o64", "p32_o64"]})
    assert [cell[1] for cell in panels.cells_of(rows)] == ["p32_o64", "p128_o64", "p1024_o64"]


def test_many_cells_are_thinned_and_the_caption_says_so():
    rows = pd.DataFrame({"workload": "profile", "lengths": [f"p{2 * i}_o64" for i in range(40)]})
    cells = panels.cells_of(rows)
    assert len(cells) == panels.MAX_PANELS and (cells[0][1], cells[-1][1]) == ("p0_o64", "p78_o64")
    assert "12 of 40 cells" in panels.thinned(rows) and panels.thinned(rows[:12]) == ""


def test_thinning_keeps_the_spike():
    y = np.ones(100_000)
    y[54_321] = 99
    x, thin = latency._thinned(np.arange(len(y)), y)
    assert len(thin) == latency.MAX_POINTS and thin.max() == 99 and 54_321 in x


def test_roles_of_linears():
    assert layers._role("model.layers.3.mlp.down_proj.weight") == "mlp.down_proj"
    assert layers._role("lm_head") == "lm_head"
    assert layers._role("backbone.layers.11.mixer.in_proj") == "mixer.in_proj"


def test_paired_interval_agrees_with_student_and_ignores_the_windows_spread():
    """n = 400 normal differences: the bootstrap's half width is Student's to within 10 % (its own relative error is
    about sqrt(2 / RESAMPLES) = 3 % in each tail, the sample's third moment gives the rest)."""
    values = np.random.default_rng(3).normal(0.1, 0.5, 400)
    mean, low, high = quality._weighted_interval(values, np.full(400, 512.0))
    half = stats.t.ppf(0.975, 399) * values.std(ddof=1) / 20
    assert mean == pytest.approx(values.mean())
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)


def test_weights_count(tmp_path):
    mean, low, high = quality._weighted_interval(np.array([0.0, 1.0]), np.array([1.0, 3.0]))
    assert mean == 0.75 and low == 0.0 and high == 1.0


def test_labels_of_points_do_not_overlap(tmp_path):
    study = load(made.make_study(tmp_path, made.Shape(lengths=("p32_o64",))))
    canvas = quality.quality_against_bytes(study)[0].canvas
    canvas.draw_without_rendering()
    boxes = [text.get_window_extent() for text in canvas.axes[0].texts]
    assert len(boxes) == len(made.CONFIGS)
    for i, one in enumerate(boxes):
        for other in boxes[:i]:
            assert not one.padded(-1).overlaps(other.padded(-1))


def test_panel_shows_every_config_once_and_its_value(tmp_path):
    study = load(made.make_study(tmp_path, made.Shape(lengths=("p32_o64",))))
    axis = panels.tpot(study)[0].canvas.axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == list(made.CONFIGS)
    means = study.rows("profile.tpot_ms").set_index("config")["mean"]
    assert [t.get_text() for t in axis.texts] == [style.number(means[c]) for c in made.CONFIGS]
    assert "[ms]" in axis.get_xlabel()
