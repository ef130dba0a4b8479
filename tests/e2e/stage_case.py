"""What the tests of staging share: a hub with the miniature, publishers with small datasets, a private cache."""

import io
import json
import os
import pathlib
import subprocess
import tarfile
import unittest
import zipfile

import harness
import stage_server
from stage_server import COMMIT, Site, sha256

MINIATURE = harness.ROOT / "data/mini-phi3"
MODEL = "tiny/mini-phi3"
TOKEN = "hf_THISISASECRETOFTHETESTS"
FILES = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")

STUDY = """study: staged
model: tiny/mini-phi3
repeats: 1
noise_floor: false
sentinel: 0
configs: {A: {}}
workloads:
  profile: {prompt: 8, output: 2}
  perplexity: {data: wikitext2, window: 64, stride: 32, max_tokens: 256}
"""

WIKITEXT = " \n = Title = \n \n A first paragraph of words , with a comma . \n A second line , \u00e9 too . \n" * 20


def zip_of(members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return out.getvalue()


def tar_of(entries):
    """A .tar.gz of (TarInfo, bytes or None)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for info, body in entries:
            if body is not None:
                info.size = len(body)
            archive.addfile(info, io.BytesIO(body) if body is not None else None)
    return out.getvalue()


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


class StageCase(harness.Case):
    @classmethod
    def setUpClass(cls):
        if "libarchive" not in subprocess.run(["ldd", harness.QSWEEP], capture_output=True, text=True).stdout:
            raise unittest.SkipTest("this build has no staging: libcurl or libarchive is missing")

    def setUp(self):
        super().setUp()
        self.hub, self.cdn = Site(), Site()
        self.addCleanup(self.hub.close)
        self.addCleanup(self.cdn.close)
        self.files = {name: (MINIATURE / name).read_bytes() for name in FILES}
        self.files["README.md"] = b"not needed"
        self.files["pytorch_model.bin"] = b"not needed either"
        self.hub.add_repository(MODEL, self.files, cdn=self.cdn)
        self.wikitext = zip_of({"wikitext-2-raw/wiki.test.raw": WIKITEXT, "wikitext-2-raw/readme": "x"})
        self.hub.add("/wikitext.zip", self.wikitext, ETag='"w1"')
        self.sources = {"wikitext2_raw": {
            "url": self.hub.url + "/wikitext.zip", "licence": "CC BY-SA 3.0", "format": "zip",
            "sha256": sha256(self.wikitext), "bytes": len(self.wikitext),
            "files": {"wikitext2": {"member": "wikitext-2-raw/wiki.test.raw", "as": "rows"}}}}
        self.runs = self.out / "it's runs"  # a command that is told must be quoted
        self.hf, self.data = self.out / "hf", self.out / "datasets"
        self.path = self.study(STUDY)
        self.variables = {
            "HF_HOME": self.hf, "HF_ENDPOINT": self.hub.url, "HF_TOKEN": TOKEN, "QSWEEP_DATA": self.data,
            "QSWEEP_DATASETS": self.out / "list.yaml", "QSWEEP_HTTP_BACKOFF_MS": "20", "QSWEEP_HTTP_STALL_S": "1",
            "QSWEEP_HTTP_TRIES": "3", "no_proxy": "127.0.0.1", "HOME": self.out}
        self.write_list()

    def write_list(self):
        # JSON is YAML.
        (self.out / "list.yaml").write_text(json.dumps({"sources": self.sources}, indent=1))

    def environment(self, **more):
        env = harness.environment(1)
        for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE", "XDG_CACHE_HOME", "http_proxy", "https_proxy", "HTTPS_PROXY",
                     "all_proxy", "ALL_PROXY", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
            env.pop(name, None)
        env.update({name: str(value) for name, value in {**self.variables, **more}.items()})
        return env

    def command(self, *options, tag="t"):
        return [str(harness.QSWEEP), str(self.path), "--out", str(self.runs), "--run-tag", tag, *options]

    def start(self, *options, tag="t", **variables):
        return subprocess.Popen(self.command(*options, tag=tag), env=self.environment(**variables), cwd=harness.ROOT,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)

    def qsweep(self, *options, expect=0, says=(), tag="t", before=(), **variables):
        done = subprocess.run([*before, *self.command(*options, tag=tag)], env=self.environment(**variables),
                              cwd=harness.ROOT, timeout=harness.TIMEOUT_S, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode, expect, done.stdout)
        self.assertNotIn(TOKEN, done.stdout)
        self.assertNotIn("signature=secret", done.stdout)
        for words in says:
            self.assertIn(words, done.stdout)
        return done.stdout

    def prep(self, **options):
        return self.qsweep("--prep-only", **options)

    @property
    def repository(self):
        return self.hf / "hub" / ("models--" + MODEL.replace("/", "--"))

    @property
    def snapshot(self):
        return self.repository / "snapshots" / COMMIT

    def resolve_path(self, file, commit=COMMIT):
        return f"/{MODEL}/resolve/{commit}/{file}"

    @property
    def weights_path(self):
        return f"/blobs/{sha256(self.files['model.safetensors'])}?signature=secret"

    def assert_staged(self):
        for name in FILES:
            link = self.snapshot / name
            self.assertTrue(link.is_symlink(), name)
            body = self.files[name]
            large = len(body) > 100000
            etag = sha256(body) if large else stage_server.git_sha1(body)
            self.assertEqual(os.readlink(link), f"../../blobs/{etag}")
            self.assertEqual(link.read_bytes(), body, name)
        self.assertEqual((self.repository / "refs/main").read_text(), COMMIT)
        self.assertFalse((self.snapshot / "README.md").exists())
        rows = [json.loads(line)["text"] for line in (self.data / "wikitext2.jsonl").read_text().splitlines()]
        self.assertEqual("".join(row or " \n" for row in rows), WIKITEXT)
        self.assertEqual(list(self.out.rglob("*.incomplete")) + list(self.out.rglob("*.part")), [])

    def assert_no_model(self):
        self.assertFalse((self.snapshot / "config.json").exists())
        self.assertFalse((self.repository / "refs/main").exists())

    def assert_no_dataset(self):
        self.assertEqual([path.name for path in self.data.glob("*") if path.suffix in (".jsonl", ".json")], [])
