"""Photos by URL: nothing but the public internet is reached, and nothing of what is not is told."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import shlex
import shutil
import socket
import ssl
import subprocess
import threading
import time
from contextlib import ExitStack
from dataclasses import replace

import pytest

from carclf.service.metrics import Metrics
from carclf.service.remote.addresses import is_public
from carclf.service.remote.fetch import Remote, _Exchange
from carclf.service.settings import ServiceSettings
from carclf.service.web.app import create_app
from tests.carclf.service.conftest import client_of
from tests.carclf.service.photo_server import drips, gives, leads_to, photo_server, sends
from tests.carclf.service.stand_ins import RED, as_files, make_local, photo

HERE = ipaddress.ip_address("127.0.0.1")
NOT_PUBLIC = "The host of the URL is not on the public internet: send the photo itself."
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n"


@pytest.fixture
def stack():
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def server():
    with photo_server() as server:
        server.answers["/car.jpg"] = gives(photo(RED))
        yield server


@pytest.fixture
def serve(stack):
    """A client of a service that takes URLs, fetched as `remote` does."""

    def serve(remote: Remote | None = None, **settings):
        chosen, metrics = ServiceSettings.of(**({"allow_urls": True} | settings)), Metrics()
        return stack.enter_context(client_of(create_app(make_local(chosen, metrics), chosen, metrics, remote=remote)))

    return serve


def names(**known: str | list[str]):
    """A resolver that knows these names, with _ for a dot, and counts how often it is asked; each list is gone
    through, one answer after the other, and its last stays."""
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        found = known.get(host.replace(".", "_"))
        if found is None:
            raise socket.gaierror(-2, "Name or service not known")
        answer = found if isinstance(found, str) else found.pop(0) if len(found) > 1 else found[0]
        return answer.split()

    resolve.asked = asked
    return resolve


def reaching(*servers, **more) -> Remote:
    """A remote for which 127.0.0.1 is public; ports are those of the servers, and the usual."""
    ports = frozenset({80, 443, *(server.port for server in servers)})
    return Remote(**({"allowed": lambda address: address == HERE or is_public(address), "ports": ports} | more))


def ask(client, url, **more):
    return client.post("/predict", json={"url": url}, **more)


def refused(answer, status: int) -> str:
    assert answer.status_code == status, answer.text
    said = answer.json()["detail"]
    assert list(answer.json()) == ["detail"] and said.endswith(".") and "\n" not in said
    return said


def test_a_car_gets_its_name(serve, server):
    server.answers["/cars/my%20car.jpg?size=large"] = gives(photo(RED))
    answer = ask(serve(reaching(server)), server.url("/cars/my%20car.jpg?size=large#top"))
    assert answer.status_code == 200
    (row,) = answer.json()["answers"]
    assert (row["file"], row["status"], row["label"]) == ("my car.jpg", "ok", "Red Coupe 2011")
    assert server.asked == [("GET /cars/my%20car.jpg?size=large HTTP/1.1", f"127.0.0.1:{server.port}")]


def test_photos_can_be_sent_as_before_and_pictures_are_given(serve, server):
    client = serve(reaching(server))
    assert client.post("/predict", files=as_files(photo(RED))).json()["answers"][0]["status"] == "ok"
    (row,) = client.post("/predict?pictures=true", json={"url": server.url("/car.jpg")}).json()["answers"]
    assert row["outline"] and row["cutout"].startswith("data:image/")


def test_without_the_option_nothing_is_fetched(serve, server):
    assert "application/json" in refused(ask(serve(reaching(server), allow_urls=False), server.url("/car.jpg")), 415)
    assert server.asked == []
    assert not ServiceSettings().allow_urls


def test_the_key_comes_first(serve, server):
    client = serve(reaching(server), api_key="secret")
    assert ask(client, server.url("/car.jpg")).status_code == 401 and server.asked == []
    assert ask(client, server.url("/car.jpg"), headers={"X-API-Key": "secret"}).status_code == 200


def test_what_is_fetched_is_kept_only_where_asked_for(serve, server, tmp_path):
    assert ask(serve(reaching(server), save_uploads=tmp_path / "kept"), server.url("/car.jpg")).status_code == 200
    assert [path.read_bytes() for path in (tmp_path / "kept").iterdir()] == [photo(RED)]


def test_the_description_of_the_api_tells_of_it_only_where_it_is_allowed(serve):
    def described(**settings):
        operation = serve(**settings).get("/openapi.json").json()["paths"]["/predict"]["post"]
        return set(operation["requestBody"]["content"]), set(operation["responses"])

    bodies, answers = described()
    assert bodies == {"multipart/form-data", "application/json"} and {"403", "502", "504"} <= answers
    bodies, answers = described(allow_urls=False)
    assert bodies == {"multipart/form-data"} and not {"403", "502", "504"} & answers


PRIVATE = [
    *("127.0.0.1", "127.8.8.8", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "100.100.100.200", "100.127.255.255", "192.0.0.192", "192.0.2.1", "198.18.0.1"),
    *("198.51.100.1", "203.0.113.1", "192.88.99.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
    "168.63.129.16",
    *("::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "fe80::1", "fe80::1%1", "fec0::1", "fc00::1"),
    *("fd00:ec2::254", "ff02::1", "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1", "2002:7f00:1::1"),
    *("2002:808:808::1", "2001::1", "2001:db8::1", "3fff::1", "100::1", "5f00::1"),
]
ODD = [
    *("2130706433", "017700000001", "0x7f000001", "0177.0.0.1", "0x7f.0.0.1", "127.1", "127.0.1", "127.0.0.01"),
    *("127.0.0.1.", "0", "0x", "localhost.1", "8.8.8", "134744072", "256.256.256.256", "1.2.3.4.5"),
]


@pytest.fixture
def no_connections(monkeypatch):
    async def connect(*arguments, **named):
        raise AssertionError(f"connects to {arguments}")

    monkeypatch.setattr(asyncio, "open_connection", connect)


@pytest.mark.usefixtures("no_connections")
def test_addresses_that_are_not_public(serve):
    """By themselves, behind a name, and beside one that is public: the same sentence as for a name nobody knows."""
    known = {f"n{number}": address for number, address in enumerate(PRIVATE)}
    known |= {f"b{number}": f"8.8.8.8 {address}" for number, address in enumerate(PRIVATE)}
    client = serve(Remote(resolve=names(**known, none="")))
    literals = [f"[{address.replace('%', '%25')}]" if ":" in address else address for address in PRIVATE]
    for number, host in enumerate([*literals, *ODD, *known, "none", "unknown.example"]):
        url = f"https://{host}/" if number % 2 else f"http://{host}/car.jpg"
        assert refused(ask(client, url), 403) == NOT_PUBLIC, url


@pytest.mark.usefixtures("no_connections")
def test_the_resolver_of_this_machine_is_checked_as_well(serve):
    client = serve()
    for host in ("localhost", "LOCALHOST"):
        assert refused(ask(client, f"http://{host}/"), 403) == NOT_PUBLIC


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00::1"])
def test_public_addresses_are_connected_to_as_they_were_checked(serve, monkeypatch, address):
    tried = []

    async def connect(host, port, **named):
        tried.append((host, port, named.get("server_hostname")))
        raise OSError("no network in this test")

    monkeypatch.setattr(asyncio, "open_connection", connect)
    client = serve(Remote(resolve=names(cars_example=address)))
    assert "can't be reached" in refused(ask(client, "https://cars.example/car.jpg"), 502)
    assert "can't be reached" in refused(ask(client, "http://Cars.Example:80/car.jpg"), 502)
    assert tried == [(address, 443, "cars.example"), (address, 80, None)]


@pytest.mark.usefixtures("no_connections")
@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "must begin with"),
        ("car.jpg", "must begin with"),
        ("//cars.example/car.jpg", "must begin with"),
        ("file:///etc/passwd", "must begin with"),
        ("ftp://cars.example/car.jpg", "must begin with"),
        ("gopher://cars.example/x", "must begin with"),
        ("data:image/png;base64,AAAA", "must begin with"),
        ("http://", "has no host"),
        ("http:///car.jpg", "has no host"),
        ("http://a..b/", "has no host"),
        ("http://-a/", "has no host"),
        ("http://c%61rs.example/", "has no host"),
        ("http://[::1", "not well-formed"),
        ("http://[cars.example]/", "URL"),
        ("http://cars.example:port/", "not well-formed"),
        ("http://cars.example:99999/", "not well-formed"),
        ("http://cars.example:22/", "of port 80 or 443"),
        ("https://cars.example:8080/", "of port 80 or 443"),
        ("https://user:5ecret@cars.example/", "user or a password"),
        ("https://@cars.example/", "user or a password"),
        ("https://cars.example\\@127.0.0.1/", "ASCII"),
        ("https://cars.example/a b.jpg", "ASCII"),
        ("https://cars.example/\r\nHost: x", "ASCII"),
        ("https://cars.example/é.jpg", "ASCII"),
        ("https://①②⑦.⓪.⓪.①/", "ASCII"),
        ("https://cars.example/" + "a" * 2048, "letters at most"),
    ],
)
def test_urls_that_are_none(serve, url, said):
    told = refused(ask(serve(Remote(resolve=names(cars_example="8.8.8.8"))), url), 400)
    assert said in told and "5ecret" not in told


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff", 400),
        (b"[" * 9000, 400),
        (b"[]", 422),
        (b"null", 422),
        (b"{}", 422),
        (b'{"url": 1}', 422),
        (b'{"url": ["https://cars.example/"]}', 422),
        (b'{"url": "https://cars.example/", "headers": {}}', 422),
        (b'{"url": "' + b"a" * 20_000 + b'"}', 413),
    ],
)
def test_bodies_that_name_no_url(serve, body, status):
    answer = serve().post("/predict", content=body, headers={"Content-Type": "application/json; charset=utf-8"})
    assert '{"url": ' in refused(answer, status)


def test_redirects_are_followed_three_times(serve, server):
    for number in range(1, 5):
        server.answers[f"/{number}"] = leads_to(
            f"/{number - 1}" if number > 1 else server.url("/car.jpg"), 300 + number
        )
    server.answers["/4"] = leads_to("../3", 308)
    client = serve(reaching(server))
    assert ask(client, server.url("/3")).status_code == 200
    assert "more than 3 times" in refused(ask(client, server.url("/4")), 502)
    server.answers["/round"] = leads_to("/round")
    assert "more than 3 times" in refused(ask(client, server.url("/round")), 502)


def test_redirects_to_what_is_not_public(serve, server, stack):
    inside = stack.enter_context(inner_server())
    remote = reaching(server, inside, resolve=names(inside_example=inside.host, near_example="10.0.0.1"))
    client = serve(remote)
    hosts = [
        "127.0.0.2",
        "127.2",
        "2130706434",
        "0x7f.2",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "169.254.169.254",
        "localhost",
    ]
    for host in [*hosts, "inside.example", "near.example", "nobody.example"]:
        server.answers["/on"] = leads_to(f"http://{host}:{inside.port}/car.jpg")
        assert refused(ask(client, server.url("/on")), 403) == NOT_PUBLIC, host
    for url in (
        "file:///etc/passwd",
        "http://a:b@127.0.0.1/",
        "http://127.0.0.1:1/",
        "http://[",
        "/é",
        "gopher:x",
    ):
        server.answers["/on"] = leads_to(url)
        assert "not accepted" in refused(ask(client, server.url("/on")), 502), url
    assert inside.asked == []


def inner_server():
    """One that is not to be reached, though it could be."""
    try:
        return photo_server("127.0.0.2")
    except OSError:
        pytest.skip("this system has no 127.0.0.2")


def test_a_name_that_changes_its_address(serve, server, stack):
    """It is looked up once, and connected to as it was checked; a redirect is looked up and checked anew."""
    inside = stack.enter_context(inner_server())
    inside.answers["/car.jpg"] = gives(photo(RED))
    resolve = names(cars_example=["127.0.0.1", "127.0.0.2"])
    client = serve(reaching(server, inside, resolve=resolve))
    assert ask(client, server.url("/car.jpg", "cars.example")).status_code == 200
    assert resolve.asked == ["cars.example"] and server.asked[-1][1] == f"cars.example:{server.port}"
    assert refused(ask(client, server.url("/car.jpg", "cars.example")), 403) == NOT_PUBLIC

    client = serve(reaching(server, inside, resolve=names(cars_example=["127.0.0.1", "127.0.0.2"])))
    server.answers["/on"] = leads_to(f"http://cars.example:{inside.port}/car.jpg")
    assert refused(ask(client, server.url("/on", "cars.example")), 403) == NOT_PUBLIC
    assert inside.asked == []


def test_a_second_address_is_tried_where_the_first_is_silent(serve, server):
    remote = reaching(server, resolve=names(cars_example="127.0.0.3 127.0.0.1"))
    remote = replace(remote, allowed=lambda address: address.is_loopback)
    assert ask(serve(remote), server.url("/car.jpg", "cars.example")).status_code == 200


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
