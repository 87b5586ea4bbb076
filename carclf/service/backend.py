"""Who answers: the service asks one of these, and does not know where the models are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from carclf.service.answer import Answer


@dataclass(frozen=True)
class Upload:
    """A photo as it was sent. name: for the answer, never a path of this machine. data: the bytes of the file."""

    name: str
    data: bytes


class Busy(Exception):
    """More photos wait than can be answered in time: the client is to come again later."""


class Backend(Protocol):
    """Recognizes photos; from `start` to `stop`, in the event loop of the service."""

    async def start(self) -> None:
        """Loads models or connects. Raises `UsageError` when that can't work."""

    async def stop(self) -> None:
        """Finishes what it has taken, as far as it can."""

    def ready(self) -> bool:
        """Whether photos can be answered now."""

    async def recognize(self, uploads: Sequence[Upload], pictures: bool = False) -> list[Answer]:
        """One answer a photo, in order; pictures: with outline and cut-out. Raises `Busy`."""
