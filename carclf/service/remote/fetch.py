"""One GET of a photo: every address is checked, and connected to as it was checked."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import anyio
import h11

from carclf.service.remote.addresses import PORTS, Address, NotFetched, Target, is_public, not_public, parse
from detection.version import __version__

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
# Takes so many bytes before they are kept; False where there is no room for them.
Take = Callable[[int], Awaitable[bool]]

MOST_FETCHES = 64  # at a time, of all clients
_TYPES = re.compile(r"(image/[\w.+-]+|application/octet-stream|binary/octet-stream|)", re.ASCII)
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_HEAD = 32_768  # bytes of an answer's head
_CHUNK = 65_536
# Of their own: whoever serves names slowly is not to hold up what else this process does in threads.
_lookups = ThreadPoolExecutor(8, thread_name_prefix="carclf-lookup")


async def look_up(host: str, port: int) -> Sequence[str]:
    """All addresses of a name, as this machine knows them. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.run_in_executor(_lookups, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    return list(dict.fromkeys(str(where[0]) for *_, where in found))


@dataclass(frozen=True)
class Remote:
    """How photos are fetched; times in seconds. The defaults are what a service has: no setting changes who is let in.

    allowed: whether an address may be connected to. resolve: the addresses of a name. read_timeout: without a byte.
    """

    allowed: Callable[[Address], bool] = is_public
    resolve: Resolve = look_up
    ports: frozenset[int] = frozenset(PORTS.values())
    context: ssl.SSLContext = field(default_factory=ssl.create_default_context)
    connect_timeout: float = 5
    read_timeout: float = 5
    redirects: int = 3

    async def get(self, url: str, most: int, seconds: float, take: Take) -> bytes:
        """The file of the photo. most: bytes that it may have. seconds: for all of it, with its redirects.

        Raises `NotFetched`.
        """
        try:
            # Before Python 3.12, `asyncio.wait_for` may swallow that it is cancelled.
            with anyio.fail_after(seconds):
                return await self._follow(url, most, take)
        except TimeoutError:
            raise NotFetched(504, f"The URL did not give a photo within {seconds:g} seconds.") from None

    async def _follow(self, url: str, most: int, take: Take) -> bytes:
        target = parse(url, self.ports)
        for _ in range(self.redirects + 1):
            reader, writer = await self._connect(target)
            try:
                found = await _Exchange(reader, writer, self.read_timeout).get(target, most, take)
            except (OSError, EOFError, h11.RemoteProtocolError):
                raise NotFetched(502, "The server of the URL broke off, or does not speak HTTP.") from None
            finally:
                writer.transport.abort()
            if isinstance(found, bytes):
                return found
            try:
                target = parse(target.joined(found.location), self.ports)
            except (NotFetched, ValueError) as error:
                if isinstance(error, NotFetched) and error.status != 400:
                    raise
                raise NotFetched(502, "The URL leads on to another that is not accepted.") from None
        raise NotFetched(502, f"The URL leads on more than {self.redirects} times.")

    async def _connect(self, target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        secure = {"ssl": self.context, "server_hostname": target.host} if target.scheme == "https" else {}
        for address in (await self._checked(target))[:2]:
            try:
                # The address and not the name: nobody is asked for it again.
                with anyio.fail_after(self.connect_timeout):
                    return await asyncio.open_connection(str(address), target.port, limit=_CHUNK, **secure)  # type: ignore[arg-type]
            except ssl.SSLError:
                raise NotFetched(502, "The server of the URL has no valid certificate.") from None
            except OSError:  # also that the time is over
                continue
        raise NotFetched(502, "The server of the URL can't be reached.")

    async def _checked(self, target: Target) -> list[Address]:
        """All addresses of the target. Raises `NotFetched` unless each of them is allowed."""
        try:
            found = [target.address] if target.address else await self._resolved(target)
        except (OSError, ValueError):
            raise not_public() from None
        if not found or not all(self.allowed(address) for address in found):
            raise not_public()
        return found

    async def _resolved(self, target: Target) -> list[Address]:
        with anyio.fail_after(self.connect_timeout):
            names = await self.resolve(target.host, target.port)
        return [ipaddress.ip_address(name) for name in names]


@dataclass(frozen=True)
class _Redirect:
    location: str


class _Exchange:
    """One request on one connection, and its answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout: float):
        self.reader, self.writer, self.timeout = reader, writer, timeout
        self.http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST_HEAD)

    async def get(self, target: Target, most: int, take: Take) -> bytes | _Redirect:
        """Raises `NotFetched`, OSError, EOFError and h11.RemoteProtocolError."""
        headers = [
            ("Host", target.netloc),
            ("User-Agent", f"carclf/{__version__}"),
            ("Accept", "image/*"),
            ("Accept-Encoding", "identity"),
            ("Connection", "close"),
        ]
        request = h11.Request(method="GET", target=target.path, headers=headers)
        self.writer.write((self.http.send(request) or b"") + (self.http.send(h11.EndOfMessage()) or b""))
        event = await self._next()
        while isinstance(event, h11.InformationalResponse):
            event = await self._next()
        if not isinstance(event, h11.Response):
            raise EOFError
        head = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
        if event.status_code in _REDIRECTS and head.get("location"):
            return _Redirect(head["location"])
        _check(event.status_code, head, most)
        data = bytearray()
        while isinstance(event := await self._next(), h11.Data):
            if len(data) + len(event.data) > most:
                raise _too_large(most)
            if not await take(len(event.data)):
                raise NotFetched(503, "Too many photos wait to be answered: try again in some seconds.")
            data += event.data
        if not isinstance(event, h11.EndOfMessage):
            raise EOFError
        return bytes(data)

    async def _next(self):
        while (event := self.http.next_event()) is h11.NEED_DATA:
            try:
                with anyio.fail_after(self.timeout):
                    data = await self.reader.read(_CHUNK)
            except TimeoutError:
                raise NotFetched(504, f"The server of the URL sent nothing for {self.timeout:g} seconds.") from None
            self.http.receive_data(data)
        return event


def _check(status: int, head: dict[str, str], most: int) -> None:
    """Raises `NotFetched` unless a photo follows."""
    if status != 200:
        raise NotFetched(502, f"The server of the URL answered with status {status} and no photo.")
    kind = head.get("content-type", "").partition(";")[0].strip().lower()
    if not _TYPES.fullmatch(kind):
        raise NotFetched(415, "The URL gives something that its server does not call an image.")
    if head.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise NotFetched(415, "The URL gives a compressed body, which is not accepted.")
    length = head.get("content-length", "")
    if length.isdecimal() and int(length) > most:
        raise _too_large(most)


def _too_large(most: int) -> NotFetched:
    return NotFetched(413, f"The photo of the URL is larger than {most / 1e6:.3g} MB: shrink it first.")
