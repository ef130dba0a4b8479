"""Staging where something goes wrong: servers that break off, stall, lie, refuse or redirect, archives that are
hostile, two preps at once, and a kill in the middle. What was half there is never taken for whole."""

import contextlib
import os
import shutil
import signal
import ssl
import subprocess
import tarfile
import threading
import time
import unittest

import harness
import stage_case
from stage_case import COMMIT, MODEL, TOKEN, lines, sha256, tar_of, zip_of
from stage_server import Site, breaks_off, drips, endless, says, stalls, wrong_bytes, wrong_length

HALF = 3_000_000


class Servers(stage_case.StageCase):
    def weights_requests(self):
        return [headers.get("Range") for _, _, headers in self.cdn.requests("GET", self.weights_path)]

    def test_a_broken_download_goes_on(self):
        self.cdn.fail(self.weights_path, breaks_off(HALF), breaks_off(1000))
        self.hub.fail("/wikitext.zip", breaks_off(100))
        self.prep()
        self.assert_staged()
        self.assertEqual(self.weights_requests(), [None, f"bytes={HALF}-", f"bytes={HALF + 1000}-"])
        self.assertEqual(self.hub.requests("GET", "/wikitext.zip")[1][2]["Range"], "bytes=100-")

    def test_a_stall_is_given_up_and_goes_on(self):
        self.cdn.fail(self.weights_path, stalls(HALF))
        began = time.monotonic()
        self.prep()
        self.assertLess(time.monotonic() - began, 20)
        self.assert_staged()
        self.assertEqual(self.weights_requests()[1], f"bytes={HALF}-")

    def test_a_server_that_always_stalls(self):
        self.hub.fail("/wikitext.zip", stalls(100, times=0))
        self.prep(expect=1, says=["/wikitext.zip", "nothing came for 1.0 s", "tried 3 times"])
        self.assert_no_dataset()
        self.hub.fail("/wikitext.zip", drips())
        self.prep(expect=1, QSWEEP_HTTP_TRIES="1", says=["/wikitext.zip", "tried 1 times"])
        self.assert_no_dataset()
        self.hub.faults.clear()
        self.prep()
        self.assert_staged()

    def test_a_server_without_ranges(self):
        for path in (self.weights_path, "/wikitext.zip"):
            site = self.cdn if path == self.weights_path else self.hub
            site.resources[path].ranges = False
            site.fail(path, breaks_off(1000))
        self.prep()
        self.assert_staged()

    def test_an_unpinned_file_that_changes_in_the_middle(self):
        body = lines(*({"question": f"How many of {n}?", "answer": f"#### {n}"} for n in range(5000)))
        self.sources["gsm8k"] = {"url": self.hub.url + "/gsm8k", "licence": "MIT", "format": "plain",
                                 "files": {"gsm8k": {"as": "gsm8k"}}}
        self.write_list()
        self.path = self.study(stage_case.STUDY + "  tasks: [gsm8k]\n")
        self.hub.add("/gsm8k", body, ETag='"old"')
        newer = lines(*({"question": "Changed?", "answer": f"#### {n}"} for n in range(5000)))

        def breaks_off_and_changes(handler, sent, status, headers):
            breaks_off(1000).play(handler, sent, status, headers)
            self.hub.add("/gsm8k", newer, ETag='"new"')
        self.hub.fail("/gsm8k", breaks_off(1))
        self.hub.faults[("GET", "/gsm8k")][0].play = breaks_off_and_changes
        self.prep()
        asked = [headers.get("If-Range") for _, _, headers in self.hub.requests("GET", "/gsm8k")]
        self.assertEqual(asked, [None, '"old"'])
        text = (self.data / "gsm8k.jsonl").read_text()
        self.assertEqual(text.count("Changed?"), 5000)
        self.assertEqual(len(text.splitlines()), 5000)

    def test_wrong_bytes(self):
        self.cdn.fail(self.weights_path, wrong_bytes(times=0))
        self.prep(expect=1, says=["wrong content from", "its hash is not", "nothing of it is used"])
        self.assert_no_model()
        self.assertEqual(len(self.weights_requests()), 2)
        shutil.rmtree(self.hf)
        self.hub.fail(self.resolve_path("config.json"), wrong_bytes(times=0))
        self.cdn.fail(self.weights_path, wrong_bytes())  # once: asked again
        self.prep(expect=1, says=["config.json", "its hash is not"])
        self.assert_no_model()
        self.hub.faults.clear()
        self.hub.fail("/wikitext.zip", wrong_bytes(times=0))
        shutil.rmtree(self.data)
        self.prep(expect=1, says=["/wikitext.zip", "its hash is not"])
        self.assert_no_dataset()
        self.hub.faults.clear()
        self.prep()
        self.assert_staged()

    def test_wrong_length(self):
        for change, path in ((-5, self.weights_path), (5, self.weights_path)):
            self.cdn.fail(path, wrong_length(change))
            self.prep(expect=1, says=["wrong length"])
            self.assert_no_model()
        self.cdn.fail(self.weights_path, endless())
        self.prep(expect=1, says=["it is longer than the"])
        self.assert_no_model()
        self.hub.fail("/wikitext.zip", endless())
        shutil.rmtree(self.data)
        self.prep(expect=1, says=["/wikitext.zip", "it is longer than the"])
        self.assert_no_dataset()

    def test_answers_of_refusal(self):
        question = f"/api/models/{MODEL}/revision/main"
        for status, words in ((401, "the token does not open it"), (403, "the token does not open it"),
                              (404, "the hub does not show revision main")):
            self.hub.fail(question, says(status, times=0, x_error_message="gone \033[31mred"))
            output = self.prep(expect=2, says=[words, f"answered {status}", "gone ?[31mred"])
            self.assertNotIn("\033", output)
        self.hub.fail(question, says(401, times=0))
        self.prep(expect=2, HF_TOKEN="", says=["set HF_TOKEN"])
        self.hub.faults.clear()
        self.cdn.fail(self.weights_path, says(403, times=0))
        self.prep(expect=2, says=["answered 403"])
        self.assert_no_model()

    def test_busy_servers(self):
        question = f"/api/models/{MODEL}/revision/main"
        self.hub.fail(question, says(429, Retry_After="1"), says(503))
        self.cdn.fail(self.weights_path, says(500), says(504))
        self.hub.fail("/wikitext.zip", says(408))
        began = time.monotonic()
        self.prep()
        self.assertGreater(time.monotonic() - began, 1)
        self.assert_staged()
        self.assertEqual(len(self.hub.requests("GET", question)), 3)
        self.hub.fail("/wikitext.zip", says(502, times=0))
        shutil.rmtree(self.data)
        self.prep(expect=1, says=["answered 502", "tried 3 times"])
        self.assert_no_dataset()

    def test_a_proxy_is_asked(self):
        self.hub.add_repository(MODEL, self.files)
        self.sources["wikitext2_raw"]["url"] = "http://publisher.invalid/wikitext.zip"
        self.write_list()
        self.prep(HF_ENDPOINT="http://hub.invalid", http_proxy=self.hub.url, no_proxy="")
        self.assert_staged()
        asked = {headers["Host"] for _, _, headers in self.hub.requests()}
        self.assertEqual(asked, {"hub.invalid", "publisher.invalid"})

    def test_nobody_listens(self):
        self.cdn.close()
        self.hub.close()
        self.prep(expect=1, says=["cannot download", self.hub.url, "tried 3 times"])

    def test_redirects(self):
        self.hub.fail("/wikitext.zip", says(302, times=0, Location="/wikitext.zip"))
        self.prep(expect=1, says=["too many redirects"])
        self.assertEqual(len(self.hub.requests("GET", "/wikitext.zip")), 6)
        for target in ("file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/"):
            self.hub.fail("/wikitext.zip", says(302, times=0, Location=target))
            self.prep(expect=2, says=["not an address to download from"])
        # Another port is another server: it gets no token, whatever redirects there.
        other = Site()
        self.addCleanup(other.close)
        question = f"/api/models/{MODEL}/revision/main"
        other.resources[question] = self.hub.resources[question]
        self.hub.fail(question, says(307, times=0, Location=other.url + question))
        self.hub.fail("/wikitext.zip", says(301, times=0, Location=self.hub.url + "/moved.zip"))
        self.hub.add("/moved.zip", self.wikitext)
        self.prep()
        self.assert_staged()
        self.assertEqual([headers.get("Authorization") for _, _, headers in other.requests()], [None])

    def test_no_way_from_https_to_http(self):
        if not shutil.which("openssl"):
            raise unittest.SkipTest("openssl is not installed")
        key, certificate = self.out / "key.pem", self.out / "certificate.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
                        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate], check=True,
                       capture_output=True)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
        safe = Site(tls)
        self.addCleanup(safe.close)
        safe.add("/wikitext.zip", self.wikitext)
        self.sources["wikitext2_raw"]["url"] = safe.url + "/wikitext.zip"
        self.write_list()
        self.prep(expect=1, says=["certificate"])
        safe.fail("/wikitext.zip", says(302, Location=self.hub.url + "/wikitext.zip"))
        self.prep(expect=1, SSL_CERT_FILE=certificate, says=["it leads from https to http"])
        self.assertEqual(self.hub.requests("GET", "/wikitext.zip"), [])
        self.prep(SSL_CERT_FILE=certificate)
        self.assert_staged()

    def test_a_hub_that_talks_nonsense(self):
        question = f"/api/models/{MODEL}/revision/main"
        for body, words in ((b"<html>", "not valid JSON"), (b'{"sha": "main"}', "no usable 'sha'"),
                            (b'{"sha": "../../../x"}', "no usable 'sha'"), (b"[" * 99999, "nested too deeply"),
                            (b'{"sha": "%s", "siblings": [{"rfilename": 1}]}' % COMMIT.encode(), "rfilename"),
                            (b" " * (17 << 20), "is too large")):
            self.hub.add(question, body)
            output = self.prep(expect=1 if b"sha" in body and b"sib" not in body or len(body) > 1 << 20 else 2)
            self.assertIn(words, output)
        self.hub.add_repository(MODEL, {**self.files, "../escape.json": b"x", "/abs.json": b"x"}, cdn=self.cdn)
        for etag in ("../../escape", "", "a/b", ".."):
            self.hub.resources[self.resolve_path("config.json")].headers["ETag"] = f'"{etag}"'
            self.prep(expect=1, says=["its ETag is no name"])
            self.assert_no_model()
        del self.hub.resources[self.resolve_path("config.json")].headers["ETag"]
        self.hub.resources[self.resolve_path("config.json")].headers.update(ETag='"fine"', X_Linked_Size="9" * 17)
        self.hub.resources[self.resolve_path("config.json")].headers["X-Linked-Size"] = "9" * 17
        self.prep(expect=1, says=["its size is missing or out of range"])
        for variable, value in (("HF_ENDPOINT", "file:///etc"), ("HF_ENDPOINT", "http://x/?a"), ("HF_TOKEN", "a\nb: c"),
                                ("QSWEEP_HTTP_TRIES", "0"), ("QSWEEP_HTTP_STALL_S", "soon")):
            self.prep(expect=2, **{variable: value})


