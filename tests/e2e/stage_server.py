"""A private HTTP server that plays the hub and the publishers, well-behaved or not as a test wants it."""

import hashlib
import http.server
import json
import re
import threading
import time
import urllib.parse

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CHUNK = 65536


def git_sha1(body):
    return hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()


def sha256(body):
    return hashlib.sha256(body).hexdigest()


class Resource:
    """What a path answers: bytes with headers, or a redirect."""

    def __init__(self, body=b"", status=200, ranges=True, **headers):
        self.body, self.status, self.ranges = body, status, ranges
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(head=True)

    def do_GET(self):
        self.answer(head=False)

    def answer(self, head):
        site = self.server.site
        # A proxy is asked for whole addresses.
        self.path = urllib.parse.unquote(re.sub(r"^http://[^/]*", "", self.path))
        with site.lock:
            site.log.append((self.command, self.path, dict(self.headers)))
            resource = site.resources.get(self.path)
            queue = site.faults.get((self.command, self.path), [])
            fault = queue[0] if queue else None
            if fault and fault.times > 0:
                fault.times -= 1
                if fault.times == 0:
                    queue.pop(0)
        try:
            if resource is None and fault is None:
                return self.send(404, b"no", {}, head)
            body, status, headers = self.cut(resource) if resource else (b"", 200, {})
            if fault:
                return fault.play(self, body, status, headers)
            return self.send(status, body, headers, head)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def cut(self, resource):
        """The part that a Range header asks for."""
        body, status, headers = resource.body, resource.status, dict(resource.headers)
        wanted = self.headers.get("Range")
        if not wanted or not resource.ranges or status != 200:
            return body, status, headers
        condition = self.headers.get("If-Range")
        if condition and condition != headers.get("ETag"):
            return body, status, headers
        begin, _, end = wanted.removeprefix("bytes=").partition("-")
        begin = int(begin)
        end = min(int(end) if end else len(body) - 1, len(body) - 1)
        if begin >= len(body):
            return b"", 416, {}
        headers["Content-Range"] = f"bytes {begin}-{end}/{len(body)}"
        return body[begin:end + 1], 206, headers

    def send_head(self, status, length, headers):
        self.send_response(status)
        if length is not None and "Content-Length" not in headers:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def send(self, status, body, headers, head=False):
        self.send_head(status, len(body), headers)
        if head:
            return
        pause = self.server.site.chunk_pause
        for at in range(0, len(body), CHUNK):
            self.wfile.write(body[at:at + CHUNK])
            if pause:
                time.sleep(pause)

    def hang_up(self):
        self.wfile.flush()
        self.close_connection = True
        self.connection.close()


class Fault:
    """What goes wrong with one path, so many times (0: always)."""

    def __init__(self, play, times=1):
        self.play, self.times = play, times


def breaks_off(after, times=1):
    def play(handler, body, status, headers):
        handler.send_head(status, len(body), headers)
        handler.wfile.write(body[:after])
        handler.hang_up()
    return Fault(play, times)


def stalls(after, seconds=30, times=1):
    def play(handler, body, status, headers):
        handler.send_head(status, len(body), headers)
        handler.wfile.write(body[:after])
        handler.wfile.flush()
        handler.server.site.released.wait(seconds)
        handler.hang_up()
    return Fault(play, times)


def drips(times=0):
    """A byte now and then, and never an end."""
    def play(handler, body, status, headers):
        handler.send_head(status, len(body), headers)
        for at in range(len(body)):
            handler.wfile.write(body[at:at + 1])
            if handler.server.site.released.wait(0.2):
                break
        handler.hang_up()
    return Fault(play, times)


def wrong_bytes(times=1):
    def play(handler, body, status, headers):
        handler.send(status, body[:-1] + bytes([body[-1] ^ 1]), headers)
    return Fault(play, times)


def wrong_length(change, times=0):
    """A body that is longer or shorter than promised elsewhere, with a Content-Length that fits it."""
    def play(handler, body, status, headers):
        handler.send(status, body + b"x" * change if change > 0 else body[:change], headers)
    return Fault(play, times)


def endless(times=0):
    """No length, and bytes without end."""
    def play(handler, body, status, headers):
        handler.send_head(status, None, {**headers, "Connection": "close"})
        try:
            while True:
                handler.wfile.write(b"y" * CHUNK)
        except OSError:
            handler.close_connection = True
    return Fault(play, times)


def says(status, times=1, body=b"", **headers):
    def play(handler, *_):
        handler.send(status, body, {name.replace("_", "-"): value for name, value in headers.items()},
                     handler.command == "HEAD")
    return Fault(play, times)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A client that hangs up, or does not trust the certificate, is what these tests are about."""


class Site:
    """One server on a free port of this machine. As a context manager it stops at the end."""

    def __init__(self, tls=None):
        self.resources, self.faults, self.log = {}, {}, []
        self.lock, self.released, self.chunk_pause = threading.Lock(), threading.Event(), 0
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.site = self
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def close(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()

    def add(self, path, body, **options):
        self.resources[path] = Resource(body, **options)

    def fail(self, path, *faults, method="GET"):
        self.faults[(method, path)] = list(faults)

    def requests(self, method=None, path=None):
        with self.lock:
            return [entry for entry in self.log if method in (None, entry[0]) and path in (None, entry[1])]

    def forget(self):
        with self.lock:
            self.log.clear()

    def add_repository(self, name, files, commit=COMMIT, cdn=None, large=lambda name, body: len(body) > 100000):
        """A model as the hub shows it; large files lie on the server `cdn`, where a redirect leads."""
        listing = {"id": name, "sha": commit, "siblings": [{"rfilename": file} for file in sorted(files)]}
        for revision in ("main", commit):
            self.add(f"/api/models/{name}/revision/{revision}", json.dumps(listing).encode())
        for file, body in files.items():
            path, by_name = (f"/{name}/resolve/{revision}/{file}" for revision in (commit, "main"))
            if not large(file, body):
                self.add(path, body, ETag=f'"{git_sha1(body)}"', X_Repo_Commit=commit)
            elif cdn is None:
                self.add(path, body, ETag=f'"{sha256(body)}"', X_Repo_Commit=commit)
            else:
                blob = f"/blobs/{sha256(body)}?signature=secret"
                cdn.add(blob, body, ETag='"of-the-cdn"')
                self.add(path, b"", status=302, Location=cdn.url + blob, X_Repo_Commit=commit,
                         X_Linked_Etag=f'"{sha256(body)}"', X_Linked_Size=str(len(body)))
            self.resources[by_name] = self.resources[path]
