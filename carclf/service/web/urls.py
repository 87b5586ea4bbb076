"""A photo that a client names by its URL, in a body of JSON."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from urllib.parse import unquote, urlsplit

from starlette.requests import Request

from carclf.service.contract import Upload
from carclf.service.remote.addresses import NotFetched
from carclf.service.remote.fetch import MOST_FETCHES, Remote
from carclf.service.room import Holding, Room
from carclf.service.settings import ServiceSettings
from carclf.service.web.refusal import RETRY_AFTER, Refused, busy, too_large
from carclf.service.web.uploads import Body, arrived, clean_name

HOW = 'send {"url": "https://host/car.jpg"}'
_MOST_BODY = 16_384  # bytes


class Urls:
    """Fetches for all clients together. remote: how."""

    def __init__(self, settings: ServiceSettings, remote: Remote):
        self.settings, self.remote = settings, remote
        self._room = Room(MOST_FETCHES)

    @staticmethod
    def named_by(request: Request) -> bool:
        """Whether the body is to hold a URL, and not photos. A page of another site can't send this type unasked."""
        return request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"

    async def read(self, request: Request, holding: Holding) -> list[Upload]:
        """The photo that the body names. Raises `Refused`."""
        body = Body(request)
        url = await arrived(body, _read_url(body), self.settings, holding)
        with self._room.holding() as place:
            fetching = asyncio.ensure_future(self._fetch(url, holding, place))
            gone = asyncio.ensure_future(body.left())
            try:
                with holding.arriving(fetching.cancel), place.arriving(fetching.cancel):
                    await asyncio.wait({fetching, gone}, return_when=asyncio.FIRST_COMPLETED)
                    if not fetching.done():
                        raise Refused(400, "The connection was closed before the answer.")
                    return [fetching.result()]
            except asyncio.CancelledError:
                if not (holding.lost or place.lost):
                    raise
                detail = "The URL gave its photo too slowly while others needed the room: try again."
                raise Refused(408, detail, {"Retry-After": str(RETRY_AFTER)}) from None
            except NotFetched as error:
                raise Refused(error.status, str(error), _headers(error.status)) from None
            finally:
                for task in (fetching, gone):
                    task.cancel()
                await asyncio.gather(fetching, gone, return_exceptions=True)

    async def _fetch(self, url: str, holding: Holding, place: Holding) -> Upload:
        if not await place.take(1):
            raise busy("Too many photos are fetched at the moment: try again in some seconds.")
        settings = self.settings
        data = await self.remote.get(url, settings.max_photo_bytes, settings.body_timeout, holding.take)
        name = ""
        with suppress(ValueError):
            name = unquote(urlsplit(url).path)
        return Upload(clean_name(name, 1), data)


async def _read_url(body: Body) -> str:
    data = bytearray()
    async for chunk in body.chunks():
        data += chunk
        if len(data) > _MOST_BODY:
            raise too_large(f"The body of JSON is larger than {_MOST_BODY} bytes: {HOW}.")
    try:
        given = json.loads(bytes(data))
    except (ValueError, RecursionError):
        raise Refused(400, f"The body is not well-formed JSON: {HOW}.") from None
    if not isinstance(given, dict) or set(given) != {"url"} or not isinstance(given["url"], str):
        raise Refused(422, f"The body must name the URL of one photo and nothing else: {HOW}.")
    return given["url"]


def _headers(status: int) -> dict[str, str]:
    return {"Retry-After": str(RETRY_AFTER)} if status == 503 else {}
