"""Files to fetch, and a server that has them."""

from __future__ import annotations

import pytest

from carclf.tools.fetch import part
from tests.carclf.drawn import draw_folders
from tests.carclf.tools.file_server import file_server
from tests.detection.common.places.conftest import own_world, s3, s3_server  # noqa: F401


@pytest.fixture
def server():
    with file_server() as server:
        yield server


@pytest.fixture
def pauses(monkeypatch):
    """The seconds that were waited for, without waiting."""
    waited: list[float] = []
    monkeypatch.setattr(part.time, "sleep", waited.append)
    monkeypatch.setattr(part, "PAUSES", (1.0, 2.0, 4.0))
    return waited


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> dict[str, bytes]:
    root = draw_folders(tmp_path_factory.mktemp("drawn"), each=3, classes=("red", "blue"))
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*.jpg"))}
