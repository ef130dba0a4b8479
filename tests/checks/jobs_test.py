"""jobs/submit.sh without a Slurm: what it renders for every site, and what it refuses.

    jobs_test.py --update      writes tests/goldens/jobs anew: look at the difference before you commit it
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GOLDENS = ROOT / "tests/goldens/jobs"
SITES = ["generic", "workstation", "example-lmod", "example-apptainer", "example-enroot"]
UPDATE = False


class Jobs(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.top = Path(self.folder.name).resolve()
        # Another tree of the same scripts, so that no path of this machine stands in what is rendered.
        self.tree = self.top / "tree"
        for part in ("env", "jobs"):
            shutil.copytree(ROOT / part, self.tree / part)
        self.program = self.tree / "build/bin/qsweep"
        self.script(self.program, 'echo "study trial"')
        self.script(self.top / "bin/apptainer", 'echo "study trial"')
        self.study = self.top / "study.yaml"
        self.study.write_text("study: trial\n")
        self.sites = self.tree / "env/sites"

    def script(self, path, body):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/usr/bin/env bash\n{body}\n")
        path.chmod(0o755)

    def run_script(self, script, *arguments, **environment):
        return subprocess.run([str(script), *map(str, arguments)], text=True, capture_output=True, timeout=60,
                              cwd=self.top, check=False,
                              env={**os.environ, "PATH": f"{self.top / 'bin'}:{os.environ['PATH']}", **environment})

    def submit(self, *arguments, **environment):
        return self.run_script(self.tree / "jobs/submit.sh", *arguments, **environment)

    def dry_run(self, *arguments, study=None, site="generic"):
        run = self.submit(study or self.study, "--site", site, "--dry-run", "--run-tag", "t", "--out", self.top / "runs",
                          *arguments)
        self.assertEqual(run.returncode, 0, run.stderr)
        return run.stdout

    def refused(self, *arguments, **environment):
        run = self.submit(*arguments, **environment)
        self.assertEqual(run.returncode, 2, run.stdout + run.stderr)
        return run.stderr

    def site(self, text, name="mine"):
        (self.sites / f"{name}.sh").write_text(text)
        return self.refused(self.study, "--site", name, "--dry-run")

    def batch_files(self, output):
        """{file name: text} of what a dry run prints."""
        parts = re.split(r"^== (.*)\n", output, flags=re.MULTILINE)[1:]
        return {Path(name).name: text for name, text in zip(parts[::2], parts[1::2]) if name != "commands"}

    # --- goldens

    def test_rendered_files_are_the_goldens(self):
        for site in SITES:
            for kind, options in (("sweep", []), ("array", ["--array", "6"])):
                if site == "workstation" and kind == "array":
                    continue
                text = self.dry_run(*options, site=site).replace(str(self.top), "@TOP@")
                self.golden(f"{site}-{kind}.txt", text[text.index("== "):])

    def golden(self, name, text):
        if UPDATE:
            GOLDENS.mkdir(parents=True, exist_ok=True)
            (GOLDENS / name).write_text(text)
        self.assertEqual((GOLDENS / name).read_text(), text, f"{name} (jobs_test.py --update writes the goldens anew)")

    @unittest.skipUnless(shutil.which("shellcheck"), "shellcheck is not here")
    def test_rendered_files_pass_shellcheck(self):
        odd = self.top / "it's $(odd) \"x\".yaml"
        odd.write_text("study: trial\n")
        for site in SITES:
            for name, text in self.batch_files(self.dry_run(study=odd, site=site)).items():
                path = self.top / name
                path.write_text(text)
                run = subprocess.run(["shellcheck", path], text=True, capture_output=True, timeout=60, check=False)
                self.assertEqual(run.returncode, 0, run.stdout)

    # --- nothing breaks out

    def test_odd_names_stay_one_word(self):
        """The rendered words, read by a shell, are those that went in."""
        for name in ("a b", "it's", '"x"', "$(touch pwned)", "`touch pwned`", "a;b&c|d", "*", "--dry-run x", "%j", "!x"):
            study = self.top / f"{name}.yaml"
            study.write_text("study: trial\n")
            out = self.top / f"out {name}"
            text = self.batch_files(self.dry_run("--out", out, "--", "--set", f"a={name}", study=study))["sweep.sbatch"]
            probe = text.replace('source "$root/jobs/lib/job.sh"', 'job_main() { printf "%s\\n" "$@"; }')
            words = subprocess.run(["bash", "-c", probe], text=True, capture_output=True, timeout=60, check=True,
                                   cwd=self.top).stdout.splitlines()
            for word in (str(study), str(out), f"a={name}"):
                self.assertIn(word, words)
        self.assertEqual(list(self.top.rglob("pwned")), [])

    def test_control_characters_are_refused(self):
        study = self.top / "a\nb.yaml"
        study.write_text("study: trial\n")
        self.assertIn("control character", self.refused(study, "--dry-run"))
        self.assertIn("control character", self.refused(self.study, "--out", self.top / "a\tb", "--dry-run"))
        self.assertIn("control character", self.refused(self.study, "--dry-run", "--", "--set", "a=b\nc"))

    def test_tags_and_sites_are_names(self):
        for tag in ("../up", "a b", "$(x)", "-x", ".x", "a\nb", "a/b", "x" * 200):
            self.assertIn("--run-tag", self.refused(self.study, "--dry-run", "--run-tag", tag))
        for site in ("../generic", "a b", "$(touch pwned)", "-x", "a\nb", "/etc/passwd", ""):
            run = self.submit(self.study, "--dry-run", "--site", site)
            self.assertEqual(run.returncode, 0 if site == "" else 2, run.stderr)
        self.assertIn("no such file", self.refused(self.study, "--dry-run", "--site", "elsewhere"))

    def test_a_study_that_names_itself_oddly_is_refused(self):
        self.script(self.program, 'echo "study a b; touch pwned"')
        self.assertIn("names no study", self.refused(self.study, "--dry-run"))

    def test_site_files_are_read_and_not_run(self):
        for line in ("time=$(touch pwned)", "time=`touch pwned`", 'time="$(touch pwned)"', "touch pwned", "account=a b",
                     "account=a;touch pwned", "account=a\\", 'account="a', "account='a'b'", "modules='a\tb'",
                     "export account=a", "partition='a b'", "qos='a\"'", "environment='A=$(x)'",
                     "environment='A=b;c'", "image='a b'", "nodes=0", "nodes=100000", "gpus_per_node=-1", "time=soon",
                     "launcher=magic", "mounts=relative", "program=relative", "account=é"):
            told = self.site(f"# a comment\n\n{line}\n")
            self.assertRegex(told, r"mine\.sh:3: ", line)
        self.assertEqual(list(self.top.rglob("pwned")), [])
        self.assertFalse((ROOT / "pwned").exists())

    def test_all_faults_of_a_site_are_told_at_once(self):
        told = self.site("nodes=x\ncolour=red\ntime=\"12\"\nqos=a b\n")
        self.assertRegex(told, r"mine\.sh:1: nodes cannot be 'x'")
        self.assertRegex(told, r"mine\.sh:2: unknown setting 'colour'")
        self.assertRegex(told, r"mine\.sh:4: ")
        self.assertNotIn(":3:", told)

    def test_huge_or_binary_site_files_are_refused(self):
        self.assertIn("larger than", self.site("# x\n" * 50000))
        (self.sites / "mine.sh").write_bytes(bytes(range(256)))
        self.assertIn("mine.sh", self.refused(self.study, "--site", "mine", "--dry-run"))

    def test_values_that_contradict_each_other(self):
        self.assertIn("needs image", self.site("container=apptainer\n"))
        self.assertIn("needs srun", self.site("container=enroot\nimage=x\nlauncher=mpirun\n"))
        self.assertIn("needs gpus_per_node", self.site("backend=cuda\n"))

    def test_options_that_submit_sets_itself(self):
        for option in ("--part", "--prep-only", "--plan", "--reduce-only", "--run-tag", "--out", "--backend=cuda"):
            self.assertIn("submit's business", self.refused(self.study, "--dry-run", "--", option))
        self.assertIn("--array", self.refused(self.study, "--dry-run", "--array", "0"))
        self.assertIn("unknown option", self.refused(self.study, "--dry-runs"))

    # --- which site

    def test_the_site_is_found_by_the_host(self):
        self.script(self.top / "bin/hostname", 'echo login3.big.example')
        (self.sites / "big.sh").write_text('hosts="login[0-9].big.example"\naccount=found\n')
        run = self.submit(self.study, "--dry-run")
        self.assertIn("site: big\n", run.stdout, run.stderr)
        self.assertIn("#SBATCH --account=found", run.stdout)
        (self.sites / "other.sh").write_text("hosts=*.example\n")
        self.assertIn("more than one site", self.refused(self.study, "--dry-run"))
        self.script(self.top / "bin/hostname", "echo elsewhere")
        self.assertIn("site: generic\n", self.submit(self.study, "--dry-run").stdout)

    def test_every_setting_is_documented(self):
        table = (ROOT / "jobs/lib/site.sh").read_text().split("readonly site_table='\n")[1].split("\n'\n")[0]
        keys = [line.split()[0] for line in table.splitlines()]
        readme = (ROOT / "env/README.md").read_text()
        self.assertEqual([key for key in keys if f"| `{key}` |" not in readme], [])

    def test_options_for_sbatch_by_hand(self):
        run = self.submit("--site", "example-lmod", "--options")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn("--account=my-project --partition=gpu", run.stdout)
        self.assertNotRegex(run.stdout, r"""["'$`]""")

    # --- what a job starts

    def job(self, kind, *settings, **environment):
        """Runs a rendered batch file with stand-ins for the launchers; returns (code, output)."""
        self.script(self.program, 'echo "ran: $*"; echo "run folder: /nowhere"; exit "${CODE:-0}"')
        for name in ("srun", "mpirun", "apptainer"):
            self.script(self.top / f"bin/{name}", f"""case "$*" in *--mpi=list*) echo "${{OFFERED:-none}}"; exit ;; esac
printf '{name}:'; printf ' [%s]' "$@"; echo; echo "fence $SLURM_PMIX_FENCE"
[ -z "$TOLD" ] || echo "exit code $TOLD"; [ -z "$LEFT" ] || echo "$LEFT" >"$QSWEEP_EXIT_CODE_FILE"; eval "$DO"
exit "${{CODE:-0}}" """)
        self.script(self.top / "bin/ldd", "echo libmpi.so.40")
        self.script(self.top / "bin/scontrol", 'echo "scontrol $*"; echo "x JobState=${JOB_STATE:-RUNNING} x"')
        clean = {key: value for key, value in os.environ.items() if not key.startswith("SLURM")}
        run = subprocess.run(
            ["bash", "-c", f'root={self.tree}; set -euo pipefail; source "$root/jobs/lib/job.sh"; job_main "$@"', "x",
             kind, str(self.tree), *settings, "--", str(self.study), "--run-tag", "t"], text=True, capture_output=True,
            timeout=60, check=False, cwd=self.top,
            env={**clean, "PATH": f"{self.top / 'bin'}:{os.environ['PATH']}", **environment})
        return run.returncode, run.stdout + run.stderr

    def test_the_launcher_is_what_the_site_has(self):
        job = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4"}
        for offered, chosen in (("MPI plugin types are...\n\tpmix\n\tpmi2\n", "srun: [--mpi=pmix] [--ntasks=4]"),
                                ("MPI plugin types are...\n\tnone\n\tpmi2\n", "mpirun: [-n] [4] [--bind-to] [none]")):
            code, output = self.job("sweep", **job, OFFERED=offered)
            self.assertEqual(code, 0, output)
            self.assertIn(chosen, output)
        self.assertIn("srun: [--mpi=pmi2]", self.job("sweep", "launcher=pmi2", **job)[1])
        self.assertIn("mpirun: [-n] [1]", self.job("sweep")[1], "outside Slurm")

    def test_ranks_without_mpi_are_refused(self):
        self.job("sweep")
        self.script(self.top / "bin/ldd", "echo libc.so.6")
        run = subprocess.run(["bash", "-c", f'source "{self.tree}/jobs/lib/job.sh"; job_main "$@"', "x", "sweep",
                              str(self.tree), "--", str(self.study), "--run-tag", "t"], text=True, capture_output=True,
                             timeout=60, check=False,
                             env={**os.environ, "PATH": f"{self.top / 'bin'}:{os.environ['PATH']}", "SLURM_NTASKS": "4"})
        self.assertEqual(run.returncode, 2, run.stdout)
        self.assertIn("built without MPI", run.stderr)

    def test_containers_wrap_the_program(self):
        job = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "OFFERED": "pmix"}
        settings = ["image=/i.sif", "mounts=/data /scratch", "program=/opt/q", "gpus_per_node=2"]
        code, output = self.job("sweep", "container=apptainer", *settings, **job)
        self.assertEqual(code, 0, output)
        self.assertIn(f"[apptainer] [exec] [--nv] [--bind] [{self.tree}] [--bind] [{self.top}] [--bind] [/data] "
                      f"[--bind] [/scratch] [--pwd] [{self.tree}] [/i.sif] [/opt/q] [{self.study}]", output)
        code, output = self.job("sweep", "container=enroot", *settings, **job)
        self.assertIn(f"[--container-image=/i.sif] [--container-workdir={self.tree}] "
                      f"[--container-mounts={self.tree}:{self.tree},{self.top}:{self.top},/data:/data,/scratch:/scratch]",
                      output)
        self.assertIn("cannot be mounted", self.refused(self.study, "--site", "example-apptainer", "--dry-run", "--out",
                                                        self.top / "a:b"))

    def test_only_what_can_get_further_is_queued_again(self):
        job = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "OFFERED": "pmix"}
        for code in (0, 1, 2, 3, 4):
            ended, output = self.job("sweep", CODE=str(code), **job)
            self.assertEqual(ended, code, output)
            self.assertNotIn("scontrol requeue", output)
        for code in (75, 205, 137, 143, 139):
            ended, output = self.job("sweep", CODE=str(code), **job)
            self.assertIn("scontrol requeue 7", output)
            self.assertEqual(ended, 0)
        ended, output = self.job("sweep", "requeues=3", CODE="75", SLURM_RESTART_COUNT="3", **job)
        self.assertEqual(ended, 75)
        self.assertNotIn("scontrol requeue", output)
        self.assertEqual(self.job("sweep", "reduce_follows=yes", CODE="4", **job)[0], 0)

    def test_the_code_that_the_program_told_counts(self):
        """srun ends ranks that leave a moment after the first, and then reports that signal."""
        job = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "OFFERED": "pmix", "CODE": "143"}
        for told, ended in (("3", 3), ("1", 1), ("75", 0)):
            code, output = self.job("sweep", TOLD=told, **job)
            self.assertEqual(code, ended, output)
            self.assertEqual("scontrol requeue" in output, told == "75", output)

    def test_the_code_that_the_program_left_counts_more(self):
        """What it printed may be lost; its file is in the run folder, and gone at the end of the life."""
        logs = self.top / "runs/logs"
        logs.mkdir(parents=True)
        job = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "OFFERED": "pmix"}
        for settings in ([], [f"run_folder={logs.parent}"]):
            for code, left, ended in (("143", "3", 3), ("137", "75", 0), ("0", "75", 0), ("143", "x", 0), ("3", "", 3)):
                ended_with, output = self.job("sweep", *settings, CODE=code, LEFT=left, TOLD="1" if left == "3" else "",
                                              **job)
                self.assertEqual(ended_with, ended, output)
                self.assertEqual("scontrol requeue" in output, ended == 0, output)
                (logs / "job-7.lives").unlink(missing_ok=True)
        self.assertIn(str(logs / "job-7-"), self.job("sweep", f"run_folder={logs.parent}", **job,
                                                     DO='echo "$QSWEEP_EXIT_CODE_FILE"')[1])
        self.assertEqual(list(logs.iterdir()), [])

    def test_signals_at_odd_moments_change_no_code(self):
        """While the program works, and while its last words are still on their way."""
        job = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "OFFERED": "pmix", "CODE": "143"}
        for work in ("trap : USR1; for i in 1 2 3 4 5; do kill -USR1 $PPID; sleep 0.1; done; echo exit code 3",
                     "(sleep 0.4; echo exit code 3) & (sleep 0.2; kill -USR1 $PPID) >/dev/null &"):
            code, output = self.job("sweep", DO=work, **job)
            self.assertEqual(code, 3, output)

    def test_ranks_wait_for_each_other_on_all_nodes(self):
        job = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "OFFERED": "pmix"}
        self.assertIn("fence ring\n", self.job("sweep", **job)[1])
        self.assertIn("fence tree\n", self.job("sweep", **job, SLURM_PMIX_FENCE="tree")[1])

    def test_a_job_that_slurm_ends_is_not_queued_again(self):
        job = {"CODE": "75", "SLURM_JOB_ID": "7", "SLURM_NTASKS": "1", "OFFERED": "pmix"}
        for state, end, again in (("CANCELLED", 4102444800, False), ("COMPLETING", 4102444800, False),
                                  ("COMPLETING", 1000000000, True), ("RUNNING", 4102444800, True)):
            code, output = self.job("sweep", **job, SLURM_JOB_END_TIME=str(end), JOB_STATE=state)
            self.assertEqual(code, 0 if again else 75, output)
            self.assertEqual("scontrol requeue" in output, again, output)

    def test_lives_without_a_run_are_few(self):
        """Each life is noted in the run folder; where there is none, the requeues count."""
        runs = self.top / "runs/logs"
        runs.mkdir(parents=True)
        job = {"CODE": "137", "SLURM_JOB_ID": "7", "SLURM_NTASKS": "1", "OFFERED": "pmix"}
        log = runs / "rank-0000.log"
        for ended, again in ((1, True), (1, True), (2, True), (2, True), (2, False)):
            log.write_text("2026 info end 0123456789abcdef ok after 1 s\n" * ended)
            _, output = self.job("sweep", f"run_folder={runs.parent}", **job)
            self.assertEqual("scontrol requeue" in output, again, output)
        self.assertIn("scontrol requeue", self.job("sweep", **job)[1])
        self.assertNotIn("scontrol requeue", self.job("sweep", **job, SLURM_RESTART_COUNT="1")[1])

    def test_an_array_gives_each_task_its_part(self):
        array = {"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "8", "SLURM_ARRAY_TASK_ID": "3"}
        self.assertIn("--part 3/6", self.job("array", "parts=6", **array)[1])
        counted = {**array, "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_MAX": "4", "SLURM_ARRAY_TASK_COUNT": "4"}
        self.assertIn("--part 3/4", self.job("array", **counted)[1])
        code, output = self.job("array", **{**counted, "SLURM_ARRAY_TASK_MIN": "3", "SLURM_ARRAY_TASK_COUNT": "2"})
        self.assertEqual(code, 2)
        self.assertIn("QSWEEP_PARTS", output)


if __name__ == "__main__":
    if "--update" in sys.argv:
        sys.argv.remove("--update")
        UPDATE = True
    unittest.main()
