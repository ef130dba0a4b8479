"""h5py reads what the C++ writer wrote: every value, unit, dimension scale. The values are those of
tests/unit/record/example_record.hpp, computed here anew."""

import math
import os
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest

from qsweep_analysis import tables


def program():
    """The C++ test program that writes the example, or None."""
    stated = os.environ.get("QSWEEP_TEST_RECORD")
    beside = Path(os.environ.get("QSWEEP_BIN", "/nowhere/bin/qsweep")).parent.parent / "tests" / "test_record"
    path = Path(stated) if stated else beside
    return path if path.is_file() else None


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    if program() is None:
        pytest.skip("no test_record program (QSWEEP_BIN names no build with tests): what C++ writes is not cross-read")
    path = tmp_path_factory.mktemp("cross") / "example.h5"
    subprocess.run([str(program()), "--gtest_filter=Record.ExampleForOtherReaders"], check=True, capture_output=True,
                   env={**os.environ, "QSWEEP_EXAMPLE_RECORD": str(path)}, timeout=120)
    return path


def test_h5py_opens_it_without_help(example):
    with h5py.File(example, "r") as file:
        assert set(file) == {"metrics", "samples", "layers", "certificate"}
        assert file.attrs["schema_version"] == 1
        assert file.attrs["run_id"].startswith("run_id €")


def test_every_dataset_has_units_name_and_scale(example):
    with h5py.File(example, "r") as file:
        seen = []

        def look(name, item):
            if isinstance(item, h5py.Dataset):
                seen.append(name)
                assert item.attrs["units"] and item.attrs["long_name"], name
                if item.ndim and not item.is_scale:
                    assert len(item.dims[0]) == 1, name
                    assert item.dims[0][0].shape == item.shape, name
                    assert item.dims[0].label == item.dims[0][0].name.rsplit("/", 1)[1], name

        file.visititems(look)
        assert len(seen) > 50
        assert file["samples/token_latency_ms"].compression == "gzip"


def test_values_are_those_of_the_writer(example):
    with tables.open_run(example) as file:
        latency = tables.values_of(file["samples/token_latency_ms"])
        salt = round(tables.values_of(file["samples/output_ids"])[0] / 1000) - 1  # output_ids follows in the schema
        np.testing.assert_allclose(latency, [math.sin(salt * 1000 + i) for i in range(600)], rtol=0, atol=1e-15)
        tensors = tables.values_of(file["layers/tensor"])
        assert all(t == f"text é {int(t.split()[-1])}" for t in tensors) and len(set(tensors)) == 7
        assert math.isnan(tables.values_of(file["metrics/profile.energy_j"]))


def test_seal_of_the_writer_is_the_one_that_is_checked_here(example, tmp_path):
    content = bytearray(example.read_bytes())
    content[100] ^= 1
    (tmp_path / "bent.h5").write_bytes(content)
    with pytest.raises(tables.AnalysisError, match="seal"):
        tables.open_run(tmp_path / "bent.h5")
