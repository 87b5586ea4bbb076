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

if TYPE_CHECKING:
    from aio_pika.abc import AbstractIncomingMessage

PATIENCE = 20.0  # for a server that does not answer, in seconds


@dataclass(frozen=True)
class DeadLetter:
    """name: as the client called the photo. time: when it was sent. data: the bytes of the photo."""

    name: str
    reason: str
    time: datetime | None
    data: bytes

    @property
    def file(self) -> str:
        """A file name made from the content: what a client calls a photo says nothing here, but for a known suffix."""
        from detection.images.find import IMAGE_SUFFIXES

        suffix = PurePath(self.name).suffix.lower()
        return hashlib.sha256(self.data).hexdigest()[:16] + (suffix if suffix in IMAGE_SUFFIXES else ".jpg")


def read_dead_letters(url: str | None, folder: Path | None = None, remove: bool = False) -> list[DeadLetter]:
    """All dead letters, the oldest first. folder: photos are saved there. remove: they leave the queue then.

    Raises `UsageError`.
    """
    return asyncio.run(_read(url, folder, remove))


async def _read(url: str | None, folder: Path | None, remove: bool) -> list[DeadLetter]:
    connection = Connection(url, "carclf dead letters", _nothing)
    try:
        await asyncio.wait_for(connection.open(), PATIENCE)
    except asyncio.TimeoutError as error:
        raise UsageError(f"There is no RabbitMQ server at {queues.redact(connection.url)}: is it running?") from error
    messages: list[AbstractIncomingMessage] = []
    letters: list[DeadLetter] = []
    try:
        queue = await connection.declare_queue(queues.dead_queue())
        while len(messages) < queues.DEAD_LENGTH and (message := await queue.get(fail=False)) is not None:
            messages.append(message)
            name = str(message.headers.get("carclf-name", ""))
            reason = queues.death_of(message.headers) or "unknown"
            letters.append(DeadLetter(name, reason, message.timestamp, message.body))
            if folder is not None:
                _save(folder, letters[-1])
    finally:
        for message in messages:
            # only when all went well: a full disk must not cost photos
            if remove and len(letters) == len(messages):
                await message.ack()
            else:
                await message.nack(requeue=True)
        await connection.close()
    return letters


def _save(folder: Path, letter: DeadLetter) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / letter.file, letter.data)
    except OSError as error:
        raise UsageError(f"Photos can't be saved in '{folder}': {error.strerror or error}.") from error


async def _nothing(broker) -> None:
    pass
