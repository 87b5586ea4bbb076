"""Clients that send slowly, or open many connections: the others are answered, and all answers are JSON."""

from __future__ import annotations

import json
import resource
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlparse

import httpx
import pytest

from carclf.service.settings import ServiceSettings
from carclf.service.web.door import SPARE
from detection.common.errors import UsageError
from tests.carclf.service.stand_ins import as_files, photo
from tests.carclf.service.test_proxies import wait_ready
from tests.carclf.service.test_uploads import body, head, part
from tests.conftest import ROOT

HALF_HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\n"


@contextmanager
def many(address: str, count: int, sent: bytes = HALF_HEAD) -> Iterator[list[socket.socket]]:
    place = urlparse(address)
    with ExitStack() as stack:
        sockets = []
        for _ in range(count):
            sockets.append(stack.enter_context(socket.create_connection((place.hostname, place.port), timeout=20)))
            sockets[-1].sendall(sent)
        yield sockets


def answer_of(one: socket.socket) -> tuple[int, dict]:
    """Status and body of an answer after which the connection ends."""
    text = b"".join(iter(lambda: one.recv(65536), b""))
    top, _, content = text.partition(b"\r\n\r\n")
    assert b"content-type: application/json" in top.lower()
    assert b"x-content-type-options: nosniff" in top.lower()
    return int(top.split()[1]), json.loads(content)


def read_health(one: socket.socket) -> None:
    while b'"ok"' not in one.recv(65536):  # head and body may come apart
        pass


def post(address: str, **more) -> httpx.Response:
    return httpx.post(address + "/predict", files=as_files(photo()), timeout=30, **more)


def test_a_head_that_never_ends_has_a_deadline(listen):
    address = listen(head_timeout=0.5)
    with many(address, 3) as sockets:
        for one in sockets[:2]:
            status, answer = answer_of(one)
            assert status == 408 and "did not arrive within 0.5 seconds" in answer["detail"]
    with many(address, 1, sent=b"") as (silent,):
        assert silent.recv(1) == b""  # nothing was asked, nothing is answered
    with many(address, 1, sent=b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") as (kept,):
        read_health(kept)
        time.sleep(0.7)  # between two requests it may rest
        kept.sendall(HALF_HEAD)
        assert answer_of(kept)[0] == 408


@pytest.mark.parametrize(
    ("limits", "status"),
    [({"max_connections": 20}, 503), ({"max_connections": 1000, "max_per_address": 20}, 429)],
)
def test_beyond_the_limits_the_health_routes_answer(listen, limits, status):
    address = listen(head_timeout=5, **limits)
    wait_ready(address)
    with many(address, 20):
        for path in ("/healthz", "/readyz"):
            answer = httpx.get(address + path)
            assert answer.status_code == 200 and answer.headers["connection"] == "close"
        answer = post(address)
        assert answer.status_code == status and "Too many connections" in answer.json()["detail"]
        assert int(answer.headers["retry-after"]) > 0
        with many(address, SPARE + 5) as more:  # what is kept for the health routes can't be used up either
            refused, answer = answer_of(more[0])
            assert refused == status and "Too many connections" in answer["detail"]
            assert httpx.get(address + "/healthz").status_code == 200
    wait_ready(address)
    assert post(address).status_code == 200


def test_a_connection_that_rests_makes_room(listen):
    address = listen(max_connections=3)
    wait_ready(address)
    with many(address, 3, sent=b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") as resting:
        for one in resting:
            read_health(one)
        assert post(address).status_code == 200


def test_behind_a_named_proxy_its_clients_are_counted(listen):
    address = listen(max_per_address=2, proxies=("127.0.0.0/8",))
    wait_ready(address)
    unfinished = head(100_000).replace(b"Host: x", b"Host: x\r\nX-Forwarded-For: 192.0.2.1")
    with many(address, 2, sent=unfinished), many(address, 5):
        answers = []
        for client in ("192.0.2.1", "192.0.2.2"):
            answers.append(post(address, headers={"X-Forwarded-For": client}).status_code)
        assert answers == [429, 200]


def test_what_is_no_http_is_answered_in_json(listen):
    address = listen()
    with many(address, 1, sent=b"\x16\x03\x01\x02\x00 what?\r\n\r\n") as (odd,):
        status, answer = answer_of(odd)
        assert status == 400 and "not well-formed HTTP" in answer["detail"]
    with many(address, 1, sent=b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000) as (long,):
        assert answer_of(long)[0] == 400


def test_half_sent_bodies_make_room_for_those_that_come(listen):
    """Two clients fill the room and then send nothing, or hardly anything."""
    data = body(*[(part(), b"\xff" * 490_000)] * 2)
    limits = {"max_photo_bytes": 500_000, "max_request_bytes": len(data), "max_waiting_bytes": 2 * len(data)}
    address = listen(**limits)
    wait_ready(address)
    with many(address, 2, sent=head(len(data)) + data[:-10]) as hogs:
        time.sleep(0.2)
        assert post(address).status_code == 200
        ended = select.select(hogs, [], [], 10)[0]
        assert len(ended) == 1  # no more than the others need
        status, answer = answer_of(ended[0])
        assert status == 408 and "too slowly while others needed the room" in answer["detail"]


def test_a_slow_body_is_no_fault_where_there_is_room(listen):
    address = listen(body_timeout=20)
    wait_ready(address)
    data = body((part(), photo()))
    with many(address, 1, sent=head(len(data)) + data[:100]) as (slow,):
        time.sleep(1.3)
        assert post(address).status_code == 200
        slow.sendall(data[100:])
        assert slow.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_client_that_never_reads_its_answer_is_let_go(listen):
    address = listen(body_timeout=0.5)
    place = urlparse(address)
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect((place.hostname, place.port))
        deaf.settimeout(10)
        with pytest.raises(OSError):  # the service ends the connection
            for _ in range(100_000):
                deaf.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")


def test_a_proxy_that_is_none_is_told():
    with pytest.raises(UsageError, match="the proxy 'nginx' is no address"):
        ServiceSettings.of(proxies=("nginx",))


def test_as_many_files_may_be_open_as_connections():
    code = (
        "import resource, carclf.service.server as server; server._open_files(900);"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    few = (256, min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, few),
    )  # fmt: skip
    assert int(process.stdout) == 900