class Archives(stage_case.StageCase):
    def refuse(self, body, words, form="tar.gz"):
        self.hub.add("/hostile", body)
        self.sources = {"wikitext2_raw": {
            "url": self.hub.url + "/hostile", "licence": "none", "format": form,
            "files": {"wikitext2": {"member": "wiki.test.raw", "as": "rows"}}}}
        self.write_list()
        self.prep(expect=2, says=words)
        self.assert_no_dataset()
        self.assertEqual(list(self.data.rglob("*.part")), [])

    def entry(self, name, kind=tarfile.REGTYPE, link=""):
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, link
        return info

    def test_names_and_kinds(self):
        good = (self.entry("wiki.test.raw"), b"a b c\n" * 100)
        for info, body, words in (
                (self.entry("../escape"), b"x", "'../escape' leads out"),
                (self.entry("a/../../escape"), b"x", "leads out"),
                (self.entry("/etc/escape"), b"x", "leads out"),
                (self.entry("a\\..\\escape"), b"x", "leads out"),
                (self.entry("link", tarfile.SYMTYPE, "/etc/passwd"), None, "is a link"),
                (self.entry("link", tarfile.LNKTYPE, "wiki.test.raw"), None, "is a link"),
                (self.entry("null", tarfile.CHRTYPE), None, "is a device"),
                (self.entry("pipe", tarfile.FIFOTYPE), None, "is a device")):
            with self.subTest(words=words, name=info.name):
                self.refuse(tar_of([good, (info, body)]), ["archive refused", words])
        self.refuse(zip_of({"wiki.test.raw": b"a b\n", "../escape": b"x"}), ["leads out"], "zip")
        self.refuse(tar_of([(self.entry("other"), b"x")]), ["has no entry 'wiki.test.raw'"])
        self.refuse(tar_of([good, good]), ["stands twice"])
        self.assertEqual([path for path in self.out.rglob("escape")], [])

    def test_bombs(self):
        zeros = bytes(200 << 20)
        self.refuse(tar_of([(self.entry("zeros"), zeros), (self.entry("wiki.test.raw"), b"a b\n")]), ["unpacks to more"])
        self.refuse(tar_of([(self.entry("wiki.test.raw"), zeros)]), ["unpacks to more"])
        self.refuse(zip_of({"wiki.test.raw": zeros}), ["unpacks to more"], "zip")

    def test_damage(self):
        whole = tar_of([(self.entry("wiki.test.raw"), os.urandom(300000))])
        self.refuse(whole[:200000], ["is damaged"])
        self.refuse(b"no archive at all", ["archive"])
        self.refuse(b"", ["archive"])
        packed = zip_of({"wiki.test.raw": os.urandom(3000)})
        self.refuse(packed[:2000], ["archive"], "zip")
        self.refuse(packed[:1000] + b"\0" * 100 + packed[1100:], ["archive"], "zip")


