"""Photos by URL: servers that give no photo, or give it slowly."""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
import socket
import ssl
import subprocess
import threading
import time

import pytest

from carclf.service.remote.fetch import Remote, _Exchange
from tests.carclf.service.photo_server import drips, gives, photo_server, sends
from tests.carclf.service.stand_ins import RED, photo
from tests.carclf.service.urls.asked import HEAD, NOT_PUBLIC, ask, names, reaching, refused


def chunked(size: int) -> bytes:
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n" % size + b"x" * size + b"\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (gives(b"x" * 50_001), 413, "larger than 0.05 MB"),
        (gives(b"", length=10**15), 413, "larger than 0.05 MB"),
        (gives(b"x" * 50_001, length=-1), 413, "larger than 0.05 MB"),
        (sends(chunked(50_001)), 413, "larger than 0.05 MB"),
        (gives(b"<html>", "text/html; charset=utf-8"), 415, "does not call an image"),
        (gives(b"{}", "application/json"), 415, "does not call an image"),
        (gives(b"x", "image/jpeg, text/html"), 415, "does not call an image"),
        (gives(b"x", Content_Encoding="gzip"), 415, "compressed"),
        (gives(b"secret", status=404), 502, "status 404"),
        (gives(b"secret", status=500), 502, "status 500"),
        (gives(b"", None, 204), 502, "status 204"),
        (gives(b"", None, 302), 502, "status 302"),
        (gives(b"x" * 10, status=206), 502, "status 206"),
        (gives(photo(RED), length=20_000), 502, "broke off"),
        (sends(chunked(10)[:-9]), 502, "broke off"),
        (sends(b""), 502, "broke off"),
        (sends(b"220 mail.example ESMTP secret\r\n"), 502, "does not speak HTTP"),
        (sends(HEAD + b"X: " + b"x" * 40_000), 502, "does not speak HTTP"),
        (sends(HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"), 502, "does not speak HTTP"),
        (sends(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), 502, "broke off"),
        (drips(b"", 2), 504, "sent nothing for 0.3 seconds"),
        (drips(HEAD, 2), 504, "sent nothing for 0.3 seconds"),
        (drips(HEAD + b"X: ", 0.05), 504, "within 0.6 seconds"),
        (drips(HEAD + b"\r\n", 0.05), 504, "within 0.6 seconds"),
        (sends(*[b"HTTP/1.1 103 Early Hints\r\n\r\n"] * 40, pause=0.05), 504, "within 0.6 seconds"),
    ],
    ids=range(25),
)
def test_servers_that_give_no_photo(serve, server, answer, status, said):
    server.answers["/car.jpg"] = answer
    client = serve(reaching(server, read_timeout=0.3), max_photo_bytes=50_000, body_timeout=0.6)
    told = refused(ask(client, server.url("/car.jpg")), status)
    assert said in told and "secret" not in told


def test_what_is_called_an_image_and_is_none(serve, server):
    server.answers["/car.jpg"] = gives(b"root:x:0:0:secret")
    answer = ask(serve(reaching(server)), server.url("/car.jpg"))
    assert answer.status_code == 422 and answer.json()["answers"][0]["status"] == "unreadable"
    assert "secret" not in answer.text


def test_nobody_listens(serve):
    with photo_server() as server:
        url = server.url("/car.jpg")
    assert "can't be reached" in refused(ask(serve(reaching(server)), url), 502)


def test_names_that_take_too_long(serve):
    async def resolve(host, port):
        await asyncio.sleep(30)

    remote = Remote(resolve=resolve, connect_timeout=0.1)
    assert refused(ask(serve(remote), "https://cars.example/car.jpg"), 403) == NOT_PUBLIC


def test_the_environment_names_no_proxy(serve, server, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert ask(serve(reaching(server)), server.url("/car.jpg")).status_code == 200


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Of cars.example, by itself."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=test -addext subjectAltName=DNS:cars.example"
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([*shlex.split(command), *files], check=True, capture_output=True)
    return folder


def test_https_is_checked_against_the_name_and_not_the_address(serve, certificate, stack):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    server = stack.enter_context(photo_server(context=context))
    server.answers["/car.jpg"] = gives(photo(RED))
    resolve = names(cars_example="127.0.0.1", vans_example="127.0.0.1")
    trusting = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    client = serve(reaching(server, resolve=resolve, context=trusting))
    assert ask(client, server.url("/car.jpg", "cars.example")).status_code == 200
    for host in ("vans.example", "127.0.0.1"):
        assert "no valid certificate" in refused(ask(client, server.url("/car.jpg", host)), 502)
    client = serve(reaching(server, resolve=resolve))
    assert "no valid certificate" in refused(ask(client, server.url("/car.jpg", "cars.example")), 502)
    assert len(server.asked) == 1


def test_slow_urls_do_not_shut_out_others(serve, server, monkeypatch):
    """Where all places are taken, the one that has fetched for longest gives its own."""
    monkeypatch.setattr("carclf.service.web.urls.MOST_FETCHES", 1)
    server.answers["/slow"] = drips(HEAD + b"\r\n", 0.05)
    client = serve(reaching(server))
    answers = []
    slow = threading.Thread(target=lambda: answers.append(ask(client, server.url("/slow"))))
    slow.start()
    while not server.asked:
        time.sleep(0.01)
    assert ask(client, server.url("/car.jpg")).status_code == 200
    slow.join(10)
    assert "too slowly" in refused(answers[0], 408)


def test_a_client_that_leaves_ends_its_fetch(listen, server, monkeypatch):
    monkeypatch.setattr("carclf.service.web.routes.Remote", lambda: reaching(server))
    server.answers["/slow"] = drips(HEAD + b"\r\n", 0.02)
    address = listen(allow_urls=True).removeprefix("http://").split(":")
    body = json.dumps({"url": server.url("/slow")}).encode()
    with socket.create_connection((address[0], int(address[1]))) as client:
        client.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        while not server.asked:
            time.sleep(0.01)
        assert not server.left.is_set()
    assert server.left.wait(10)


@pytest.mark.parametrize("ticks", range(6))
def test_a_fetch_that_is_stopped_as_its_bytes_arrive_is_stopped(ticks):
    """Whoever loses its place must not go on: at no moment is that overheard."""

    async def stop() -> bool:
        reader = asyncio.StreamReader()
        reading = asyncio.ensure_future(_Exchange(reader, None, 5)._next())
        for _ in range(5):
            await asyncio.sleep(0)
        reader.feed_data(b"HTTP/1.1 200")
        for _ in range(ticks):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait({reading}, timeout=0.5)
        return reading.cancelled()

    assert asyncio.run(stop())
