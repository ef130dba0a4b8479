"""Reads what a qsweep study left in its run folder; draws figures and a report.

    import qsweep_analysis
    study = qsweep_analysis.load("data/runs/quickstart/20260131T120000Z")
    study.claims                         # one row a claim, with verdict and p-values
    study.samples("token_latency_ms")    # every token of every run, long form
"""

from .errors import AnalysisError
from .study import Study, load

__all__ = ["AnalysisError", "Study", "load"]
