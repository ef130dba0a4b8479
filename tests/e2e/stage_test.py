"""--prep-only against a private hub and private publishers: what is staged, what it costs again, and a sweep on it
without any network."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import time
import unittest

import harness
import stage_case
from stage_case import COMMIT, FILES, MODEL, TOKEN, lines, sha256, zip_of
from stage_server import git_sha1

MODEL_FILES = 5


# Brings the loopback of a new namespace up, for ranks that talk to each other, and becomes the command.
LOOPBACK = """import fcntl, os, socket, struct, sys
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh14x", b"lo", 0x41))
os.execvp(sys.argv[1], sys.argv[1:])"""


def permitted(*words):
    return shutil.which(words[0]) and subprocess.run([*words, "true"], capture_output=True).returncode == 0


def without_network():
    """The words before a command that give it a network namespace of its own, or None where that is not permitted."""
    for words in (["unshare", "-n"], ["unshare", "-r", "-n"]):
        if permitted(*words):
            return [*words, sys.executable, "-c", LOOPBACK]
    return None


class Stage(stage_case.StageCase):
    def test_everything_is_staged_and_told(self):
        output = self.prep(says=["to download:", "free in", "downloaded:", f"model {MODEL} (commit 0123456789ab)",
                                 "dataset wikitext2_raw (CC BY-SA 3.0)"])
        self.assert_staged()
        size = sum(len(self.files[name]) for name in FILES) + len(self.wikitext)
        self.assertIn(f"to download: {size / 1e6:.1f} MB", output)
        folder = self.runs / "staged/t"
        model = json.loads((folder / "manifests/model.json").read_text())
        self.assertEqual((model["repository"], model["revision"], model["commit"]), (MODEL, "main", COMMIT))
        self.assertEqual(model["folder"], str(self.snapshot))
        for entry in model["files"]:
            body = self.files[entry["name"]]
            self.assertEqual((entry["size"], entry["sha256"]), (len(body), sha256(body)))
        self.assertEqual({entry["name"] for entry in model["files"]}, set(FILES))
        datasets = json.loads((folder / "manifests/datasets.json").read_text())
        source = datasets["sources"]["wikitext2_raw"]
        self.assertEqual((source["sha256"], source["trust"], source["bytes"]),
                         (sha256(self.wikitext), "pinned", len(self.wikitext)))
        self.assertEqual(datasets["texts"]["wikitext2"]["path"], str(self.data / "wikitext2.jsonl"))
        for name in ("configs/resolved.yaml", "configs/study.yaml", "manifests/env_info.json", "manifests/plan.json"):
            self.assertTrue((folder / name).exists(), name)
        for path in filter(lambda path: path.is_file(), self.out.rglob("*")):
            self.assertNotIn(TOKEN.encode(), path.read_bytes(), path)
        for site, own in ((self.hub, True), (self.cdn, False)):
            for _, path, headers in site.requests():
                given = headers.get("Authorization")
                self.assertEqual(given, f"Bearer {TOKEN}" if own and path != "/wikitext.zip" else None, path)

    def test_again_is_a_matter_of_seconds_and_of_one_question(self):
        self.prep()
        for site in (self.hub, self.cdn):
            site.forget()
        began = time.monotonic()
        self.prep(says=["nothing to download", "needed: 2 items, 2 here"])
        self.assertLess(time.monotonic() - began, 10)
        self.assertEqual([path for _, path, _ in self.hub.requests()], [f"/api/models/{MODEL}/revision/main"])
        self.assertEqual(self.cdn.requests(), [])
        pinned = ("--set", f"model={MODEL}@{COMMIT}")
        self.hub.forget()
        self.prep(tag="p", says=["nothing to download"])
        self.qsweep("--prep-only", *pinned, tag="q", says=["nothing to download"])
        self.assertEqual(len(self.hub.requests()), 1)
        self.hub.close()
        self.qsweep("--prep-only", *pinned, tag="q", says=["nothing to download"])
        self.prep(says=["note: the hub could not say", "nothing to download"])
        self.prep(HF_HUB_OFFLINE="1", says=["nothing to download"])

    def test_a_new_commit_shares_what_did_not_change(self):
        self.prep()
        commit = "f" * 40
        self.files["generation_config.json"] = b'{"temperature": 0.5}'
        self.hub.add_repository(MODEL, self.files, commit=commit, cdn=self.cdn)
        self.cdn.forget()
        self.prep(tag="new")
        self.assertEqual(self.cdn.requests(), [])
        self.assertEqual((self.repository / "refs/main").read_text(), commit)
        self.assertEqual((self.repository / "snapshots" / commit / "generation_config.json").read_bytes(),
                         self.files["generation_config.json"])
        self.assertTrue((self.snapshot / "config.json").exists())

    def test_run_after_prep_without_a_route(self):
        words = without_network()
        if words is None:
            raise unittest.SkipTest("no network namespace may be made here (unshare -n)")
        told = self.qsweep(expect=2, before=words, says=["not staged: model tiny/mini-phi3, dataset wikitext2_raw"])
        self.assertFalse(self.runs.exists())
        command = re.search(r"on a login node, run: (.*)", told).group(1)
        done = subprocess.run(shlex.split(command), env=self.environment(), cwd=harness.ROOT, capture_output=True,
                              text=True, timeout=harness.TIMEOUT_S)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.qsweep(before=words)
        self.qsweep(tag="offline", before=words, HF_HUB_OFFLINE="1")
        online = self.qsweep(tag="online", HF_ENDPOINT=self.hub.url)
        self.assertIn("2 runs", online)
        self.qsweep(tag="ranks", before=[*words, "mpirun", "-n", "2"])
        first = harness.quality(self.runs / "staged/t")
        self.assertEqual(len(first), 2)
        for tag in ("offline", "online", "ranks"):
            self.assertEqual(harness.quality(self.runs / "staged" / tag), first)

    def test_the_sweep_opens_no_socket(self):
        if not permitted("strace", "-o", "/dev/null"):
            raise unittest.SkipTest("strace is not installed, or may not look at processes here")
        self.prep()
        trace = self.out / "trace"
        self.qsweep(before=["strace", "-f", "-qq", "-e", "trace=socket,connect", "-o", str(trace)])
        self.assertEqual([line for line in trace.read_text().splitlines() if "AF_INET" in line], [])
        self.hub.forget()
        # The same eyes see the sockets of prep.
        self.qsweep("--prep-only", before=["strace", "-f", "-qq", "-e", "trace=socket,connect", "-o", str(trace)])
        self.assertIn("AF_INET", trace.read_text())

    def test_tokens_are_staged_read_and_proved(self):
        self.assertIn("tokenized: 1 text", self.prep())
        self.assertNotIn("tokenized", self.prep(tag="again"))
        (file,) = (self.data / "tokens").iterdir()
        sound = file.read_bytes()
        head, _, rest = sound.partition(b"\n")
        self.assertEqual(json.loads(head)["tokens"] * 4, len(rest) - 64)
        self.assertEqual(sha256(sound[:-64]), sound[-64:].decode())
        self.qsweep()
        quality = harness.quality(self.runs / "staged/t")
        # Damage is seen, and the text tokenized again.
        file.write_bytes(sound[:100] + b"x" + sound[101:])
        self.qsweep(tag="damaged")
        self.assertEqual(harness.quality(self.runs / "staged/damaged"), quality)
        # Other tokens with a right seal change the result: they are what is read.
        other = head + b"\n" + rest[4:-64] + rest[:4]
        file.write_bytes(other + sha256(other).encode())
        self.qsweep(tag="other")
        self.assertNotEqual(harness.quality(self.runs / "staged/other"), quality)

    def test_one_rank_stages_for_all(self):
        self.qsweep("--prep-only", before=["mpirun", "-n", "2"], says=["downloaded:"])
        self.assert_staged()
        self.assertEqual(len(self.hub.requests("GET", "/wikitext.zip")), 1)
        self.assertEqual(len(self.hub.requests("GET", f"/api/models/{MODEL}/revision/main")), 1)

    def test_offline_prep_of_what_is_missing(self):
        self.prep(expect=2, HF_HUB_OFFLINE="1", says=["HF_HUB_OFFLINE is set", MODEL, "wikitext2_raw"])
        self.assertEqual(self.hub.requests(), [])

    def test_sharers_and_fusers(self):
        for name in ("tiny/receiver", "tiny/sharer-0.5B-Instruct"):
            self.hub.add_repository(name, self.files)
        weights = {"a_x+sharer_0.5b_Fuser/final/projector_0.pt": b"other"}
        wanted = {"receiver+sharer_0.5b_Fuser/final/projector_0.pt": b"p" * 1000,
                  "receiver+sharer_0.5b_Fuser/final/projector_0.json": b"{}"}
        self.hub.add_repository("tiny/fuser", {**weights, **wanted, "README.md": b"x"})
        self.path = self.study(
            "study: staged\nmodel: tiny/receiver\nconfigs:\n  A: {}\n  B: {sharer: {model: tiny/sharer-0.5B-Instruct, "
            "fuser: tiny/fuser}}\nworkloads: {profile: {prompt: 8, output: 2}}\n")
        self.prep()
        self.prep(HF_HUB_OFFLINE="1", says=["nothing to download", "needed: 3 items, 3 here"])
        snapshot = self.hf / "hub/models--tiny--fuser/snapshots" / COMMIT
        found = {str(path.relative_to(snapshot)): path.read_bytes() for path in snapshot.rglob("*") if path.is_file()}
        self.assertEqual(found, wanted)
        manifest = json.loads((self.runs / "staged/t/manifests/model.json").read_text())
        self.assertEqual({entry["name"] for entry in manifest["others"]}, {"tiny/sharer-0.5B-Instruct", "tiny/fuser"})
        (snapshot / "receiver+sharer_0.5b_Fuser/final/projector_0.pt").unlink()
        self.prep(expect=2, HF_HUB_OFFLINE="1", says=["tiny/fuser"])

    def test_sharded_weights(self):
        index = json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors",
                                           "b": "model-00002-of-00002.safetensors"}}).encode()
        files = {**self.files, "model.safetensors.index.json": index, "model-00001-of-00002.safetensors": b"1" * 10,
                 "model-00002-of-00002.safetensors": b"2" * 20, "consolidated.safetensors": b"3"}
        del files["model.safetensors"]
        self.hub.add_repository("tiny/sharded", files)
        self.path = self.study("study: staged\nmodel: tiny/sharded\nconfigs: {A: {}}\n"
                               "workloads: {profile: {prompt: 8, output: 2}}\n")
        # Everything is brought; that these shards are no weights is then told by their reader.
        self.prep(expect=2, says=["downloaded:", "model-00001-of-00002.safetensors"])
        snapshot = self.hf / "hub/models--tiny--sharded/snapshots" / COMMIT
        self.assertEqual((snapshot / "model-00002-of-00002.safetensors").read_bytes(), b"2" * 20)
        self.assertFalse((snapshot / "consolidated.safetensors").exists())

    def test_repositories_that_lack_something(self):
        for lacking in ("config.json", "tokenizer.json", "model.safetensors"):
            self.hub.add_repository(MODEL, {k: v for k, v in self.files.items() if k != lacking})
            words = "weights in safetensors" if lacking.startswith("model") else lacking
            self.prep(expect=2, says=["cannot be staged", words])
            self.assert_no_model()

    def test_a_damaged_blob_is_found(self):
        self.prep()
        blob = (self.snapshot / "model.safetensors").resolve()
        body = bytearray(blob.read_bytes())
        body[-1] ^= 1
        blob.write_bytes(body)
        self.qsweep(tag="new", expect=2, says=["model.safetensors is damaged", "stage again"])
        blob.unlink()
        self.prep()
        self.assert_staged()


class Datasets(stage_case.StageCase):
    """Every conversion, from files in their publishers' form."""

    def setUp(self):
        super().setUp()
        science = lines({"id": "q1", "question": {"stem": "Which?", "choices": [
            {"text": "one", "label": "1"}, {"text": "two", "label": "2"}, {"text": "three", "label": "3"}]},
            "answerKey": "2"})
        self.science = science
        self.zip = zip_of({"ARC/corpus.txt": bytes(1) * 3000000, "ARC/test.jsonl": science, "ARC/train.jsonl": science * 2})
        squad = json.dumps({"version": "1.1", "data": [{"title": "T", "paragraphs": [{"context": "A context.", "qas": [
            {"id": "s1", "question": "What?", "answers": [{"text": "context", "answer_start": 2}] * 2}]}]}]}).encode()
        self.plain("hellaswag", "hellaswag", lines({
            "ind": 24, "activity_label": "Roof", "ctx_a": "A man", "ctx_b": "he", "ctx": "A man he", "split": "val",
            "endings": ["a", "b [x]", "c", "d"], "label": 3, "source_id": "s"}))
        self.plain("gsm8k", "gsm8k", lines({"question": "How many?", "answer": "1+1=<<1+1=2>>2\n#### 2"}))
        self.plain("lambada_openai", "lambada", lines({"text": "the last word is here"}))
        self.plain("squad", "squad", squad)
        self.hub.add("/arc.zip", self.zip)
        self.sources["arc"] = {
            "url": self.hub.url + "/arc.zip", "licence": "CC BY-SA 4.0", "format": "zip", "in_parts": True,
            "files": {"arc_challenge": {"member": "ARC/test.jsonl", "as": "choice", "sha256": sha256(science)},
                      "arc_challenge_train": {"member": "ARC/train.jsonl", "as": "choice"}}}
        self.write_list()
        self.path = self.study(
            "study: staged\nmodel: none\nconfigs: {A: {}}\nworkloads:\n  synthetic: {seconds: 0.001}\n")

    def plain(self, name, conversion, body):
        self.hub.add(f"/{name}", body)
        self.sources[name] = {"url": self.hub.url + f"/{name}", "licence": "MIT", "format": "plain",
                              "files": {name: {"as": conversion}}}

    def with_tasks(self, *names, shots=0):
        self.path = self.study(
            f"study: staged\nmodel: {stage_case.MINIATURE}\nconfigs: {{A: {{}}}}\n"
            f"workloads:\n  profile: {{prompt: 8, output: 2}}\n"
            f"  tasks: {{names: [{', '.join(names)}], shots: {shots}}}\n")

    def rows(self, name):
        return [json.loads(line) for line in (self.data / f"{name}.jsonl").read_text().splitlines()]

    def test_all_conversions(self):
        self.with_tasks("hellaswag", "arc_challenge", "gsm8k", "lambada_openai", "squad", "choice", "arithmetic")
        self.prep()
        self.assertEqual(self.rows("hellaswag"), [{
            "id": "hellaswag-24", "activity": "Roof", "ctx_a": "A man", "ctx_b": "he",
            "choices": ["a", "b [x]", "c", "d"], "answer": 3}])
        self.assertEqual(self.rows("gsm8k"), [{"id": "gsm8k-0", "question": "How many?",
                                               "answer": "1+1=<<1+1=2>>2\n#### 2"}])
        self.assertEqual(self.rows("lambada_openai"), [{"id": "lambada_openai-0", "text": "the last word is here"}])
        self.assertEqual(self.rows("squad"), [{"id": "s1", "title": "T", "context": "A context.", "question": "What?",
                                               "answers": ["context"] * 2, "starts": [2, 2]}])
        choice = {"id": "q1", "question": "Which?", "choices": ["one", "two", "three"], "answer": 1}
        self.assertEqual(self.rows("arc_challenge"), [choice])
        self.assertEqual(self.rows("arc_challenge_train"), [choice] * 2)
        manifest = json.loads((self.data / "gsm8k.manifest.json").read_text())
        self.assertEqual((manifest["trust"], manifest["licence"]), ("first use", "MIT"))
        # Only ranges of the archive were asked for, and not its corpus.
        asked = [headers.get("Range") for _, _, headers in self.hub.requests("GET", "/arc.zip")]
        self.assertNotIn(None, asked)
        self.hub.forget()
        self.prep(says=["nothing to download"])
        self.assertEqual(self.hub.requests(), [])

    def test_unknown_names_are_told(self):
        self.with_tasks("open_maths", "gsm8k", shots=4)
        self.prep(says=["knows no dataset 'open_maths'", "knows no dataset 'gsm8k_train'"])

    def test_trust_on_first_use(self):
        self.with_tasks("gsm8k")
        self.prep()
        (self.data / "gsm8k.jsonl").unlink()
        self.prep(tag="same")
        (self.data / "gsm8k.jsonl").write_text("{}\n")
        self.hub.add("/gsm8k", lines({"question": "Another?", "answer": "#### 3"}))
        self.prep(expect=1, says=["has changed since it was first staged", "gsm8k.manifest.json"])
        (self.data / "gsm8k.manifest.json").unlink()
        self.prep()
        self.assertEqual(self.rows("gsm8k")[0]["answer"], "#### 3")

    def test_the_next_address_serves_where_the_first_does_not(self):
        self.sources["gsm8k"]["url"] = [self.cdn.url + "/gone", self.hub.url + "/gsm8k"]
        self.write_list()
        self.with_tasks("gsm8k")
        self.prep()
        self.sources["gsm8k"]["url"] = [self.cdn.url + "/gone", self.cdn.url + "/gone_too"]
        self.write_list()
        (self.data / "gsm8k.jsonl").unlink()
        self.prep(expect=2, says=["/gone", "/gone_too", "404"])

    def test_texts_that_are_not_what_they_should_be(self):
        good = {"question": {"stem": "Which?", "choices": [{"text": "one", "label": "A"}]}, "id": "q", "answerKey": "A"}
        for name, conversion, body, words in (
                ("gsm8k", "gsm8k", lines({"question": "x"}), "gsm8k:1: no usable 'answer'"),
                ("gsm8k", "gsm8k", lines({"question": "x", "answer": "no result"}), "an answer without a result"),
                ("gsm8k", "gsm8k", b"<html>login</html>\n", "gsm8k:1: not valid JSON"),
                ("gsm8k", "gsm8k", b"\n\n", "nothing in it"),
                ("gsm8k", "gsm8k", b"[" * 100000, "nested too deeply"),
                ("gsm8k", "gsm8k", b'{"question": "\xff", "answer": "#### 1"}', "not valid JSON"),
                ("gsm8k", "choice", lines(good), "no usable choices"),
                ("gsm8k", "choice", lines({**good, "answerKey": "B"}), "no usable choices"),
                ("gsm8k", "rows", b"\xff\xfe", "no UTF-8"),
                ("gsm8k", "squad", b'{"data": [{"title": "T", "paragraphs": [{"context": 1}]}]}', "data[0]"),
                ("gsm8k", "hellaswag", lines({"endings": [1]}), "a choice is no text")):
            with self.subTest(words=words):
                self.plain(name, conversion, body)
                self.write_list()
                self.with_tasks("gsm8k")
                self.prep(expect=2, says=[words])
                self.assert_no_dataset()

    def test_faults_of_the_list_are_told_at_once(self):
        self.with_tasks("gsm8k")
        (self.out / "list.yaml").write_text(
            "sources:\n  a: {url: ftp://x, licence: MIT, format: zip, sha256: 12, files: {gsm8k: {as: gsm}}}\n"
            "  b: {url: 'http://x/y', format: rar, lic: 1, files: {a/b: {as: rows, member: x}}}\n")
        output = self.prep(expect=2, says=["list.yaml:2", "list.yaml:3", "no address", "no SHA-256", "gsm8k.as", "lic"])
        self.assertGreaterEqual(output.count("list.yaml:"), 6)
        self.prep(expect=1, QSWEEP_DATASETS=self.out / "nowhere.yaml")

    def test_a_sweep_needs_no_list(self):
        self.with_tasks("gsm8k")
        nowhere = self.out / "nowhere.yaml"
        self.prep(expect=1, QSWEEP_DATASETS=nowhere, says=["nowhere.yaml"])
        self.qsweep(QSWEEP_DATASETS=nowhere)
        manifest = json.loads((self.runs / "staged/t/manifests/datasets.json").read_text())
        self.assertIn("nowhere.yaml", manifest["problem"])

    def test_a_text_of_ones_own_goes_first(self):
        self.data.mkdir()
        (self.data / "wikitext2.txt").write_text("my own text " * 100)
        self.path = self.study(stage_case.STUDY.replace(MODEL, str(stage_case.MINIATURE)))
        self.prep()
        self.assertEqual(self.hub.requests(), [])


