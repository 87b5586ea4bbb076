"""The page for people and the page of the API: files of this package, nothing from elsewhere."""

from __future__ import annotations

import html
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from carclf.service.settings import ServiceSettings
from carclf.service.web.middleware import DOCS_POLICY
from carclf.service.web.refusal import Refused
from detection.version import __version__

STATIC = Path(__file__).with_name("static")
_SWAGGER = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
# Asked again each time, and answered with 304: a new version is there at once.
_REVALIDATE = {"Cache-Control": "no-cache"}


class Files(StaticFiles):
    """The page's scripts and styles."""

    def file_response(self, *arguments, **named) -> Response:
        response = super().file_response(*arguments, **named)
        response.headers.update(_REVALIDATE)
        return response


def add_page(app: FastAPI, settings: ServiceSettings) -> None:
    app.include_router(_router(settings))
    app.mount("/static", Files(directory=STATIC), name="static")


def _router(settings: ServiceSettings) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    page = _filled("index.html", settings)
    docs = _filled("docs.html", settings)

    @router.api_route("/", methods=["GET", "HEAD"])
    async def index() -> Response:
        return HTMLResponse(page, headers=_REVALIDATE)

    @router.api_route("/docs", methods=["GET", "HEAD"])
    async def api() -> Response:
        return HTMLResponse(docs, headers=_REVALIDATE | {"Content-Security-Policy": DOCS_POLICY})

    @router.get("/docs/{name}")
    async def swagger(name: str, request: Request) -> Response:
        folder = _swagger_folder()
        if name not in _SWAGGER or folder is None:
            raise Refused(404, "There is nothing at this address: see / for the page, /docs for the API.")
        return FileResponse(folder / name, media_type=_SWAGGER[name], headers={"Cache-Control": "max-age=86400"})

    @router.get("/favicon.ico")
    async def favicon() -> Response:
        return FileResponse(STATIC / "icon.svg", media_type="image/svg+xml", headers={"Cache-Control": "max-age=86400"})

    return router


def _filled(name: str, settings: ServiceSettings) -> str:
    """A page with what it must know of the service."""
    values = {
        "version": __version__,
        "key": "required" if settings.api_key is not None else "none",
        "kept": "uploaded photos are kept" if settings.save_uploads else "photos are answered and forgotten",
        "max_photo_bytes": str(settings.max_photo_bytes),
    }
    text = (STATIC / name).read_text(encoding="utf-8")
    for key, value in values.items():
        text = text.replace("{{ " + key + " }}", html.escape(value))
    return text


def _swagger_folder() -> Path | None:
    """Swagger UI's files come with fastapi-offline; looked up without importing it."""
    found = find_spec("fastapi_offline")
    return None if found is None or found.origin is None else Path(found.origin).parent / "static"
