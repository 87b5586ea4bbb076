"""Round every request: security headers, the access log, the counts, and an end to exceptions that nobody expected."""

from __future__ import annotations

import json
import logging
from time import perf_counter
from urllib.parse import quote

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from carclf.service.metrics import Metrics

access_log = logging.getLogger("carclf.access")
log = logging.getLogger(__name__)

# Scripts and styles are files of our own; pictures are also what the page itself has made of a photo.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# Swagger UI sets styles in the page and draws its icons as data.
DOCS_POLICY = POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_NOT_LOGGED = ("/healthz", "/readyz", "/metrics")  # asked for every few seconds by machines


class Watch:
    """Pure ASGI, so that bodies pass through as streams and a client that goes is noticed."""

    def __init__(self, app: ASGIApp, metrics: Metrics):
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status, path = perf_counter(), 0, scope["path"]

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception:
            log.exception("a request failed: %s %s", scope["method"], quote(scope["path"])[:200])
            if status:  # half an answer is out: only a broken connection can say that it is not whole
                raise
            await _say_sorry(watched)
        finally:
            seconds = perf_counter() - began
            self.metrics.request(scope["method"], route_of(scope), status, seconds)
            if path not in _NOT_LOGGED or status >= 400:
                # Neither the query nor any header: keys may be in there. Quoted: a path may hold line ends.
                access_log.info(
                    '%s "%s %s" %d %.0f ms',
                    (scope.get("client") or ("-",))[0],
                    quote(scope["method"])[:20],
                    quote(path)[:200],
                    status,
                    seconds * 1000,
                )


class Prefix:
    """The service behind a proxy under a prefix such as /cars, whether the proxy passes the prefix on or not."""

    def __init__(self, app: ASGIApp, prefix: str):
        self.app = app
        self.prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"]
            scope["root_path"] = self.prefix
            scope["path"] = path if path.startswith(self.prefix + "/") else self.prefix + path
        await self.app(scope, receive, send)


def route_of(scope: Scope) -> str:
    """The template of the route, or `other`."""
    route = scope.get("route")
    path = getattr(route, "path", None)
    if path is not None:
        return path
    return "/static" if scope.get("root_path", "").endswith("/static") else "other"


async def _say_sorry(send: Send) -> None:
    body = json.dumps({"detail": "The service failed at this; its log says why."}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": body})
