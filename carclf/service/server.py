"""Runs the service in this process until it is told to stop."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from carclf.service.choose import make_backend
from carclf.service.contract import Backend
from carclf.service.settings import ServiceSettings
from detection.common.console import log_to_stderr
from detection.common.errors import UsageError, need
from detection.common.machine import return_freed_memory

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from carclf.service.metrics import Metrics


NEEDED = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")
OWN_FILES = 200  # that the process opens beside its connections


def check_installed() -> None:
    """Raises `UsageError` with the command that installs what the service needs."""
    need(NEEDED, "The web service", extra="")


def run(settings: ServiceSettings, make: Callable[[ServiceSettings, Metrics], Backend] = make_backend) -> None:
    """Serves until SIGTERM or Ctrl-C, then finishes what it has taken. Raises `UsageError`.

    make: gives the backend.
    """
    check_installed()
    return_freed_memory()
    log_to_stderr()
    listener = bound(settings.host, settings.port)
    try:
        _serve(settings, make, listener)
    finally:
        listener.close()


def _serve(settings: ServiceSettings, make: Callable, listener: socket.socket) -> None:
    from carclf.service.metrics import Metrics
    from carclf.service.remote.fetch import MOST_FETCHES
    from carclf.service.web.app import create_app
    from carclf.service.web.door import SPARE

    log = logging.getLogger("carclf")
    failures: list[BaseException] = []

    def failed(error: BaseException) -> None:
        failures.append(error)
        server.should_exit = True

    _open_files(settings.max_connections + SPARE + OWN_FILES + (MOST_FETCHES if settings.allow_urls else 0))
    metrics = Metrics()
    app = create_app(make(settings, metrics), settings, metrics, failed)
    server = _server(app, settings)
    host, port = listener.getsockname()[:2]
    log.info("listening on http://%s:%d (pid %d)", f"[{host}]" if ":" in host else host, port, os.getpid())
    if settings.api_key is None:
        log.info("there is no API key: whoever reaches this address is answered")
    if settings.allow_urls:
        log.info("clients may name photos by URL: this process fetches them from public addresses")
    _run(server, listener)
    if failures:
        raise failures[0]


def serve_until_stopped(app: FastAPI, settings: ServiceSettings, listener: socket.socket) -> None:
    """Runs any application behind the service's own door until SIGTERM or Ctrl-C."""
    _run(_server(app, settings), listener)


def _server(app: FastAPI, settings: ServiceSettings) -> uvicorn.Server:
    import uvicorn

    from carclf.service.web.door import server_config

    class Server(uvicorn.Server):
        def handle_exit(self, sig, frame) -> None:
            app.state.stopping = True  # before connections close: a balancer that asks is told
            super().handle_exit(sig, frame)

    return Server(server_config(app, settings))


def _run(server: uvicorn.Server, listener: socket.socket) -> None:
    # uvicorn raises the signal again when it is done; a stop that was asked for is a good end.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        server.run([listener])
    finally:
        signal.signal(signal.SIGTERM, before)


def _open_files(wanted: int) -> None:
    """Lets this process open `wanted` files, if it may: where it can't accept a connection, nobody gets an answer."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    if sys.platform == "win32":  # said for type checkers
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))
        if allowed < wanted:
            logging.getLogger("carclf").warning(
                "this process may open %d files only: fewer connections than --max-connections are possible", allowed
            )


def bound(host: str, port: int) -> socket.socket:
    """A bound socket, before anything slow is done. Raises `UsageError`."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]  # fmt: skip
        listener = socket.socket(family, socket.SOCK_STREAM)
        # To Windows the usual option means that two services may have one port.
        alone = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)
        listener.setsockopt(socket.SOL_SOCKET, alone, 1)
        listener.bind(address)
    except OSError as error:
        raise UsageError(
            f"Port {port} of '{host}' can't be used: {error.strerror or error}; choose another with --port."
        ) from error
    return listener