class Processes(stage_case.StageCase):
    def part_size(self):
        sizes = [0]
        for part in (self.repository / "blobs").glob("*.incomplete"):
            with contextlib.suppress(FileNotFoundError):  # it has just been finished
                sizes.append(part.stat().st_size)
        return max(sizes)

    def wait_for_part(self, before=0):
        deadline = time.monotonic() + 60
        while self.part_size() < before + 300000:
            self.assertLess(time.monotonic(), deadline, "no download began")
            time.sleep(0.01)

    def end(self, process, how, expect, before=0):
        self.wait_for_part(before)
        process.send_signal(how)
        output, _ = process.communicate(timeout=harness.TIMEOUT_S)
        self.assertEqual(process.returncode, expect, output)
        self.assert_no_model()
        return output

    def test_killed_in_the_middle(self):
        self.cdn.chunk_pause = 0.05
        self.end(self.start("--prep-only"), signal.SIGKILL, -signal.SIGKILL)
        self.qsweep(tag="early", expect=2, says=["not staged: model tiny/mini-phi3"])
        self.cdn.chunk_pause = 0
        self.prep()
        self.assert_staged()
        ranges = [headers.get("Range") for _, _, headers in self.cdn.requests("GET", self.weights_path)]
        self.assertIsNone(ranges[0])
        self.assertRegex(ranges[1], r"bytes=\d{6,}-")

    def test_a_signal_ends_it_at_once_and_it_goes_on(self):
        self.cdn.chunk_pause = 0.05
        for how in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            output = self.end(self.start("--prep-only"), how, 75, before=self.part_size())
            self.assertIn("interrupted while staging", output)
        self.cdn.chunk_pause = 0
        self.prep()
        self.assert_staged()

    def test_two_at_once(self):
        self.cdn.chunk_pause = 0.005
        together = [self.start("--prep-only", tag=f"t{n}") for n in range(3)]
        for process in together:
            output, _ = process.communicate(timeout=harness.TIMEOUT_S)
            self.assertEqual(process.returncode, 0, output)
        self.assert_staged()
        self.assertEqual(len(self.cdn.requests("GET", self.weights_path)), 1)
        self.assertEqual(len(self.hub.requests("GET", "/wikitext.zip")), 1)

    def test_one_of_two_is_killed(self):
        self.cdn.chunk_pause = 0.02
        first = self.start("--prep-only", tag="a")
        self.wait_for_part()
        second = self.start("--prep-only", tag="b")
        waiting = []
        reader = threading.Thread(target=lambda: waiting.append(second.communicate(timeout=harness.TIMEOUT_S)[0]))
        reader.start()
        time.sleep(0.5)
        first.kill()
        first.communicate()
        self.cdn.chunk_pause = 0
        reader.join()
        self.assertEqual(second.returncode, 0, waiting)
        self.assertIn("waiting: another process downloads", waiting[0])
        self.assert_staged()
        self.assertNotIn(TOKEN, waiting[0])

    def test_a_full_disk_is_told_before(self):
        body = self.files["model.safetensors"]
        self.hub.resources[self.resolve_path("model.safetensors")].headers["X-Linked-Size"] = str(3 << 40)
        self.prep(expect=1, says=["not enough room", "HF_HOME"])
        self.assertEqual(self.cdn.requests(), [])
        self.assertEqual(len(sha256(body)), 64)


if __name__ == "__main__":
    harness.main()
