"""The service in the test's own process: by a client that calls it directly, or listening on a port."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

pytest.importorskip("fastapi", reason="the web service is not installed: pip install 'carclf[serve]'")

from starlette.testclient import TestClient

from carclf.service.metrics import Metrics
from carclf.service.settings import ServiceSettings
from carclf.service.web.app import create_app
from tests.carclf.apps import listening
from tests.carclf.service.stand_ins import make_local


@contextmanager
def client_of(app) -> Iterator[TestClient]:
    """A client of a service that is ready. An exception that leaves the application is one here, too."""
    with TestClient(app) as client:
        for _ in range(200):
            if client.get("/readyz").status_code == 200:
                break
            time.sleep(0.02)
        yield client


@pytest.fixture
def serve() -> Iterator[Callable]:
    """Makes a client of a service with settings of its own; `make` gives the backend."""
    with ExitStack() as stack:

        def serve(make: Callable = make_local, **settings) -> TestClient:
            chosen, metrics = ServiceSettings.of(**settings), Metrics()
            return stack.enter_context(client_of(create_app(make(chosen, metrics), chosen, metrics)))

        yield serve


@pytest.fixture
def client(serve) -> TestClient:
    return serve()


@pytest.fixture
def listen() -> Iterator[Callable[..., str]]:
    """Starts a service in a thread; gives its address."""
    with ExitStack() as stack:

        def listen(make: Callable = make_local, **settings) -> str:
            chosen, metrics = ServiceSettings.of(**settings), Metrics()
            app = create_app(make(chosen, metrics), chosen, metrics)
            return stack.enter_context(listening(app, chosen))

        yield listen
