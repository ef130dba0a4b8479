"""A run folder as pandas tables: what the reducer wrote (sweep.h5) and what the runs left (results/**.h5)."""

import json
from functools import cached_property
from pathlib import Path

import h5py
import pandas as pd

from . import tables
from .errors import AnalysisError

AGGREGATE = ("config workload lengths kind metric units n mean sd ci95_low ci95_high min max median better item_n "
             "item_mean item_ci95_low item_ci95_high protocol_fingerprint").split()
CLAIMS = ("name kind metric configs verdict exploratory estimate ci_low ci_high margin p_support p_refute "
          "p_support_holm p_refute_holm smallest_detectable unit_of_estimate n test note").split()
NOISE_FLOOR = "metric lengths workload baseline_mean duplicate_mean relative_difference floor n".split()
DRIFT = "metric workload lengths n span_h per_hour ci95_low ci95_high p over_sweep rank_deviation".split()
COST = "rank runs busy_s predicted_s span_s".split()
RUN_INDEX = "id config workload lengths repeat status error path rank start end seconds".split()
KEYS = ["config", "workload", "lengths", "repeat"]
MAX_JSON_BYTES = 1 << 28


def load(run_dir):
    """The study in `run_dir`; AnalysisError where it has not been reduced."""
    return Study(run_dir)


class Study:
    """Tables are read once, at first use. `problems` lists what could not be read."""

    def __init__(self, run_dir):
        self.folder = Path(run_dir)
        self.problems = []
        path = self.folder / "sweep.h5"
        if not path.is_file():
            raise AnalysisError(f"no sweep.h5 in {self.folder} (the study has not been reduced) "
                                "run qsweep with --reduce-only and its --run-tag")
        with tables.open_file(path) as file:
            self.attributes = tables.attributes_of(file)
            self.aggregate = tables.read_table(file, "aggregate", AGGREGATE)
            self.claims = tables.read_table(file, "claims", CLAIMS)
            self.noise_floor = tables.read_table(file, "noise_floor", NOISE_FLOOR)
            self.drift = tables.read_table(file, "drift", DRIFT)
            self.cost = tables.read_table(file, "cost", COST)
            self.run_index = tables.read_table(file, "run_index", RUN_INDEX)
            cost = tables.local(file, "cost", h5py.Group)
            self.totals = tables.attributes_of(cost) if cost is not None else {}

    @property
    def name(self):
        return str(self.attributes.get("study", self.folder.parent.name))

    @property
    def model(self):
        return str(self.attributes.get("model", ""))

    @property
    def baseline(self):
        return str(self.attributes.get("baseline", ""))

    @cached_property
    def configs(self):
        """Config names in the order of the study."""
        stated = [str(config) for config in self.plan.get("configs", []) if isinstance(config, str)]
        seen = dict.fromkeys([*self.aggregate["config"], *self.run_index["config"]])
        return [c for c in stated if c in seen] + [c for c in seen if c not in stated]

    @cached_property
    def plan(self):
        return self._json("plan.json")

    @cached_property
    def environment(self):
        return self._json("env_info.json")

    def _json(self, name):
        path = self.folder / "manifests" / name
        if not path.is_file():
            return {}
        try:
            if path.stat().st_size > MAX_JSON_BYTES:
                raise ValueError("the file is too large")
            content = json.loads(path.read_text(encoding="utf-8"))
            return content if isinstance(content, dict) else {}
        except (OSError, ValueError) as error:
            self.problems.append(f"{path}: {error}")
            return {}

    def run_file(self, row):
        """Path of a run's file, or None: not written, or a path that leaves the run folder."""
        path = (self.folder / str(row.path)).resolve()
        return path if path.is_file() and path.is_relative_to(self.folder.resolve()) else None

    def _from_runs(self, read, wanted=lambda row: True):
        """`read(row of run_index, open file)` of every wanted run file; what cannot be read goes to `problems`."""
        results = []
        for row in self.run_index.itertuples():
            path = self.run_file(row) if wanted(row) else None
            if path is None:
                continue
            try:
                with tables.open_run(path) as file:
                    results.append(read(row, file))
            except AnalysisError as error:
                if str(error) not in self.problems:
                    self.problems.append(str(error))
        return results

    @cached_property
    def runs(self):
        """One row a run file: its root attributes."""
        rows = self._from_runs(lambda row, file: {**tables.attributes_of(file), **_keys(row)})
        return pd.DataFrame(rows, columns=None if rows else [*KEYS, "status"])

    @cached_property
    def metrics(self):
        """One row a run and metric."""
        rows = [metric for own in self._from_runs(_metrics) for metric in own]
        return pd.DataFrame(rows, columns=None if rows else [*KEYS, "status", "metric", "value", "units"])

    def samples(self, *names, group="samples", status="ok", one_per_config=False):
        """Raw samples in long form: config, workload, lengths, repeat, index, and a column a name. With
        `one_per_config`, of the first run of each config that has them: what no repeat changes, as `layers`."""
        seen = set()

        def read(row, file):
            holder = tables.local(file, group, h5py.Group)
            if holder is None or (status and row.status != status):
                return None
            columns = [tables.local(holder, name, h5py.Dataset) for name in names]
            if any(column is None or column.ndim != 1 for column in columns):
                return None
            if len({len(column) for column in columns}) != 1:
                return None
            seen.add(row.config)
            part = pd.DataFrame({name: tables.values_of(column) for name, column in zip(names, columns)})
            part.insert(0, "index", range(len(part)))
            for key in reversed(KEYS):
                part.insert(0, key, getattr(row, key))
            return part

        wanted = (lambda row: row.config not in seen) if one_per_config else (lambda row: True)
        parts = [part for part in self._from_runs(read, wanted) if part is not None]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*KEYS, "index", *names])

    def rows(self, metric):
        """Rows of the aggregate of one metric, configs in study order; `low` and `high` are its 95 % interval:
        over items (documents, windows) where it is deterministic, else over repeats."""
        rows = self.aggregate[self.aggregate["metric"] == metric].copy()
        for column in ("mean", "ci95_low", "ci95_high", "item_ci95_low", "item_ci95_high"):
            rows[column] = pd.to_numeric(rows[column], errors="coerce")
        rows["low"] = rows["item_ci95_low"].fillna(rows["ci95_low"])
        rows["high"] = rows["item_ci95_high"].fillna(rows["ci95_high"])
        rows["order"] = rows["config"].map({config: i for i, config in enumerate(self.configs)})
        return rows.sort_values(["workload", "lengths", "order"], kind="stable")

    def floor(self, metric, workload, lengths):
        """A/A noise floor of a metric in a cell, relative; None where there is no duplicate of the baseline."""
        table = self.noise_floor
        found = table[(table["metric"] == metric) & (table["workload"] == workload) & (table["lengths"] == lengths)]
        floor = pd.to_numeric(found["floor"], errors="coerce").dropna()
        return float(floor.iloc[0]) if len(floor) else None


def _keys(row):
    return {key: getattr(row, key) for key in KEYS} | {"status": row.status}


def _metrics(row, file):
    """Metrics of an open run file."""
    metrics = []
    group = tables.local(file, "metrics", h5py.Group)
    for name in group if group is not None else ():
        dataset = tables.local(group, name, h5py.Dataset)
        if dataset is not None and dataset.shape == () and dataset.dtype.kind in "iuf":
            metrics.append({**_keys(row), "metric": name, "value": float(tables.values_of(dataset)),
                            "units": tables.attributes_of(dataset).get("units", "")})
    return metrics
