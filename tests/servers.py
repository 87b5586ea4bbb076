"""Real servers on loopback: S3, the web, SFTP, and a proxy in front of one that fails as it is told."""

from __future__ import annotations

import getpass
import http.client
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

KEY, SECRET = "carclf-key", "carclf-secret-of-tests"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class S3Server:
    """`rclone serve s3` over a folder whose subfolders are the buckets."""

    def __init__(self, folder: Path, port: int = 0):
        self.folder, self.port = folder, port or free_port()
        self._process: subprocess.Popen | None = None

    @staticmethod
    def program() -> str | None:
        beside = Path(sys.executable).with_name("rclone")
        return str(beside) if beside.is_file() else shutil.which("rclone")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> S3Server:
        program = self.program()
        assert program
        # Hardly a cache, so that what a test changes in the folder is seen at once.
        command = [program, "serve", "s3", str(self.folder), "--addr", f"127.0.0.1:{self.port}", "--config", os.devnull]
        command += ["--auth-key", f"{KEY},{SECRET}", "--dir-cache-time", "50ms", "--vfs-cache-mode", "off"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.port)
        return self

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def put(self, key: str, data: bytes) -> None:
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def environment(self, url: str = "") -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": url or self.url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def wait_for(port: int, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 1):
                return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


class Proxy:
    """Hands each request on to a server, unless `fault` has something else for it.

    fault: from (number of the request from 1, method, path) to None, a status to answer, or `cut` to end the
    connection after half of the answer's body. delay: seconds that each request waits first.
    """

    def __init__(self, upstream: int, fault: Callable[[int, str, str], int | str | None] = lambda *_: None):
        self.upstream, self.fault, self.delay = upstream, fault, 0.0
        self.requests: list[tuple[str, str]] = []
        self.most_at_once = self._now = 0
        self._lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Forward, self))
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def count(self, method: str, path: str, step: int) -> int:
        with self._lock:
            self._now += step
            self.most_at_once = max(self.most_at_once, self._now)
            if step > 0:
                self.requests.append((method, path))
            return len(self.requests)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class _Forward(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, proxy: Proxy, *rest):
        self._proxy = proxy
        super().__init__(*rest)

    def _handle(self) -> None:
        proxy = self._proxy
        number = proxy.count(self.command, self.path, 1)
        try:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            time.sleep(proxy.delay)
            fault = proxy.fault(number, self.command, self.path)
            if isinstance(fault, int):
                self._answer(fault, [], b"")
                return
            try:
                connection = http.client.HTTPConnection("127.0.0.1", proxy.upstream, timeout=20)
                connection.request(self.command, self.path, body, dict(self.headers.items()))
                answer = connection.getresponse()
                data = answer.read()
            except OSError:
                self.close_connection = True
                return
            headers = [(name, value) for name, value in answer.getheaders()
                       if name.lower() not in ("transfer-encoding", "connection", "content-length")]  # fmt: skip
            length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
            self._answer(answer.status, [*headers, ("Content-Length", length or "0")], data, fault == "cut")
            connection.close()
        finally:
            proxy.count(self.command, self.path, -1)

    def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes, cut: bool = False) -> None:
        self.send_response_only(status)
        for name, value in headers or [("Content-Length", "0")]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)
        self.close_connection = self.close_connection or cut

    def log_message(self, *values) -> None:
        pass

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _handle


class WebServer:
    """A folder as a web server shows it: index pages, ranges as the standard library has none, and redirects.

    moved: path -> where it is now.
    """

    def __init__(self, folder: Path, moved: dict[str, str] | None = None):
        moved = moved or {}

        class Handler(SimpleHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def send_head(self):
                if self.path in moved:
                    self.send_response(302)
                    self.send_header("Location", moved[self.path])
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return None
                return super().send_head()

            def do_GET(self):
                path = Path(self.translate_path(self.path))
                wanted = self.headers.get("Range", "")
                if not wanted.startswith("bytes=") or not path.is_file():
                    return super().do_GET()
                first, _, last = wanted[len("bytes=") :].partition("-")
                data = path.read_bytes()
                end = min(len(data), int(last) + 1 if last else len(data))
                part = data[int(first) : end]
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{end - 1}/{len(data)}")
                self.send_header("Content-Length", str(len(part)))
                self.end_headers()
                self.wfile.write(part)

            def log_message(self, *values):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class SftpServer:
    """OpenSSH's sshd with a key of its own, for the user who runs the tests."""

    PROGRAM = Path("/usr/sbin/sshd")

    def __init__(self, folder: Path):
        self.folder, self.port, self.user = folder, free_port(), getpass.getuser()
        for name in ("host", "user"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        config = folder / "sshd_config"
        config.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {folder / 'user.pub'}\nStrictModes no\nPermitRootLogin yes\nMaxStartups 100\n"
            "PasswordAuthentication no\nSubsystem sftp internal-sftp\n"
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        self._process = subprocess.Popen([str(self.PROGRAM), "-D", "-f", str(config)], stderr=subprocess.DEVNULL)
        wait_for(self.port)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
