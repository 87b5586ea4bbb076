"""Who may talk to the page's server: this machine's browser on the page itself, or whoever has the token."""

from __future__ import annotations

import hmac
import ipaddress
import json
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

COOKIE = "carclf-review"
_MONTH = 30 * 24 * 3600


class Guard:
    """Pure ASGI. token: None asks for none. names: the hosts that a browser may have asked for, None for any.

    A page elsewhere can make a browser send requests here, and a name of its own can be made to mean this machine (DNS
    rebinding): so the host asked for must be one of `names`, what is posted must come from the page itself, and the
    token's cookie is sent by no other site's page.
    """

    def __init__(self, app: ASGIApp, token: str | None, names: frozenset[str] | None):
        self.app, self.names = app, names
        self._token = None if token is None else token.encode("latin-1")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _answer(send, *refusal)
            return
        if self._token is not None and not self._holds(headers):
            given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
            if scope["path"] == "/" and self._is_token(given):
                await _let_in(send, given)
                return
            await _answer(send, 401, "Open the address that the terminal shows: it holds the token.")
            return
        await self.app(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if self.names is not None and _name(host) not in self.names and not _is_loopback(_name(host)):
            return 421, "This page has another address: open the one that the terminal shows."
        site = headers.get("sec-fetch-site", "none")
        visit = scope["method"] in ("GET", "HEAD") and headers.get("sec-fetch-mode") == "navigate"
        if site not in ("none", "same-origin") and not (visit and scope["path"] == "/"):
            return 403, "Another site's page asked for this: it is refused."
        if scope["method"] in ("GET", "HEAD"):
            return None
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return 403, "Another site's page sent this: it is refused."
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return 415, "Send JSON, with the content type application/json."
        return None

    def _holds(self, headers: Headers) -> bool:
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self._is_token(bearer.strip()):
            return True
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return False
        return COOKIE in cookies and self._is_token(cookies[COOKIE].value)

    def _is_token(self, given: str) -> bool:
        # In constant time: how long it takes must not tell how much of a guess is right.
        return self._token is not None and hmac.compare_digest(given.encode("latin-1", "replace"), self._token)


def is_loopback_host(host: str) -> bool:
    """Whether only this machine reaches what listens there.

    >>> is_loopback_host("127.0.0.1"), is_loopback_host("::1"), is_loopback_host("0.0.0.0"), is_loopback_host("box")
    (True, True, False, False)
    """
    return _is_loopback(host.strip("[]"))


def _is_loopback(name: str) -> bool:
    if name in ("localhost",):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    """The name in a Host header, without its port.

    >>> _name("LOCALHOST:80"), _name("[::1]:80")
    ('localhost', '::1')
    """
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


async def _let_in(send: Send, token: str) -> None:
    """The token goes into a cookie, and out of the address."""
    cookie = f"{COOKIE}={token}; Path=/; Max-Age={_MONTH}; HttpOnly; SameSite=Strict"
    # By a page that loads the next one, not a redirect: a link from elsewhere would not send a strict cookie with it.
    body = b'<!doctype html><meta http-equiv="refresh" content="0; url=./"><title>Review</title>'
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"set-cookie", cookie.encode("latin-1")),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _answer(send: Send, status: int, detail: str) -> None:
    body = json.dumps({"detail": detail}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),  # what else was sent is not read
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
