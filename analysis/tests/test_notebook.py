"""Every code cell of the tour runs, on a full study and on one that times nothing."""

import json
from pathlib import Path

import made_up_study as made
import pytest

NOTEBOOK = Path(__file__).resolve().parents[1] / "notebooks" / "tour.ipynb"
SMALL = dict(configs=("C0", "C1_fp8"), repeats=2, tokens=8, blocks=2, windows=4)


@pytest.mark.parametrize("shape", [made.Shape(**SMALL), made.Shape(**SMALL, profile=False, perplexity=False, synthetic=True)],
                         ids=["full", "synthetic"])
def test_tour_runs(tmp_path, monkeypatch, shape):
    monkeypatch.setenv("RUN_DIR", str(made.make_study(tmp_path, shape)))
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert len(cells) >= 5
    names = {}
    for number, cell in enumerate(cells):
        assert not cell["outputs"], "the notebook is kept without outputs"
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
    assert names["study"].name == "made_up"
