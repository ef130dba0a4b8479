"""Each source check finds its planted fault, and is silent about the same tree without it."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import clang_format  # noqa: E402
import clang_tidy  # noqa: E402
import include_order  # noqa: E402
import source_rules  # noqa: E402
import tree  # noqa: E402

CLEAN = {
    "src/base/error.hpp": "#pragma once\n#include <string>\n",
    "src/comm/rank.hpp": '#pragma once\n#include "base/error.hpp"\n',
    "src/comm/rank.cpp": '#include "comm/rank.hpp"\n#include <mpi.h>\n',
    "src/quant/format/int4.hpp": '#pragma once\n#include "base/error.hpp"\n',
    "src/quant/rtn.hpp": '#pragma once\n#include "kernels/gemv/gemv.hpp"\n#include "quant/format/int4.hpp"\n',
    "kernels/gemv/gemv.hpp": '#pragma once\n#include "quant/format/int4.hpp"\n',
    "src/app/main.cpp": "#include <cstdio>\nint main() {\n  std::puts(\"hello\");\n}\n",
}


class Planted(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = Path(self.folder.name)
        for name, text in CLEAN.items():
            self.write(name, text)

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run_check(self, script, *arguments, **environment):
        return subprocess.run([sys.executable, HERE / f"{script}.py", self.root, *arguments], text=True,
                              capture_output=True, timeout=120, env={**os.environ, **environment})


class IncludeOrder(Planted):
    def problems(self):
        return include_order.check(self.root)[1]

    def assert_one(self, *words):
        problems = self.problems()
        self.assertEqual(len(problems), 1, problems)
        for word in words:
            self.assertIn(word, problems[0])

    def test_clean_tree_has_no_problem(self):
        self.assertEqual(self.problems(), [])
        self.assertEqual(self.run_check("include_order").returncode, 0)

    def test_upward_include(self):
        self.write("src/base/error.cpp", '#include "base/error.hpp"\n\n#include "comm/rank.hpp"\n')
        self.assert_one("src/base/error.cpp:3", "comm comes after base")
        self.assertEqual(self.run_check("include_order").returncode, 1)

    def test_upward_include_between_kernels_and_quant(self):
        self.write("kernels/gemv/gemv_ref.cpp", '#include "quant/rtn.hpp"\n')
        self.assert_one("quant comes after kernels")

    def test_format_is_a_folder_of_its_own(self):
        self.write("src/quant/format/nf4.hpp", '#include "quant/rtn.hpp"\n')
        self.assert_one("quant comes after quant/format")

    def test_include_written_without_the_folder(self):
        self.write("src/quant/format/nf4.hpp", '#  include "../rtn.hpp"\n')
        self.write("src/quant/format/nf5.hpp", '#include "quant/rtn.hpp" // why\n')
        self.assert_one("nf5.hpp")  # a path with .. finds nothing on the include path of the sources

    def test_circle(self):
        self.write("src/base/error.hpp", '#pragma once\n#include "base/text.hpp"\n')
        self.write("src/base/text.hpp", '#pragma once\n#include "base/error.hpp"\n')
        self.assert_one("circular include", "src/base/text.hpp")

    def test_unknown_folder(self):
        self.write("src/extra/more.hpp", "#pragma once\n")
        self.write("src/extra/more.cpp", '#include "base/error.hpp"\n')
        self.assert_one("no place in the order")

    def test_mpi_outside_comm(self):
        self.write("src/sweep/share/share.cpp", "#include <mpi.h>\n")
        self.assert_one("only comm may know it")

    def test_slow_header_in_a_header(self):
        self.write("src/model/config.hpp", "#include <nlohmann/json.hpp>\n")
        self.assert_one("every includer pays")


class SourceRules(Planted):
    def problems(self):
        return source_rules.check(self.root)[1]

    def assert_one(self, text, word, name="src/base/error.cpp"):
        self.write(name, text)
        problems = self.problems()
        self.assertEqual(len(problems), 1, problems)
        self.assertIn(word, problems[0])

    def test_clean_tree_has_no_problem(self):
        self.assertEqual(self.problems(), [])

    def test_leftover(self):
        self.assert_one("// " + "TO" + "DO: later\n", "leftover")

    def test_machine_path(self):
        self.assert_one('const char* p = "/ho' + 'me/me/x";\n', "absolute path")

    def test_relative_path_is_none(self):
        self.write("src/base/error.cpp", "// see docs/wo" + "rk/notes and $X/tm" + "p/y\n")
        self.assertEqual(self.problems(), [])

    def test_registry(self):
        self.assert_one("pip install -i https://py" + "pi.org/simple\n", "registry", "docs/setup.md")

    def test_printing_library(self):
        self.assert_one("void f() { std::cout << 1; }\n", "prints or exits")

    def test_exiting_library(self):
        self.assert_one("void f() { std::exit(1); }\n", "prints or exits", "kernels/gemv/gemv_ref.cpp")

    def test_assembly_outside_its_headers(self):
        self.assert_one('__device__ void f() { asm volatile("trap;"); }\n', "inline assembly", "kernels/gemv/gemv.cuh")

    def test_assembly_in_its_header(self):
        self.write("kernels/cuda/intrinsics.cuh", '__device__ void f() { asm("trap;"); }  // asm\n')
        self.assertEqual(self.problems(), [])

    def test_words_that_only_look_like_printing(self):
        self.write("src/base/error.cpp", 'void f() { std::snprintf(a, 2, "printf(");  // exit(1)\n x.exit(); }\n')
        self.assertEqual(self.problems(), [])

    def test_long_file(self):
        self.assert_one("\n" * 451, "451 lines")


class OtherChecks(Planted):
    def test_headers_alone(self):
        database = [{"file": "x.cpp", "command": "g++ -std=c++20 -I src -c x.cpp -o x.o"}]
        (self.root / "compile_commands.json").write_text(json.dumps(database))
        self.assertEqual(self.run_check("headers_alone", self.root).returncode, 0)
        self.write("src/base/names.hpp", "inline std::string f() { return {}; }\n")
        run = self.run_check("headers_alone", self.root)
        self.assertEqual(run.returncode, 1)
        self.assertIn("src/base/names.hpp does not compile alone", run.stdout)

    def test_header_that_a_cpp_includes_first_is_left_to_the_build(self):
        database = [{"file": "x.cpp", "command": "g++ -c x.cpp"}]
        (self.root / "compile_commands.json").write_text(json.dumps(database))
        self.assertIn("1 proven by the build, 4 compiled", self.run_check("headers_alone", self.root).stdout)

    @unittest.skipUnless(clang_format.find("clang-format"), "clang-format of the deciding release is not here")
    def test_clang_format(self):
        shutil.copy(HERE.parent.parent / ".clang-format", self.root)
        self.assertEqual(self.run_check("clang_format").returncode, 0)
        self.write("src/base/error.cpp", "int   f( ){return 1 ;}\n")
        run = self.run_check("clang_format")
        self.assertEqual(run.returncode, 1)
        self.assertIn("src/base/error.cpp: not laid out", run.stdout)

    @unittest.skipUnless(shutil.which("shellcheck"), "shellcheck is not here")
    def test_shell_scripts(self):
        self.write("jobs/good.sh", "#!/usr/bin/env bash\necho \"$1\"\n")
        self.assertEqual(self.run_check("shell_scripts").returncode, 0)
        self.write("jobs/bad", "#!/usr/bin/env bash\nrm -rf $1/*\n")
        self.assertEqual(self.run_check("shell_scripts").returncode, 1)

    @unittest.skipUnless(clang_format.find("clang-tidy"), "clang-tidy of the deciding release is not here")
    def test_clang_tidy_finds_and_remembers(self):
        shutil.copy(HERE.parent.parent / ".clang-tidy", self.root)
        file = self.root.resolve() / "src/base/error.cpp"
        (self.root / "compile_commands.json").write_text(json.dumps(
            [{"directory": str(self.root), "file": str(file), "command": f"g++ -std=c++20 -c {file}"}]))
        self.write("src/base/error.cpp", "bool f(int a) { return a == a; }\n")
        run = self.run_check("clang_tidy", self.root)
        self.assertEqual(run.returncode, 1)
        self.assertIn("misc-redundant-expression", run.stdout)
        self.write("src/base/error.cpp", "bool f(int a) { return a == 1; }\n")
        self.assertIn("1 files checked", self.run_check("clang_tidy", self.root).stdout)
        self.assertIn("0 files checked", self.run_check("clang_tidy", self.root).stdout)

    def test_a_changed_header_forgets_its_includers(self):
        def of(name):
            return clang_tidy.content_hash(self.root, Path(name), "g++", b"checks", {})

        before = {name: of(name) for name in ("src/comm/rank.cpp", "src/app/main.cpp")}
        self.write("src/base/error.hpp", "#pragma once\n")
        self.assertNotEqual(of("src/comm/rank.cpp"), before["src/comm/rank.cpp"])
        self.assertEqual(of("src/app/main.cpp"), before["src/app/main.cpp"])

    def test_skipping_is_a_failure_where_everything_was_promised(self):
        environment = dict(os.environ)
        self.addCleanup(lambda: (os.environ.clear(), os.environ.update(environment)))
        for required, promised, code in (("0", True, tree.SKIPPED), ("1", True, 1), ("1", False, tree.SKIPPED)):
            os.environ["QSWEEP_REQUIRE_ALL"] = required
            with self.assertRaises(SystemExit) as end, contextlib.redirect_stdout(io.StringIO()):
                tree.skip("no tool", promised)
            self.assertEqual(end.exception.code, code)


if __name__ == "__main__":
    unittest.main()
