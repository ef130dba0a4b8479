"""env/bootstrap.sh on machines that lack something: a PATH of stand-ins plays the machine."""

import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "env" / "bootstrap.sh"
REAL = ["bash", "env", "sed", "sort", "head", "cat", "dirname", "timeout", "touch", "chmod", "rm", "mktemp"]
# Commands that a complete machine has; what each answers.
COMPLETE = {
    "g++": "echo 12.2.0", "cmake": "echo cmake version 3.25.1", "ninja": "", "pkg-config": "", "git": "",
    "ccache": "", "mpicxx": "", "mpirun": "", "python3": "", "h5dump": "", "clang-format": "",
    "clang-tidy": "", "shellcheck": "", "clang++": "", "dpkg-query": "exit 1", "sleep": "",
    "slurmctld": "", "slurmd": "", "sbatch": "", "munged": "", "ip": "",
}


class Machine(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.bin = Path(self.folder.name) / "bin"
        self.bin.mkdir()
        self.log = self.bin.parent / "apt.log"
        for name in REAL:
            (self.bin / name).symlink_to(shutil.which(name))
        for name, body in COMPLETE.items():
            self.command(name, body)
        self.user(1000)

    def command(self, name, body):
        path = self.bin / name
        path.write_text(f"#!/usr/bin/env bash\n{body}\n")
        path.chmod(0o755)

    def user(self, uid):
        self.command("id", f"echo {uid}")

    def lack(self, *names):
        for name in names:
            (self.bin / name).unlink()

    def apt_get(self, body):
        """A package manager that writes its arguments down and then does `body`."""
        self.command("apt-get", f'echo "$*" >> "{self.log}"\n{body}')

    def bootstrap(self, *options):
        return subprocess.run([self.bin / "bash", SCRIPT, *options], text=True, capture_output=True, timeout=60,
                              env={"PATH": str(self.bin)})

    def test_complete_machine_needs_neither_root_nor_network(self):
        self.apt_get("")
        for options in (["--run"], ["--test"], ["--check", "--test"]):
            run = self.bootstrap(*options)
            self.assertEqual(run.returncode, 0, run.stderr)
        self.assertFalse(self.log.exists())

    def test_check_names_what_is_missing_and_installs_nothing(self):
        self.user(0)
        self.apt_get("")
        self.lack("cmake", "ninja", "mpirun", "clang-tidy")
        run = self.bootstrap("--check")
        self.assertEqual(run.returncode, 1)
        self.assertIn("apt-get install cmake ninja-build", run.stdout)
        self.assertIn("openmpi-bin                    optional: starts the ranks", run.stdout)
        self.assertNotIn("clang-tidy", run.stdout)
        self.assertIn("clang-tidy", self.bootstrap("--check", "--test").stdout)
        self.assertFalse(self.log.exists())

    def test_without_root_required_packages_are_asked_for(self):
        self.apt_get("")
        self.lack("cmake")
        run = self.bootstrap()
        self.assertEqual(run.returncode, 1)
        self.assertIn("neither root nor sudo", run.stderr)
        self.assertIn("apt-get install cmake", run.stderr)
        self.assertFalse(self.log.exists())

    def test_without_root_optional_packages_are_done_without(self):
        self.apt_get("")
        self.lack("mpirun", "mpicxx")
        run = self.bootstrap()
        self.assertEqual(run.returncode, 0)
        self.assertIn("going on without", run.stderr)

    def test_root_installs_only_what_is_missing(self):
        self.user(0)
        self.lack("cmake", "mpirun")
        self.apt_get(f'case "$*" in *" install "*) for name in cmake mpirun; do\n'
                     f'printf "#!/usr/bin/env bash\\necho cmake version 3.25.1\\n" > "{self.bin}/$name"\n'
                     f'chmod +x "{self.bin}/$name"; done ;; esac')
        run = self.bootstrap()
        self.assertEqual(run.returncode, 0, run.stderr)
        update, install = self.log.read_text().splitlines()
        self.assertTrue(update.endswith(" update"))
        self.assertTrue(install.endswith(" install --no-install-recommends cmake openmpi-bin"), install)

    def test_sudo_without_a_password_serves(self):
        self.lack("cmake")
        self.command("sudo", '[[ $1 == -n ]] && shift\nexec "$@"')
        self.command("true", "")
        self.apt_get("exit 1")
        self.bootstrap()
        self.assertTrue(self.log.exists())

    def test_failing_apt_is_tried_twice_and_told(self):
        self.user(0)
        self.lack("cmake")
        self.apt_get("exit 100")
        run = self.bootstrap()
        self.assertEqual(run.returncode, 1)
        self.assertEqual(len(self.log.read_text().splitlines()), 2)
        self.assertIn("is the package mirror reachable?", run.stderr)

    def test_installed_but_not_found_is_told(self):
        self.user(0)
        self.lack("cmake")
        self.apt_get("")
        run = self.bootstrap()
        self.assertEqual(run.returncode, 1)
        self.assertIn("installed, but not found", run.stderr)

    def test_another_distribution(self):
        self.user(0)
        self.lack("cmake")
        run = self.bootstrap()
        self.assertEqual(run.returncode, 1)
        self.assertIn("no apt-get", run.stderr)

    def test_old_tools_are_refused(self):
        self.command("cmake", "echo cmake version 3.22.1")
        run = self.bootstrap()
        self.assertEqual(run.returncode, 1)
        self.assertIn("CMake 3.22.1 is too old", run.stderr)
        self.command("cmake", "echo cmake version 3.28.3")
        self.command("g++", "echo 11.4.0")
        self.assertIn("g++ 11.4.0 is too old", self.bootstrap().stderr)

    def test_missing_compiler_does_not_name_libraries_that_dpkg_knows(self):
        self.lack("g++", "pkg-config")
        self.command("dpkg-query", "echo installed")
        run = self.bootstrap("--check")
        self.assertEqual(run.returncode, 1)
        self.assertIn("apt-get install g++ pkg-config \n", run.stdout)

    def test_unknown_option(self):
        self.assertEqual(self.bootstrap("--everything").returncode, 1)


if __name__ == "__main__":
    unittest.main()
