"""A server on loopback in the place of the one that a URL names: good, slow, and lying."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

# What is done with a connection whose request has come: (connection, path).
Answer = Callable[[socket.socket, str], None]


class PhotoServer:
    """answers: by path. asked: the first line and the Host of each request so far. left: set when a client has gone
    in the middle of an answer."""

    def __init__(self, host: str = "127.0.0.1", context: ssl.SSLContext | None = None):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server((host, 0), family=family)
        self.context = context
        self.host, self.port = host, self.listener.getsockname()[1]
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, str]] = []
        self.left = threading.Event()

    def url(self, path: str, host: str | None = None) -> str:
        return f"{'https' if self.context else 'http'}://{host or self.host}:{self.port}{path}"

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self.context is not None:
                connection = self.context.wrap_socket(connection, server_side=True)
            with connection:
                head = b""
                while b"\r\n\r\n" not in head:
                    if not (data := connection.recv(4096)):
                        return
                    head += data
                lines = head.decode("latin-1").split("\r\n")
                host = next((line[6:] for line in lines if line.lower().startswith("host: ")), "")
                self.asked.append((lines[0], host))
                path = lines[0].split(" ")[1]
                self.answers.get(path, gives(b"nothing", status=404))(connection, path)
        except OSError:
            self.left.set()


@contextmanager
def photo_server(host: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> Iterator[PhotoServer]:
    server = PhotoServer(host, context)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        with suppress(OSError):
            server.listener.shutdown(socket.SHUT_RDWR)
        server.listener.close()
        thread.join(5)


def gives(body: bytes, kind: str | None = "image/jpeg", status: int = 200, length: int | None = None, **more) -> Answer:
    """An answer of this body. length: as it is declared, -1 for not at all. more: headers, `_` for `-`."""
    headers = {"Content-Type": kind, "Content-Length": str(len(body) if length is None else length)}
    headers |= {name.replace("_", "-"): value for name, value in more.items()}
    if length == -1:
        del headers["Content-Length"]
    lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in headers.items() if value is not None)]
    head = "\r\n".join([*lines, "", ""]).encode()
    return sends(head + body)


def leads_to(url: str, status: int = 302) -> Answer:
    return gives(b"", None, status, Location=url)


def sends(*pieces: bytes, pause: float = 0) -> Answer:
    """These bytes, whatever they are."""

    def answer(connection: socket.socket, path: str) -> None:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)

    return answer


def drips(head: bytes, pause: float) -> Answer:
    """The head, and then a byte now and then until the client goes."""

    def answer(connection: socket.socket, path: str) -> None:
        connection.sendall(head)
        for _ in range(1000):
            time.sleep(pause)
            connection.sendall(b"x")

    return answer
