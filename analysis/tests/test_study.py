"""Loading: values come back as written; damaged, hostile and missing files are named and left out."""

import h5py
import made_up_study as made
import numpy as np
import pytest

from qsweep_analysis import AnalysisError, load

SMALL = dict(configs=("C0", "C1_fp8"), lengths=("p32_o64",), repeats=2, tokens=8, blocks=2, windows=4)


@pytest.fixture
def folder(tmp_path):
    return made.make_study(tmp_path, made.Shape(**SMALL))


def test_tables_samples_and_metrics(folder):
    study = load(folder)
    assert (study.name, study.model, study.baseline) == ("made_up", "some/model", "C0")
    assert study.configs == ["C0", "C1_fp8"]
    assert len(study.runs) == 8 and set(study.runs["host"]) == {"node1"}
    latency = study.samples("token_latency_ms")
    assert len(latency) == 2 * 2 * 8
    assert list(latency.columns) == ["config", "workload", "lengths", "repeat", "index", "token_latency_ms"]
    with h5py.File(folder / "results/C1_fp8/profile/p32_o64/r1.h5") as file:
        expected = file["samples/token_latency_ms"][:]
        tpot = file["metrics/profile.tpot_ms"][()]
    own = latency[(latency["config"] == "C1_fp8") & (latency["repeat"] == 1)]
    np.testing.assert_array_equal(own["token_latency_ms"], expected)
    metric = study.metrics.query("config == 'C1_fp8' and repeat == 1 and metric == 'profile.tpot_ms'")
    assert metric["value"].tolist() == [tpot] and metric["units"].tolist() == ["ms"]
    assert len(study.samples("window_nll", "window_tokens")) == 2 * 2 * 4
    assert study.problems == []


def test_rows_take_the_interval_over_items_where_there_is_one(folder):
    study = load(folder)
    nll = study.rows("perplexity.nll").iloc[0]
    assert (nll["low"], nll["high"]) == (nll["item_ci95_low"], nll["item_ci95_high"])
    tpot = study.rows("profile.tpot_ms").iloc[0]
    assert (tpot["low"], tpot["high"]) == (tpot["ci95_low"], tpot["ci95_high"])


def test_external_links_of_sweep_reach_the_runs(folder):
    with h5py.File(folder / "sweep.h5") as file:
        assert file["runs/C0/profile/p32_o64/r0/metrics/profile.tpot_ms"][()] > 0


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "gone"])
def test_damaged_run_is_named_and_left_out(folder, damage):
    path = folder / "results/C0/profile/p32_o64/r0.h5"
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes({"cut": content[:-100], "flip": content, "empty": b""}[damage])
    study = load(folder)
    assert len(study.runs) == 7
    assert len(study.samples("token_latency_ms")) == 3 * 8
    assert len(study.problems) == (0 if damage == "gone" else 1)
    assert damage == "gone" or "r0.h5" in study.problems[0]


def test_path_that_leaves_the_run_folder_is_not_followed(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "r0.h5"
    (folder / "results/C0/profile/p32_o64/r0.h5").rename(outside)
    with h5py.File(folder / "sweep.h5", "r+") as file:
        file["run_index/path"][0] = str(outside)
        file["run_index/path"][1] = "../" * 20 + str(outside)
    assert len(load(folder).runs) == 6


def test_values_outside_the_file_are_refused(folder, tmp_path_factory):
    secret = tmp_path_factory.mktemp("outside") / "secret"
    secret.write_bytes(bytes(800))
    with h5py.File(folder / "sweep.h5", "r+") as file:
        del file["cost/busy_s"]
        file.create_dataset("cost/busy_s", shape=(1,), dtype="f8", external=[(str(secret), 0, 800)])
    with pytest.raises(AnalysisError, match="cost/busy_s"):
        load(folder)


def test_declared_size_is_not_believed(folder):
    with h5py.File(folder / "sweep.h5", "r+") as file:
        file.create_dataset("cost/huge", shape=(1 << 40,), dtype="f8", chunks=(1 << 20,))
    with pytest.raises(AnalysisError, match="values"):
        load(folder)


def test_columns_of_different_length_are_refused(folder):
    with h5py.File(folder / "sweep.h5", "r+") as file:
        file.create_dataset("claims/extra", data=np.zeros(7))
    with pytest.raises(AnalysisError, match="differ in length"):
        load(folder)


def test_missing_tables_and_columns_are_empty(folder):
    with h5py.File(folder / "sweep.h5", "r+") as file:
        del file["claims"], file["noise_floor"], file["run_index/seconds"]
    study = load(folder)
    assert study.claims.empty and study.floor("profile.tpot_ms", "profile", "p32_o64") is None
    assert study.run_index["seconds"].isna().all()


def test_no_sweep_file_and_no_hdf5_file(tmp_path):
    with pytest.raises(AnalysisError, match="no sweep.h5"):
        load(tmp_path)
    (tmp_path / "sweep.h5").write_text("no HDF5")
    with pytest.raises(AnalysisError, match="sweep.h5"):
        load(tmp_path)
