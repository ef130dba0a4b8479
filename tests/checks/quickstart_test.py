"""jobs/quickstart.sh with stand-ins for the build, the program and the report: what it starts, and how it ends."""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Quickstart(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.tree = Path(self.folder.name) / "a tree"
        self.bin = Path(self.folder.name) / "bin"
        self.log = Path(self.folder.name) / "calls.log"
        self.bin.mkdir()
        for part in ("env", "jobs"):
            shutil.copytree(ROOT / part, self.tree / part)
        (self.tree / "env" / "bootstrap.sh").write_text("#!/usr/bin/env bash\n")
        self.script(self.bin / "cmake", 'case $1 in --preset) mkdir -p build; touch build/CMakeCache.txt ;; esac')
        self.script(self.bin / "python", 'case $1 in -m) shift 2 ;; -) exit 0 ;; esac; exit "${REPORT_CODE:-0}"')
        self.script(self.bin / "mpirun", 'while [[ $1 != */qsweep ]]; do shift; done; "$@"')
        self.script(self.bin / "ldd", 'echo "libmpi.so.40"')

    def script(self, path, body):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/usr/bin/env bash\necho "{path.name} $*" >> "{self.log}"\n{body}\n')
        path.chmod(0o755)

    def program(self, body):
        self.script(self.tree / "build" / "bin" / "qsweep", body)

    def quickstart(self, *options, **environment):
        return subprocess.run([self.tree / "jobs" / "quickstart.sh", *options], text=True, capture_output=True,
                              timeout=60, cwd="/", env={**os.environ, **environment,
                                                        "PATH": f"{self.bin}:{os.environ['PATH']}",
                                                        "QSWEEP_PYTHON": str(self.bin / "python")})

    def calls(self, name):
        return [line for line in self.log.read_text().splitlines() if line.startswith(name + " ")]

    def test_from_packages_to_report(self):
        self.program('echo "C3 profile 1.0"; echo "claim: supported"; echo "run folder: data/runs/quickstart/t"')
        run = self.quickstart("--repeats", "1")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn("mpirun -n 2 --bind-to none build/bin/qsweep", self.calls("mpirun")[0])
        self.assertRegex(self.calls("qsweep")[0],
                         r"^qsweep configs/quickstart.yaml --run-tag \d{8}T\d{6}Z --repeats 1$")
        self.assertEqual(self.calls("python")[-1], "python -m qsweep_analysis report data/runs/quickstart/t")
        ending = run.stdout.splitlines()
        self.assertLess(ending.index("claim: supported"), ending.index("report:     data/runs/quickstart/t/report/report.html"))
        self.assertRegex(ending[-1], r"^ +\d+ s  in all$")

    def test_tests_are_left_out_only_of_a_new_build(self):
        self.program('echo "run folder: r"')
        self.quickstart()
        self.quickstart()
        first, second = [call for call in self.calls("cmake") if "--preset" in call]
        self.assertIn("-DQSWEEP_TESTS=OFF", first)
        self.assertNotIn("QSWEEP_TESTS", second)

    def test_a_build_of_another_place_is_configured_afresh(self):
        self.program('echo "run folder: r"')
        (self.tree / "build" / "CMakeCache.txt").write_text("CMAKE_HOME_DIRECTORY:INTERNAL=/elsewhere\n")
        self.quickstart()
        self.assertIn("--fresh", self.calls("cmake")[0])

    def test_a_given_tag_is_kept(self):
        self.program('echo "run folder: r"')
        self.quickstart("--run-tag", "mine")
        self.assertEqual(self.calls("qsweep"), ["qsweep configs/quickstart.yaml --run-tag mine"])

    def test_without_mpi_there_is_one_process(self):
        self.program('echo "run folder: r"')
        self.script(self.bin / "ldd", 'echo "libc.so.6"')
        self.assertEqual(self.quickstart().returncode, 0)
        self.assertEqual(self.calls("mpirun"), [])

    def test_failed_runs_are_reported_and_told(self):
        self.program('echo "run folder: r"; exit 4')
        self.assertEqual(self.quickstart().returncode, 4)
        self.assertEqual(len(self.calls("python")), 2)  # asked for its modules, then for the report

    def test_a_sweep_that_ends_early_gives_its_code_and_no_report(self):
        for code in (1, 2, 75):
            self.program(f'echo "run folder: r"; exit {code}')
            run = self.quickstart()
            self.assertEqual(run.returncode, code)
            self.assertIn("ended early", run.stderr)
        self.assertEqual(self.calls("python"), [])

    def test_a_missing_report_is_a_failure_that_names_the_results(self):
        self.program('echo "run folder: r"')
        run = self.quickstart(REPORT_CODE="3")
        self.assertEqual(run.returncode, 3)
        self.assertIn("the results are whole", run.stderr)

    def test_a_failing_build_ends_it(self):
        self.program('echo "run folder: r"')
        self.script(self.bin / "cmake", "exit 1")
        run = self.quickstart()
        self.assertEqual(run.returncode, 1)
        self.assertIn("the build failed", run.stderr)
        self.assertEqual(self.calls("qsweep"), [])


if __name__ == "__main__":
    unittest.main()