class HubTools(stage_case.StageCase):
    """The hub's own Python library on the same cache, both ways."""

    def setUp(self):
        super().setUp()
        try:
            import huggingface_hub  # noqa: F401
        except ImportError:
            raise unittest.SkipTest("huggingface_hub is not installed") from None

    def python(self, code, **variables):
        done = subprocess.run([sys.executable, "-c", code], env=self.environment(HF_HUB_DISABLE_XET="1",
                              HF_HUB_DISABLE_TELEMETRY="1", **variables), capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def test_what_we_staged_it_finds(self):
        self.prep()
        self.hub.close()
        found = self.python(f"from huggingface_hub import snapshot_download as s\nprint(s({MODEL!r}))", HF_HUB_OFFLINE="1")
        self.assertEqual(found, str(self.snapshot))
        code = ("from huggingface_hub import try_to_load_from_cache as t, _CACHED_NO_EXIST as n\n"
                f"print(t({MODEL!r}, 'model.safetensors'), t({MODEL!r}, 'merges.txt') is n)")
        self.assertEqual(self.python(code), f"{self.snapshot / 'model.safetensors'} True")

    def test_what_it_downloaded_serves_without_the_hub(self):
        names = [name for name in FILES if name not in ("tokenizer_config.json", "generation_config.json")]
        self.python(f"from huggingface_hub import hf_hub_download as d\nfor n in {names!r}: d({MODEL!r}, n)")
        self.path = self.study("study: staged\nmodel: tiny/mini-phi3\nconfigs: {A: {}}\n"
                               "workloads: {profile: {prompt: 8, output: 2}}\n")
        self.hub.close()
        self.prep(HF_HUB_OFFLINE="1", says=["nothing to download"])
        self.prep(says=["note: the hub could not say", "nothing to download"])

    def test_what_it_downloaded_we_use(self):
        names = [name for name in FILES if name != "tokenizer_config.json"]
        self.python(f"from huggingface_hub import hf_hub_download as d\nfor n in {names!r}: d({MODEL!r}, n)")
        self.hub.forget()
        self.prep()
        self.assertEqual([path for method, path, _ in self.hub.requests("GET") if "/resolve/" in path],
                         [self.resolve_path("tokenizer_config.json")])
        self.hub.close()
        for name in FILES:
            self.assertEqual((self.snapshot / name).read_bytes(), self.files[name])
        self.assertEqual(git_sha1(self.files["config.json"]), (self.snapshot / "config.json").resolve().name)


if __name__ == "__main__":
    harness.main()
