"""Bodies that are too large, odd, or never end; and that none of them touches the disk."""

from __future__ import annotations

import http.client
import socket
import struct
import tempfile
import time
import tracemalloc
import zlib
from urllib.parse import urlparse

import pytest

from carclf.service.web.uploads import clean_name
from tests.carclf.service.stand_ins import RED, as_files, make_local, photo

BOUNDARY = "carclf-boundary"
TYPE = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def body(*parts: tuple[str, bytes], end: str = f"--{BOUNDARY}--\r\n") -> bytes:
    """A multipart body of (headers, data)."""
    return b"".join(f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + data + b"\r\n" for head, data in parts) + end.encode()


def part(name: str = "photos", file: str | None = "car.jpg", kind: str = "image/jpeg") -> str:
    file = "" if file is None else f'; filename="{file}"'
    return f'Content-Disposition: form-data; name="{name}"{file}\r\nContent-Type: {kind}'


def post(client, data: bytes, headers: dict | None = None):
    return client.post("/predict", content=data, headers=TYPE if headers is None else headers)


def bomb(width: int, height: int) -> bytes:
    """A PNG of some hundred bytes that declares a picture of that size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(9999))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "headers", "status", "says"),
    [
        (b"", {}, 415, "multipart/form-data"),
        (b"{}", {"Content-Type": "application/json"}, 415, "'application/json'"),
        (photo(), {"Content-Type": "image/jpeg"}, 415, "curl -F"),
        (b"x", {"Content-Type": "multipart/form-data"}, 400, "boundary"),
        (b"x", {"Content-Type": "multipart/form-data; boundary=" + "b" * 999}, 400, "not well-formed"),
        (b"x", {"Content-Type": "multipart/mixed; boundary=x"}, 415, "'multipart/mixed'"),
        (b"x", TYPE | {"Content-Encoding": "gzip"}, 415, "compressed"),
        (b"", TYPE, 400, "closing boundary"),
        (b"nothing of the kind", TYPE, 400, "not well-formed"),
        (body((part(), photo()), end=""), TYPE, 400, "closing boundary"),
        (body((part(), photo()))[:-300], TYPE, 400, "closing boundary"),
        (body(), TYPE, 422, "no photo in the request"),
        (body((part(file=None), b"red")), TYPE, 422, "no photo in the request"),
        (body((part(file=""), b"")), TYPE, 422, "no photo in the request"),
        (body((part(kind="text/html"), b"<b>")), TYPE, 415, "'car.jpg' was sent as 'text/html'"),
        (body((part(file=None), b"x" * 99_999)), TYPE, 413, "65536 bytes"),
        (body(*[(part(file=None), b"x")] * 40), TYPE, 413, "32 fields"),
        (body(("X: " + "x" * 99_999, b"x")), TYPE, 400, "not well-formed"),
        (body((part(), bomb(50_000, 50_000))), TYPE, 413, "more than 50 megapixels"),
        (body((part(), bomb(9_000, 9_000))), TYPE, 413, "'car.jpg' has more than 50 megapixels"),
        (body((part(), b"x" * 150_001)), TYPE, 413, "'car.jpg' is larger than 0.15 MB"),
        (body(*[(part(), b"x")] * 5), TYPE, 413, "4 photos at most"),
        (body(*[(part(file=""), b"x")] * 5), TYPE, 413, "4 photos at most"),
        (body(*[(part(), b"x" * 120_000)] * 3), TYPE, 413, "larger than 0.3 MB"),
    ],
)  # fmt: skip
def test_what_is_refused_is_told_in_a_sentence(serve, data, headers, status, says):
    client = serve(max_files=4, max_photo_bytes=150_000, max_request_bytes=300_000)
    for content in (data, iter([data[:7], data[7:]])):  # with a Content-Length, and as chunks
        answer = post(client, content, headers)
        assert answer.status_code == status, answer.text
        detail = answer.json()["detail"]
        assert says in detail
        assert len(detail) < 250 and "\n" not in detail


def test_other_fields_and_odd_names_are_no_harm(client):
    names = ["C:\\\\photos\\\\car.jpg", "../../etc/passwd", "naïve.jpg", "a\x07b.jpg", "x" * 999 + ".jpg", ""]
    data = body((part("comment", None), b"red"), *[(part(file=name), photo(RED)) for name in names])
    rows = post(client, data).json()["answers"]
    assert [row["file"] for row in rows] == ["car.jpg", "passwd", "naïve.jpg", "a?b.jpg", "x" * 120, "photo 6"]
    assert {row["status"] for row in rows} == {"ok"}
    encoded = "Content-Disposition: form-data; name=photos; filename*=UTF-8''%C3%A4%20car.jpg"
    assert post(client, body((encoded, photo()))).json()["answers"][0]["file"] == "ä car.jpg"


def test_the_boundary_may_fall_anywhere_between_chunks(client):
    data = body((part(), photo(RED)), (part(file="other.jpg"), photo()))
    whole = post(client, data).json()
    for size in (1, 7, 64):
        chunks = (data[start : start + size] for start in range(0, len(data), size))
        assert post(client, chunks).json() == whole


def test_uploads_never_touch_the_disk(serve, monkeypatch):
    """Above a megabyte, at which frameworks begin to write temp files."""

    def refuse(*arguments, **named):
        raise AssertionError("a temp file was opened")

    for name in ("TemporaryFile", "NamedTemporaryFile", "SpooledTemporaryFile", "mkstemp", "mkdtemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    import os

    opened = os.open
    monkeypatch.setattr(os, "open", lambda path, flags, *rest, **named: (
        refuse() if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) else opened(path, flags, *rest, **named)
    ))  # fmt: skip
    large = photo() + bytes(3_000_000)  # what follows a picture's end is passed over
    answer = serve().post("/predict", files=as_files(large, large))
    assert [row["status"] for row in answer.json()["answers"]] == ["ok", "ok"]


def test_a_body_that_is_too_large_is_not_read_into_memory(listen):
    settings = {"max_photo_bytes": 1_000_000, "max_request_bytes": 2_000_000, "max_waiting_bytes": 2_000_000}
    place = urlparse(listen(make_local, **settings))
    chunk = b"x" * 100_000

    def endless():
        yield body((part(), b""), end="")[:-2]
        for _ in range(500):
            yield chunk

    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)
    tracemalloc.start()
    connection.request("POST", "/predict", body=endless(), headers=TYPE, encode_chunked=True)
    answer = connection.getresponse()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert answer.status == 413
    assert peak < 10_000_000


def test_what_all_requests_hold_together_is_bounded(serve):
    client = serve(max_photo_bytes=40_000, max_request_bytes=40_000, max_waiting_bytes=40_000)
    room = body((part(), photo()))
    assert post(client, room).status_code == 200
    assert post(client, room).status_code == 200, "what is answered gives its room back"


def connect(address: str) -> socket.socket:
    place = urlparse(address)
    return socket.create_connection((place.hostname, place.port), timeout=20)


def head(length: int) -> bytes:
    return (
        f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: {TYPE['Content-Type']}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def test_clients_that_leave_or_dawdle_cost_nothing(listen):
    address = listen(make_local, body_timeout=0.5)
    data = body((part(), photo()))
    for sent in (b"", data[:10], data[:200]):
        with connect(address) as one:
            one.sendall(head(len(data)) + sent)
    with connect(address) as slow:
        slow.sendall(head(len(data)) + data[:200])
        slow.settimeout(10)
        answer = b"".join(iter(lambda: slow.recv(4096), b""))  # head and body may come apart
    assert answer.startswith(b"HTTP/1.1 408") and b"did not arrive within 0.5 seconds" in answer
    with connect(address) as whole:
        whole.sendall(head(len(data)) + data)
        assert whole.recv(4096).startswith(b"HTTP/1.1 200")
    time.sleep(0.2)
    with connect(address) as one:
        one.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        text = b"".join(iter(lambda: one.recv(65536), b"")).decode()
    assert 'route="/predict",status="500"' not in text
    assert 'route="/predict",status="400"} 3.0' in text
    assert "carclf_waiting_photos 0.0" in text


def test_a_refusal_reaches_a_client_that_is_still_sending(listen):
    place = urlparse(listen(make_local, max_photo_bytes=50_000, max_request_bytes=60_000))
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=20)
    connection.request("POST", "/predict", body=body((part(), b"x" * 30_000_000)), headers=TYPE)
    answer = connection.getresponse()
    assert answer.status == 413
    assert b"larger than 0.06 MB" in answer.read()


def test_a_client_that_asks_for_leave_gets_the_refusal_before_it_sends(listen):
    address = listen(make_local, max_photo_bytes=50_000, max_request_bytes=60_000)
    with connect(address) as one:
        one.sendall(head(30_000_000).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        assert one.recv(4096).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("name", ["", " ", "/", "\\", "\x00", "a/b/../c.jpg", "🚗.jpg", "\u202e.jpg"])
def test_names_are_bearable(name):
    cleaned = clean_name(name, 3)
    assert cleaned and cleaned.isprintable() and "/" not in cleaned and len(cleaned) <= 120
