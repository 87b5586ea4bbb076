"""The web application: routes and page over a backend."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from carclf.service.contract import Backend
from carclf.service.metrics import Metrics
from carclf.service.remote.fetch import Remote
from carclf.service.settings import ServiceSettings
from carclf.service.web.door import Share
from carclf.service.web.middleware import Prefix, Watch
from carclf.service.web.page import add_page
from carclf.service.web.refusal import Refused
from carclf.service.web.routes import make_router
from detection.version import __version__

log = logging.getLogger(__name__)
DESCRIPTION = (
    "A photo of a car goes in; its make and model come out.\n\n"
    "    curl -F photos=@car.jpg http://127.0.0.1:8000/predict\n\n"
    "Whatever goes wrong is answered with `{\"detail\": \"one sentence\"}`."
)  # fmt: skip


def create_app(
    backend: Backend,
    settings: ServiceSettings | None = None,
    metrics: Metrics | None = None,
    failed: Callable[[BaseException], None] | None = None,
    remote: Remote | None = None,
) -> FastAPI:
    """The service. It answers `/healthz` at once and starts the backend meanwhile.

    metrics: those that the backend writes to, too. failed: is told when the backend can't be started; without it the
    service keeps running and is never ready. remote: how photos are fetched with `allow_urls`; tests have their own.
    """
    settings = settings or ServiceSettings()
    metrics = metrics or Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        starting = asyncio.create_task(_start(backend, failed))
        try:
            yield
        finally:
            app.state.stopping = True
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            await backend.stop()

    app = FastAPI(
        title="carclf",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,  # their pages fetch scripts from elsewhere; ours is in page.py
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.stopping = False
    app.include_router(make_router(backend, settings, metrics, remote))
    add_page(app, settings)
    if settings.cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors),
            allow_methods=["GET", "POST"],
            allow_headers=["X-API-Key", "Authorization"],
            expose_headers=["Retry-After"],
        )
    if settings.root_path:
        app.add_middleware(Prefix, prefix=settings.root_path)
    app.add_middleware(Share, settings=settings)
    app.add_middleware(Watch, metrics=metrics)
    app.exception_handler(Refused)(_refused)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(HTTPException)(_http_error)
    return app


async def _start(backend: Backend, failed: Callable[[BaseException], None] | None) -> None:
    try:
        await backend.start()
    except Exception as error:
        log.error("the backend can't be started: %s", error)
        if failed is not None:
            failed(error)
    else:
        log.info("ready: photos are answered")


async def _refused(request: Request, error: Refused) -> Response:
    return JSONResponse({"detail": error.detail}, error.status, error.headers)


async def _invalid(request: Request, error: RequestValidationError) -> Response:
    """One sentence in place of FastAPI's list."""
    first = error.errors()[0]
    where = " ".join(str(part) for part in first["loc"])
    return JSONResponse({"detail": f"Wrong {where}: {first['msg']}."}, 422)


async def _http_error(request: Request, error: HTTPException) -> Response:
    known = {
        404: "There is nothing at this address: see / for the page, /docs for the API.",
        405: f"{request.method} is not possible here: see /docs.",
    }
    return JSONResponse({"detail": known.get(error.status_code, str(error.detail))}, error.status_code, error.headers)
