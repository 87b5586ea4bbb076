"""Photos that were given up: looked at, saved as files, removed."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from carclf.service.queue import queues
from carclf.service.queue.connection import Connection
from detection.common.errors import UsageError
from detection.common.files import replace_file
from detection.images.find import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from aio_pika.abc import AbstractIncomingMessage

FEW = 16  # RabbitMQ has applied those before it answers; of more than 32 at once it may lose some
PATIENCE = 20.0  # for a server that does not answer, in seconds


@dataclass(frozen=True)
class DeadLetter:
    """name: as the client called the photo. time: when it was sent. size: of the photo, in bytes. file: a name for it,
    made from the content: what a client calls a photo says nothing here, but for a known suffix."""

    name: str
    reason: str
    time: datetime | None
    size: int
    file: str


def read_dead_letters(url: str | None, folder: Path | None = None, remove: bool = False) -> list[DeadLetter]:
    """All dead letters, the oldest first, with one photo in memory at a time.

    folder: photos are saved there. remove: each leaves the queue when it is saved. Raises `UsageError`.
    """
    return asyncio.run(_read(url, folder, remove))


async def _read(url: str | None, folder: Path | None, remove: bool) -> list[DeadLetter]:
    connection = Connection(url, "carclf dead letters", _nothing)
    try:
        await asyncio.wait_for(connection.open(), PATIENCE)
    except asyncio.TimeoutError as error:
        raise UsageError(f"There is no RabbitMQ server at {queues.redact(connection.url)}: is it running?") from error
    letters: list[DeadLetter] = []
    kept: list[int] = []
    try:
        queue = await connection.declare_queue(queues.dead_queue())
        while len(letters) < queues.DEAD_LENGTH and (message := await queue.get(fail=False)) is not None:
            letters.append(_letter(message))
            if folder is not None:
                _save(folder / letters[-1].file, message.body)
            if remove:  # its file is safe
                await message.ack()
            else:
                kept.append(message.delivery_tag or 0)
            channel = message.channel
        for number, tag in enumerate(kept):  # what is not given back comes back at the end, but in any order
            await channel.basic_reject(tag, requeue=True)
            if number % FEW == 0:
                await queue.declare()
    finally:
        await connection.close()
    return letters


def _letter(message: AbstractIncomingMessage) -> DeadLetter:
    name = str(message.headers.get("carclf-name", ""))
    suffix = PurePath(name).suffix.lower()
    return DeadLetter(
        name=name,
        reason=queues.death_of(message.headers) or "unknown",
        time=message.timestamp,
        size=len(message.body),
        file=hashlib.sha256(message.body).hexdigest()[:16] + (suffix if suffix in IMAGE_SUFFIXES else ".jpg"),
    )


def _save(file: Path, data: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, data)
    except OSError as error:
        raise UsageError(f"Photos can't be saved in '{file.parent}': {error.strerror or error}.") from error


async def _nothing(broker) -> None:
    pass
