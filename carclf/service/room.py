"""How much of something may be held at a time, by all requests together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager


class Room:
    """Room for `most` units (bytes, pixels), used within one event loop."""

    def __init__(self, most: int):
        self.most = most
        self.taken = 0
        self._freed = asyncio.Condition()

    @contextmanager
    def holding(self) -> Iterator[Holding]:
        """What is taken with the `Holding` is given back at the end."""
        holding = Holding(self)
        try:
            yield holding
        finally:
            self.taken -= holding.units

    @asynccontextmanager
    async def waiting(self, units: int) -> AsyncIterator[None]:
        """Waits until there is room. What is larger than all of it goes alone."""
        async with self._freed:
            await self._freed.wait_for(lambda: self.taken == 0 or self.taken + units <= self.most)
            self.taken += units
        try:
            yield
        finally:
            self.taken -= units  # before anything that may be cancelled
            await asyncio.shield(self._tell())

    async def _tell(self) -> None:
        async with self._freed:
            self._freed.notify_all()


class Holding:
    """The part of a `Room` that one request has."""

    def __init__(self, room: Room):
        self.room = room
        self.units = 0

    def take(self, units: int) -> bool:
        """Takes room for `units` more; False, and nothing taken, where there is not as much."""
        if self.room.taken + units > self.room.most:
            return False
        self.room.taken += units
        self.units += units
        return True
