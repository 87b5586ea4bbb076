"""A server on loopback that gives files by ranges, and as Kaggle does: routes that lead on to signed addresses."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SIGNATURE = "X-Goog-Signature=5ec7e7"
TOKEN = "KGAT_0123456789abcdef"


class FileServer(ThreadingHTTPServer):
    """files: path -> bytes. cuts: after how many bytes each of the next answers ends, its length being that of all.
    failures: path -> (status, headers, body) of the next answers there. asked: (method, path, headers) so far.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.cuts: list[int] = []
        self.failures: dict[str, list[tuple[int, dict[str, str], bytes]]] = {}
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.datasets: dict[str, int] = {}
        self.competitions: list[str] = []
        self.kind = "application/zip"
        self.ranges = True
        self.digest: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address) -> None:
        """A client that has gone is what some tests are about."""

    def ranges_asked(self) -> list[str | None]:
        return [headers.get("range") for method, _, headers in self.asked if method == "GET"]


@contextmanager
def file_server() -> Iterator[FileServer]:
    server = FileServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


class _Handler(BaseHTTPRequestHandler):
    server: FileServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_) -> None:
        pass

    def _asked(self) -> str:
        path = self.path.partition("?")[0]
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append((self.command, self.path, headers))
        return path

    def do_GET(self) -> None:
        path = self._asked()
        if failure := self.server.failures.get(path):
            self._send(*failure.pop(0))
            return
        data = self.server.files.get(path)
        if data is None:
            self._send(404, {}, b"nothing")
            return
        tag = f'"{hashlib.sha256(data).hexdigest()[:12]}"'
        start, given = 0, self.headers.get("Range")
        if self.server.ranges and given and self.headers.get("If-Range") in (None, tag):
            start = int(given.removeprefix("bytes=").rstrip("-"))
        digest = self.server.digest or base64.b64encode(hashlib.md5(data).digest()).decode()
        headers = {"Content-Type": self.server.kind, "ETag": tag, "x-goog-hash": f"crc32c=n03x6A==,md5={digest}"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._send(206 if start else 200, headers, data[start:], self.server.cuts.pop(0) if self.server.cuts else None)

    def do_POST(self) -> None:
        """Kaggle's routes, as kagglehub asks for them."""
        path = self._asked()
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        if failure := self.server.failures.get(path):
            self._send(*failure.pop(0))
            return
        owned = f"{body.get('ownerSlug')}/{body.get('datasetSlug')}"
        name = path.rpartition("/")[2]
        if name == "GetDataset" and owned in self.server.datasets:
            self._json({"ref": owned, "currentVersionNumber": self.server.datasets[owned]})
        elif name == "DownloadDataset" and owned in self.server.datasets:
            self._lead_to(f"/storage/{owned}/{body['datasetVersionNumber']}.zip")
        elif name == "DownloadDataFiles" and body.get("competitionName") in self.server.competitions:
            self._lead_to(f"/storage/{body['competitionName']}.zip")
        elif name == "ListDatasets":
            self._json({"datasets": [{"ref": ref} for ref in self.server.datasets]})
        elif name == "ListCompetitions":
            refs = [f"https://www.kaggle.com/competitions/{one}" for one in self.server.competitions]
            self._json({"competitions": [{"ref": ref} for ref in refs]})
        else:
            self._json({"code": 404, "message": "Not found"}, 404)

    def _lead_to(self, path: str) -> None:
        self._send(302, {"Location": f"{self.server.url}{path}?{SIGNATURE}"}, b"")

    def _json(self, values: dict, status: int = 200) -> None:
        self._send(status, {"Content-Type": "application/json"}, json.dumps(values).encode())

    def _send(self, status: int, headers: dict[str, str], body: bytes, cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            self.close_connection = True
