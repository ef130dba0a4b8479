"""The report as a reader gets it: whole, self-contained, for full, empty and half-failed studies."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import h5py
import made_up_study as made
import pytest

from qsweep_analysis import load
from qsweep_analysis.__main__ import main
from qsweep_analysis.report import write_report

ALL = {"ttft", "tpot", "throughput_decode", "throughput_prefill", "memory", "token_latency", "perplexity", "nll", "nll_difference", "kl",
       "quality_bytes", "layer_error"}
PACKAGE = Path(__file__).resolve().parents[1]


class Balanced(HTMLParser):
    """Fails where a tag is closed that is not open."""
    VOID = {"meta", "img", "br"}

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, (tag, self.getpos())


def report_of(folder):
    text = write_report(load(folder), folder / "report").read_text(encoding="utf-8")
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    return text


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    folder = made.make_study(tmp_path_factory.mktemp("full"))
    return folder, report_of(folder)


def test_every_figure_stands_as_png_and_svg_and_in_the_page(full):
    folder, text = full
    for kind, magic in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        files = {p.stem: p for p in (folder / "report").glob(f"*.{kind}")}
        assert set(files) == ALL
        assert all(p.read_bytes().startswith(magic) for p in files.values())
    assert set(re.findall(r'<figure id="(\w+)">', text)) == ALL


def test_page_is_self_contained(full):
    _, text = full
    without_data = re.sub(r'src="data:[^"]*"', "", text)
    assert "<script" not in text
    assert not re.search(r'(src|href)="(?!#)', without_data)
    assert "http" not in without_data


def test_page_tells_verdicts_reasons_and_origin(full):
    _, text = full
    for word in ("supported", "refuted", "inconclusive", "exploratory", "smallest detectable", "int4 activations need a kernel",
                 "node1", "hdf5 1.10.8", "C0_again", "All ranks: busy 13.50 s", "change an hour"):
        assert word in text, word


def test_text_of_the_study_is_escaped(full):
    _, text = full
    assert "made_later &lt;b&gt;" in text
    assert "made_later <b>" not in text


def test_report_is_the_same_each_time(full, tmp_path):
    folder, text = full
    assert write_report(load(folder), tmp_path / "again").read_text(encoding="utf-8") == text
    for first in (folder / "report").glob("*.svg"):
        assert (tmp_path / "again" / first.name).read_bytes() == first.read_bytes(), first.name


def test_study_of_synthetic_runs_only(tmp_path):
    shape = made.Shape(configs=("C0", "C1"), profile=False, perplexity=False, synthetic=True)
    text = report_of(made.make_study(tmp_path, shape))
    assert set(re.findall(r'<figure id="(\w+)">', text)) == {"synthetic_value"}
    assert "registers no claims" in text


def test_empty_study(tmp_path):
    text = report_of(made.make_study(tmp_path, made.Shape(configs=(), profile=False, perplexity=False)))
    assert "No run left anything to draw" in text


def test_every_run_failed(tmp_path):
    shape = made.Shape(configs=("C0", "C1_fp8"), failed=("C0", "C1_fp8"))
    text = report_of(made.make_study(tmp_path, shape))
    assert "ran out of memory (as planned)" in text
    assert "No run left anything to draw" in text


def test_baseline_failed_and_one_repeat(tmp_path):
    shape = made.Shape(configs=("C0", "C1_fp8", "C2_nf4_dq"), failed=("C0",), repeats=1)
    text = report_of(made.make_study(tmp_path, shape))
    assert 'id="tpot"' in text and 'id="quality_bytes"' in text


def test_one_config_one_cell(tmp_path):
    shape = made.Shape(configs=("C1_fp8",), lengths=("p32_o64",), repeats=1, tokens=2, blocks=1)
    assert 'id="layer_error"' in report_of(made.make_study(tmp_path, shape))


def test_names_with_mathtext_and_great_length_are_drawn_as_they_are(tmp_path):
    folder = made.make_study(tmp_path, made.Shape(configs=("C0", "C1_fp8"), lengths=("p32_o64",)))
    with h5py.File(folder / "sweep.h5", "r+") as file:
        names = file["aggregate/config"].asstr()[:]
        file["aggregate/config"][...] = [n.replace("C1_fp8", "$\\frac{" + "x" * 90) for n in names]
    assert "frac" in report_of(folder)


def test_command_line(tmp_path):
    made.make_study(tmp_path / "run", made.Shape(configs=("C0",), profile=False, perplexity=False, synthetic=True))
    command = [sys.executable, "-m", "qsweep_analysis", "report", str(tmp_path / "run"), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "out" / "report.html")
    assert (tmp_path / "out" / "report.html").is_file()


def test_folder_that_was_not_reduced_is_refused(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert "has not been reduced" in capsys.readouterr().err
