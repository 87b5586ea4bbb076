"""Photos out of a multipart body: read as it comes in, within limits, in memory only.

Frameworks put larger parts into temp files, and look at the size when all has come. Here a body that is too large ends
as soon as it is, and nothing of it ever touches the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Coroutine
from email.message import Message
from typing import TYPE_CHECKING, Any, TypeVar

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from carclf.service.contract import Upload
from carclf.service.room import Holding
from carclf.service.settings import ServiceSettings
from carclf.service.web.refusal import RETRY_AFTER, Refused, busy, too_large

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

Thing = TypeVar("Thing")
HOW = "send the photos as files in a multipart/form-data body, as curl -F photos=@car.jpg does"
_MAX_FIELDS = 32  # other fields than photos: read and passed over
_MAX_FIELD_BYTES = 65_536
_MAX_NAME = 120
# A client that is refused while it sends reads the answer only after it has sent the rest. So the rest is read and
# thrown away, up to this many bytes and seconds.
_DRAIN_BYTES = 200_000_000
_DRAIN_SECONDS = 10.0
# What is declared as one of these may be a photo; the decoder finds out.
_TYPES = re.compile(r"^(image/.*|application/octet-stream|binary/octet-stream|)$")


class Body:
    """The body of a request as it comes in, and whether it has ended."""

    def __init__(self, request: Request):
        self.receive = request.receive
        # A client that asks for leave to send waits for it, and gets the refusal instead.
        self.held_back = "100-continue" in request.headers.get("expect", "").lower()
        self.ended = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """Raises ClientDisconnect when the client goes in the middle of it."""
        while not self.ended:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                self.ended = True
                raise ClientDisconnect
            self.ended = not message.get("more_body", False)
            yield message.get("body", b"")

    async def left(self) -> None:
        """Returns when the client has gone; only for a body that has ended."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def drain(self) -> None:
        """Reads the rest that nobody wants, within reason."""
        if self.held_back:
            return

        async def read() -> None:
            thrown = 0
            async for chunk in self.chunks():
                thrown += len(chunk)
                if thrown > _DRAIN_BYTES:
                    return

        with contextlib.suppress(asyncio.TimeoutError, ClientDisconnect):
            await asyncio.wait_for(read(), _DRAIN_SECONDS)


async def read_uploads(request: Request, settings: ServiceSettings, holding: Holding) -> list[Upload]:
    """All photos of a request, in order, at least one. Raises `Refused`."""
    body = Body(request)

    async def read() -> list[Upload]:
        boundary = _boundary(request)
        _check_length(request, settings)
        return await _parse(body, boundary, settings, holding)

    return await arrived(body, read(), settings, holding)


async def arrived(
    body: Body, reading: Coroutine[Any, Any, Thing], settings: ServiceSettings, holding: Holding
) -> Thing:
    """What `reading` gives, which reads the body. Raises `Refused`, also when it comes too slowly or ends early."""
    try:
        task = asyncio.ensure_future(reading)
        with holding.arriving(task.cancel):
            return await asyncio.wait_for(task, settings.body_timeout)
    except asyncio.CancelledError:
        if not holding.lost:
            raise
        detail = "The photos came too slowly while others needed the room: try again."
        raise Refused(408, detail, {"Connection": "close", "Retry-After": str(RETRY_AFTER)}) from None
    except asyncio.TimeoutError:
        detail = f"The photos did not arrive within {settings.body_timeout:g} seconds: try again."
        raise Refused(408, detail, {"Connection": "close"}) from None
    except ClientDisconnect:
        raise Refused(400, "The body ended before it was complete.") from None
    except Refused:
        await body.drain()
        raise


