"""A review in the test's own process: by a client that calls it directly, or listening on a port."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the web service is not installed: pip install 'carclf[serve]'")

from starlette.testclient import TestClient

from carclf.datasets.corrections.journal import journal_folder
from carclf.service.settings import ServiceSettings
from carclf.tools.garage.vectors import FORMAT, VectorTable, write_vectors
from carclf.tools.review.sources.source import read_source
from carclf.tools.review.web.app import create_review
from carclf.tools.review.web.room import ReviewRoom
from tests.carclf.apps import listening
from tests.carclf.drawn import COLOURS, draw_folders


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four photos each of red, green and blue."""
    return draw_folders(tmp_path / "data", 4)


@pytest.fixture
def vectors(data: Path) -> Path:
    """A file of `carclf embed`: photos of a class have near vectors; the last one has none."""
    files = sorted(data.rglob("*.jpg"))
    table = np.random.default_rng(0).normal(0, 0.05, (len(files), 16)).astype(np.float32)
    table[range(len(files)), [sorted(COLOURS).index(file.parent.name) for file in files]] += 1
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    table[-1] = np.nan
    same = {
        "status": "ok",
        "label": None,
        "confidence": None,
        "box": None,
        "reason": "",
        "model": "m",
        "format": FORMAT,
    }
    rows = [same | {"file": str(file)} for file in files]
    write_vectors(data.parent / "vectors.npy", VectorTable(rows, table))
    return data.parent / "vectors.npy"


@pytest.fixture
def opened() -> Iterator[Callable[..., ReviewRoom]]:
    """Opens a source as the command does; closed after the test."""
    with ExitStack() as stack:

        def opened(source: Path, images: Path | None = None, vectors: Path | None = None) -> ReviewRoom:
            room = ReviewRoom(read_source(source, images, vectors), journal_folder(source), "ann")
            stack.callback(room.close)
            return room

        yield opened


@pytest.fixture
def client(opened) -> Callable[..., TestClient]:
    """A client of a review, as a browser on this machine."""

    def client(source: Path, token: str | None = None, **more) -> TestClient:
        app = create_review(opened(source, **more), ServiceSettings(), token, frozenset() if token is None else None)
        return TestClient(app, base_url="http://127.0.0.1:8010")

    return client


@pytest.fixture
def listen(opened) -> Iterator[Callable[..., str]]:
    """Serves a source from a thread; gives the address."""
    with ExitStack() as stack:

        def listen(source: Path, **more) -> str:
            settings = ServiceSettings()
            app = create_review(opened(source, **more), settings)
            return stack.enter_context(listening(app, settings)) + "/"

        yield listen
