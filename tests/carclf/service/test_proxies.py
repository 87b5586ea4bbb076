"""What stands in front of the service: monitors, balancers, a proxy with a prefix, pages of other sites."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time

import httpx
import pytest

from carclf.service.settings import ServiceSettings
from detection.common.errors import UsageError
from tests.carclf.service.processes import stand_in
from tests.carclf.service.stand_ins import as_files, photo


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_head_answers_as_get_does(listen, path):
    address = listen()
    wait_ready(address)
    answer = httpx.head(address + path)
    assert answer.status_code == httpx.get(address + path).status_code == 200
    assert answer.content == b""


def test_head_needs_the_key_too(serve):
    assert serve(api_key="open-sesame").head("/metrics").status_code == 401


@pytest.mark.parametrize(
    "charset", ["idna", "undefined", "ascii%00", "nothing", "punycode", "utf-8", "rot13", "", "hex"]
)
def test_a_charset_of_any_name_costs_the_name_at_most(client, charset):
    head = f"--XX\r\nContent-Disposition: form-data; name=\"photos\"; filename*={charset}''x%ff\r\n\r\n".encode()
    answer = client.post(
        "/predict",
        content=head + photo() + b"\r\n--XX--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=XX"},
    )
    assert answer.status_code == 200 and answer.json()["answers"][0]["status"] == "ok"


def test_an_idle_connection_stays_open_as_long_as_it_is_told():
    assert ServiceSettings().keep_alive == 75
    with stand_in(keep_alive=2) as one:
        wait_ready(one.address)
        host, port = one.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as idle:
            idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            while b"ok" not in idle.recv(65536):
                pass
            began = time.monotonic()
            assert idle.recv(1) == b""
            assert 1.5 < time.monotonic() - began < 10


@pytest.mark.parametrize("passed_on", [True, False])
def test_behind_nginx_with_a_prefix(listen, tmp_path, passed_on):
    nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    if nginx is None:
        pytest.skip("no nginx (Debian, Ubuntu: apt-get install nginx)")
    service = listen(root_path="/cars")
    wait_ready(service)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    target = service if passed_on else service + "/"
    temp = "".join(f"{kind}_temp_path {tmp_path}/{kind};" for kind in
                   ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))  # fmt: skip
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log; events {{}} "
        f"{'user root;' * (os.getuid() == 0)} "
        f"http {{ access_log off; {temp} server {{ listen 127.0.0.1:{port};"
        f"location /cars/ {{ proxy_pass {target}; }} }} }}"
    )
    process = subprocess.Popen([nginx, "-e", f"{tmp_path}/error.log", "-c", f"{tmp_path}/nginx.conf"])
    try:
        outside = f"http://127.0.0.1:{port}/cars"
        wait_ready(outside)
        for path in ("/", "/docs", "/static/app.js", "/static/app.css", "/openapi.json", "/healthz"):
            assert httpx.get(outside + path).status_code == 200, path
        assert httpx.get(outside + "/openapi.json").json()["servers"] == [{"url": "/cars"}]
        answer = httpx.post(outside + "/predict", files=as_files(photo()), timeout=30)
        assert answer.json()["answers"][0]["status"] == "ok"
        assert httpx.get(service + "/healthz").status_code == 200  # a probe that does not know of the prefix
    finally:
        process.terminate()
        process.wait(20)


def test_pages_of_named_origins_may_call(serve):
    client = serve(cors=("https://shop.example",))
    name = "access-control-allow-origin"
    assert client.get("/healthz", headers={"Origin": "https://shop.example"}).headers[name] == "https://shop.example"
    assert name not in client.get("/healthz", headers={"Origin": "https://other.example"}).headers
    assert name not in serve().get("/healthz", headers={"Origin": "https://shop.example"}).headers


def test_a_prefix_that_is_none_is_told():
    with pytest.raises(UsageError, match="root_path"):
        ServiceSettings.of(root_path="cars")


def wait_ready(address: str) -> None:
    for _ in range(200):
        try:
            if httpx.get(address + "/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError("never ready")
