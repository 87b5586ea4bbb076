"""The web application of `carclf review`, and the server that runs it."""

from __future__ import annotations

import logging
import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from carclf.datasets.corrections.journal import journal_folder
from carclf.service.metrics import Metrics
from carclf.service.server import bound, serve_until_stopped
from carclf.service.settings import ServiceSettings, find_api_key
from carclf.service.web.door import Share
from carclf.service.web.middleware import Watch
from carclf.service.web.refusal import Refused
from carclf.tools.review.sources.source import read_source
from carclf.tools.review.web.guard import Guard, is_loopback_host
from carclf.tools.review.web.room import ReviewRoom
from carclf.tools.review.web.routes import make_router, static_files
from detection.common.console import Track, log_to_stderr, untracked
from detection.common.machine import return_freed_memory

log = logging.getLogger("carclf")


def create_review(
    room: ReviewRoom, settings: ServiceSettings, token: str | None = None, names: frozenset[str] | None = frozenset()
) -> FastAPI:
    """The application. names: hosts beside those of this machine that browsers may ask for; None: any, with a token."""
    app = FastAPI(title="carclf review", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(make_router(room))
    app.mount("/static", static_files(), name="static")
    app.add_middleware(_Asked, room=room)
    app.add_middleware(Guard, token=token, names=names)
    app.add_middleware(Share, settings=settings)
    app.add_middleware(Watch, metrics=Metrics())
    app.exception_handler(Refused)(_refused)
    app.exception_handler(HTTPException)(_http_error)
    return app


def review(
    source: str | Path,
    images: Path | None = None,
    vectors: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8010,
    person: str = "",
    token_file: Path | None = None,
    track: Track = untracked,
    ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Serves the page of a source until SIGTERM or Ctrl-C. Raises `UsageError`.

    token_file: holds the token; without one, a token is made where other machines can reach the page. person: how a
    page calls its user at first. ready: is told the address to open.
    """
    settings = ServiceSettings.of(host=host, port=port)
    local = is_loopback_host(host)
    key = find_api_key(token_file) if token_file is not None else None
    token = key.get_secret_value() if key is not None else None if local else secrets.token_urlsafe(24)
    listener = bound(host, port)
    try:
        folder = journal_folder(source)
        photos = read_source(source, images, vectors, track)
        return_freed_memory()
        log_to_stderr()
        logging.getLogger("carclf.access").setLevel(logging.WARNING)  # a line per thumbnail tells nobody anything
        room = ReviewRoom(photos, folder, person, track)
        try:
            room.begin()
            app = create_review(room, settings, token, frozenset() if local else None)
            ready(_address(listener, token))
            serve_until_stopped(app, settings, listener)
        finally:
            room.close()
    finally:
        listener.close()


def _address(listener: socket.socket, token: str | None) -> str:
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{port}/" + (f"?token={token}" if token else "")


class _Asked:
    """Notes when somebody asked for anything: thumbnails are made ahead in between."""

    def __init__(self, app: ASGIApp, room: ReviewRoom):
        self.app, self.room = app, room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].endswith("/changes"):
            self.room.asked = time.monotonic()
        await self.app(scope, receive, send)


async def _refused(request: Request, error: Refused) -> Response:
    return JSONResponse({"detail": error.detail}, error.status, error.headers)


async def _http_error(request: Request, error: HTTPException) -> Response:
    detail = "There is nothing at this address." if error.status_code == 404 else str(error.detail)
    return JSONResponse({"detail": detail}, error.status_code, error.headers)
