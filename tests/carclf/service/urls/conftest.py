"""A server of photos, and a service that fetches from it."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from carclf.service.metrics import Metrics
from carclf.service.remote.fetch import Remote
from carclf.service.settings import ServiceSettings
from carclf.service.web.app import create_app
from tests.carclf.service.conftest import client_of
from tests.carclf.service.photo_server import gives, photo_server
from tests.carclf.service.stand_ins import RED, make_local, photo


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
