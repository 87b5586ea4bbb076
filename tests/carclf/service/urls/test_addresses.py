"""Photos by URL: nothing but the public internet is reached, and nothing of what is not is told."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from carclf.service.remote.fetch import Remote
from tests.carclf.service.photo_server import gives, leads_to, photo_server
from tests.carclf.service.stand_ins import RED, photo
from tests.carclf.service.urls.asked import NOT_PUBLIC, ask, names, reaching, refused

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