def clean_name(name: str, number: int) -> str:
    """The name of a photo for its answer: without folders and control characters, of bearable length.

    >>> clean_name("C:\\\\photos\\\\car.jpg", 1), clean_name("", 2)
    ('car.jpg', 'photo 2')
    """
    last = re.split(r"[/\\]", name)[-1]
    printable = "".join(letter if letter.isprintable() else "?" for letter in last).strip()
    return printable[:_MAX_NAME] or f"photo {number}"


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        given = kind.decode("latin-1")
        raise Refused(415, f"A body of type {_shown(given)} is not accepted: {HOW}.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "A compressed body is not accepted: send it without Content-Encoding.")
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise Refused(400, f"The Content-Type names no boundary: {HOW}.")
    return boundary


def _shown(kind: str) -> str:
    return f"'{''.join(letter if letter.isprintable() else '?' for letter in kind[:60])}'" if kind else "''"


def _check_length(request: Request, settings: ServiceSettings) -> None:
    with contextlib.suppress(ValueError):
        if int(request.headers.get("content-length", "0")) > settings.max_request_bytes:
            raise _request_too_large(settings)


def _request_too_large(settings: ServiceSettings) -> Refused:
    return too_large(
        f"The request is larger than {_megabytes(settings.max_request_bytes)}: send fewer or smaller photos."
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.3g} MB"


async def _parse(body: Body, boundary: bytes, settings: ServiceSettings, holding: Holding) -> list[Upload]:
    total = 0
    parts = _Parts(settings)
    try:
        parser = MultipartParser(boundary, parts.callbacks())
        async for chunk in body.chunks():
            total += len(chunk)
            if total > settings.max_request_bytes:
                raise _request_too_large(settings)
            if not await holding.take(len(chunk)):
                raise busy("Too many photos wait to be answered: try again in some seconds.")
            parser.write(chunk)
        parser.finalize()
    except FormParserError:
        raise Refused(400, f"The body is not well-formed multipart/form-data: {HOW}.") from None
    if not parts.ended:
        raise Refused(400, "The body ends before its closing boundary: it was not sent completely.")
    if not parts.uploads:
        raise Refused(422, f"There is no photo in the request: {HOW}.")
    return parts.uploads


class _Parts:
    """What python-multipart's parser finds, put together."""

    def __init__(self, settings: ServiceSettings):
        self.settings = settings
        self.uploads: list[Upload] = []
        self.ended = False
        self._fields = 0
        self._header = (bytearray(), bytearray())
        self._headers: dict[str, bytes] = {}
        self._data = bytearray()
        self._name: str | None = None

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self.begin,
            "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
            "on_header_end": self.header_end,
            "on_headers_finished": self.headers_finished,
            "on_part_data": self.data,
            "on_part_end": self.part_end,
            "on_end": self.end,
        }

    def begin(self) -> None:
        self._headers.clear()
        self._data = bytearray()

    def header_end(self) -> None:
        name, value = self._header
        self._headers[name.decode("latin-1").lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def headers_finished(self) -> None:
        self._name = _file_name(self._headers.get("content-disposition", b""))
        if self._name is None:
            self._fields += 1
            if self._fields > _MAX_FIELDS:
                raise too_large(f"The request has more than {_MAX_FIELDS} fields that are no files: {HOW}.")
            return
        if not self._name:  # a form whose file field was left empty
            return
        self._check_count()
        kind = parse_options_header(self._headers.get("content-type", b""))[0].decode("latin-1")
        if not _TYPES.match(kind):
            raise Refused(415, f"'{self._shown_name()}' was sent as {_shown(kind)}, which is not a photo: send images.")

    def data(self, data: bytes, start: int, end: int) -> None:
        if self._name is None:
            if len(self._data) + end - start > _MAX_FIELD_BYTES:
                raise too_large(f"A field that is no file is larger than {_MAX_FIELD_BYTES} bytes: {HOW}.")
        elif len(self._data) + end - start > self.settings.max_photo_bytes:
            limit = _megabytes(self.settings.max_photo_bytes)
            raise too_large(f"'{self._shown_name()}' is larger than {limit}: shrink it first.")
        self._data += data[start:end]

    def part_end(self) -> None:
        if self._name or (self._name == "" and self._data):
            self._check_count()
            self.uploads.append(Upload(self._shown_name(), bytes(self._data)))
        self._data = bytearray()

    def end(self) -> None:
        self.ended = True

    def _check_count(self) -> None:
        if len(self.uploads) == self.settings.max_files:
            raise too_large(f"A request takes {self.settings.max_files} photos at most: send the others in another.")

    def _shown_name(self) -> str:
        return clean_name(self._name or "", len(self.uploads) + 1)


def _file_name(disposition: bytes) -> str | None:
    """The name of the file in a part; None when the part is no file."""
    _, options = parse_options_header(disposition)
    if b"filename" in options:
        return options[b"filename"].decode("utf-8", "replace")
    if b"filename*" in disposition.lower():  # the way of RFC 5987, for names that are not ASCII
        message = Message()
        message["Content-Disposition"] = disposition.decode("latin-1").replace("\r", "").replace("\n", "")
        try:
            return message.get_filename() or ""
        except (ValueError, LookupError):  # a charset that is none costs the name, not the photo
            return ""
    return None
