"""python -m qsweep_analysis report RUN_DIR [--out DIR]"""

import argparse
import sys
from pathlib import Path

from .errors import AnalysisError
from .study import load


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m qsweep_analysis", description="Figures and a report of a qsweep study.")
    commands = parser.add_subparsers(dest="command", required=True)
    report = commands.add_parser("report", help="draw every figure and write report.html")
    report.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="a run folder: data/runs/<study>/<run_tag>")
    report.add_argument("--out", type=Path, metavar="DIR", help="where to write (default: RUN_DIR/report)")
    options = parser.parse_args(arguments)
    try:
        from .report import write_report  # loads matplotlib, which a wrong path should not wait for
        print(write_report(load(options.run_dir), options.out or options.run_dir / "report"))
    except (AnalysisError, OSError) as error:
        print(f"qsweep_analysis: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
