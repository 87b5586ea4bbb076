"""Who may come in: deadlines and limits for connections, so that no client can shut out the others.

uvicorn waits for ever for the head of a request, and answers in plain text when there are too many connections. Here a
head has a deadline, an address has its share, and some connections beyond the limits are kept for the health routes.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import time
from asyncio import TimerHandle
from collections import Counter
from http import HTTPStatus

import h11
import uvicorn
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from carclf.service.settings import ServiceSettings
from carclf.service.web.middleware import HEADERS
from carclf.service.web.refusal import RETRY_AFTER
from carclf.service.web.uploads import Body

log = logging.getLogger(__name__)
HEALTH = ("/healthz", "/readyz")
SPARE = 32  # connections beyond the limits, which get answers of the health routes only
SPARE_SECONDS = 5.0  # for the head of their request
LEAVING_SECONDS = 2.0  # that a client has to read why it was refused
TELL = 60.0  # between two lines of the log, in seconds
_FULL = (503, "Too many connections are open: try again in some seconds.")
_SHARE = (429, "Too many connections are open from this address: try again in some seconds.")


class Door:
    """Counts the connections of one server: all of them, and those of each address that is no known proxy."""

    def __init__(self, settings: ServiceSettings):
        self.settings = settings
        self.inside: dict[Connection, str] = {}
        self.leaving: set[Connection] = set()
        self.spare: dict[Connection, None] = {}  # the oldest first
        self._of: Counter[str] = Counter()
        self._told = -TELL

    def enter(self, connection: Connection, address: str) -> tuple[int, str] | None:
        """Status and sentence for all but the health routes, when a limit is reached."""
        if not is_proxy(address, self.settings) and self._of[address] >= self.settings.max_per_address:
            refusal = _SHARE
        elif len(self.inside) >= self.settings.max_connections and not self._close_idle():
            refusal = _FULL
        else:
            self.inside[connection] = address
            self._of[address] += 1
            return None
        self.spare[connection] = None
        if len(self.spare) > SPARE:
            next(iter(self.spare)).refuse(*refusal)
        if time.monotonic() - self._told > TELL:
            self._told = time.monotonic()
            log.warning(
                "connections are refused: %d are open, %d of them from %s", len(self.inside), self._of[address], address
            )
        return refusal

    def leave(self, connection: Connection) -> None:
        self.spare.pop(connection, None)
        self.leaving.discard(connection)
        address = self.inside.pop(connection, None)
        if address is not None:
            self._of[address] -= 1
            if not self._of[address]:
                del self._of[address]

    def _close_idle(self) -> bool:
        """Makes a place of a connection between two requests: its client opens another one."""
        idle = next((one for one in self.inside if one.timeout_keep_alive_task is not None), None)
        if idle is None:
            return False
        idle.timeout_keep_alive_handler()
        self.leave(idle)
        return True


class Connection(H11Protocol):
    """A connection of uvicorn with a deadline for the head of each request, and for a client that reads no answer."""

    door: Door

    def connection_made(self, transport) -> None:
        super().connection_made(transport)
        self._deadline: TimerHandle | None = None
        self._unread: TimerHandle | None = None
        self._heard = self._refused = False
        seconds = self.door.settings.head_timeout
        refusal = self.door.enter(self, self.client[0] if self.client else "")
        if refusal is not None:
            seconds = min(seconds, SPARE_SECONDS)
            self.app_state = {**self.app_state, "refusal": refusal}
        self._seconds = seconds
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self.door.leave(self)
        _cancel(self._deadline)
        _cancel(self._unread)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._heard = True
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:  # the head is complete
            _cancel(self._deadline)
            self._deadline = None
        elif self._deadline is None:
            self._expect_head()

    def refuse(self, status: int, detail: str) -> None:
        """Ends the connection, with this answer unless one is on its way."""
        if self.transport.is_closing() or self._refused:
            return
        self._refused = True
        self.door.leave(self)
        _cancel(self._deadline)
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(plain_answer(status, detail))
        if len(self.door.leaving) >= SPARE:
            self.transport.close()
            return
        # Closed while the client still sends, the connection would be reset, and the answer lost.
        self.door.leaving.add(self)
        self.transport.write_eof()
        self._deadline = self.loop.call_later(LEAVING_SECONDS, self.transport.close)

    def send_400_response(self, msg: str) -> None:
        self.refuse(400, "This is not well-formed HTTP/1.1, or the head of the request is too large.")

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(self.door.settings.body_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        _cancel(self._unread)
        self._unread = None
        super().resume_writing()

    def _expect_head(self) -> None:
        self._deadline = self.loop.call_later(self._seconds, self._late)

    def _late(self) -> None:
        self._deadline = None
        if self._heard:
            self.refuse(408, f"The head of the request did not arrive within {self._seconds:g} seconds: try again.")
        else:
            self.transport.close()


class Share:
    """Refuses what `Door` has let in for the health routes only, and too many requests of one client at a time."""

    def __init__(self, app: ASGIApp, settings: ServiceSettings):
        self.app = app
        self.settings = settings
        self._of: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = scope.get("state", {}).get("refusal")
        if scope["path"].endswith(HEALTH):
            await self.app(scope, receive, _closing(send) if refusal else send)
            return
        client = (scope.get("client") or ("",))[0]  # behind a known proxy: whom that one names
        if (
            refusal is None
            and self._of[client] >= self.settings.max_per_address
            and not is_proxy(client, self.settings)
        ):
            refusal = _SHARE
        if refusal is not None:
            await Body(Request(scope, receive)).drain()
            await _refuse(send, *refusal)
            return
        self._of[client] += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._of[client] -= 1
            if not self._of[client]:
                del self._of[client]


def is_proxy(address: str, settings: ServiceSettings) -> bool:
    """Whether it is one of `settings.proxies`."""
    try:
        return any(ipaddress.ip_address(address) in ipaddress.ip_network(one) for one in settings.proxies)
    except ValueError:
        return False


def server_config(app: ASGIApp, settings: ServiceSettings) -> uvicorn.Config:
    """How uvicorn runs the service."""
    kind = type("Connection", (Connection,), {"door": Door(settings)})
    return uvicorn.Config(
        app,
        http=kind,
        ws="none",
        log_config=None,
        access_log=False,  # ours leaves queries out
        server_header=False,
        timeout_graceful_shutdown=int(settings.stop_timeout) + 1,
        timeout_keep_alive=settings.keep_alive,
        # Without any named, uvicorn's own: a proxy on this machine.
        forwarded_allow_ips=list(settings.proxies) or None,
    )


def plain_answer(status: int, detail: str) -> bytes:
    """A whole answer of HTTP/1.1, like all others of the service, after which the connection ends."""
    body = json.dumps({"detail": detail}).encode()
    head = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **_ending(status), **HEADERS}
    return "\r\n".join([*head, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode() + body


async def _refuse(send: Send, status: int, detail: str) -> None:
    body = json.dumps({"detail": detail}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **_ending(status)}
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


def _ending(status: int) -> dict[str, str]:
    again = {"Retry-After": str(RETRY_AFTER)} if status in (408, 429, 503) else {}
    return {"Connection": "close", **again}


def _closing(send: Send) -> Send:
    """The connection ends with the answer."""

    async def closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["connection"] = "close"
        await send(message)

    return closing


def _cancel(timer: TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
