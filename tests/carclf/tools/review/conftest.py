"""A review in the test's own process: by a client that calls it directly, or listening on a port."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the web service is not installed: pip install 'carclf[serve]'")

from starlette.testclient import TestClient

from carclf.datasets.corrections.journal import journal_folder
from carclf.service.settings import ServiceSettings
from carclf.service.web.door import server_config
from carclf.tools.review.sources.source import read_source
from carclf.tools.review.web.app import create_review
from carclf.tools.review.web.room import ReviewRoom
from tests.carclf.drawn import draw_folders


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four photos each of red, green and blue."""
    return draw_folders(tmp_path / "data", 4)


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
    import uvicorn

    with ExitStack() as stack:

        def listen(source: Path, **more) -> str:
            room = opened(source, **more)
            listener = socket.create_server(("127.0.0.1", 0))
            settings = ServiceSettings()
            server = uvicorn.Server(server_config(create_review(room, settings), settings))
            thread = threading.Thread(target=server.run, args=([listener],), daemon=True)

            def stop() -> None:
                server.should_exit = True
                thread.join(20)
                listener.close()

            thread.start()
            stack.callback(stop)
            while not server.started:
                time.sleep(0.01)
            return f"http://127.0.0.1:{listener.getsockname()[1]}/"

        yield listen
