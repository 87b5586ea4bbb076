"""What all tests share: two threads, no network, and where the real photos are."""

from __future__ import annotations

import os

# Before anything imports torch, which reads them once; subprocesses inherit them.
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import ipaddress
import socket
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


class NetworkBlocked(RuntimeError):
    """A test reached for the network. Not an OSError: nothing may take it for a missing connection and carry on."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips tests marked gpu where there is no CUDA device."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a test reach this machine only; any other address raises `NetworkBlocked`."""

    def guard(real):
        def connect(self, address, *rest):
            if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
                raise NetworkBlocked(f"a test tried to reach {address[0]}")
            return real(self, address, *rest)

        return connect

    def resolve(host, *rest, real=socket.getaddrinfo, **named):
        if host is not None and not _is_loopback(host):
            raise NetworkBlocked(f"a test tried to look up {host}")
        return real(host, *rest, **named)

    monkeypatch.setattr(socket.socket, "connect", guard(socket.socket.connect))
    monkeypatch.setattr(socket.socket, "connect_ex", guard(socket.socket.connect_ex))
    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real photos (`CARCLF_SHARED_DATA`, or ../shared/data); skips the test where there is none."""
    named = os.environ.get("CARCLF_SHARED_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real photos: there is no folder {folder} (set CARCLF_SHARED_DATA to where they are)")
    return folder


@pytest.fixture
def fake_detector():
    """A `FakeDetector`: finds what is strongly coloured, needs no Detectron2."""
    from tests.fakes import FakeDetector

    return FakeDetector()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of three 96x128 photos: red.jpg and sub/blue.png show a `FakeDetector` car, grey.jpg shows none."""
    from PIL import Image

    from tests.fakes import draw_car

    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    Image.fromarray(draw_car((220, 20, 20))).save(folder / "red.jpg", quality=95)
    Image.fromarray(draw_car((20, 40, 220))).save(folder / "sub" / "blue.png")
    Image.fromarray(np.full((96, 128, 3), 128, np.uint8)).save(folder / "grey.jpg", quality=95)
    return folder


def _is_loopback(host: str | bytes) -> bool:
    name = host.decode() if isinstance(host, bytes) else str(host)
    if name in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(name.split("%")[0]).is_loopback
    except ValueError:
        return False
