"""How much of something may be held at a time, by all requests together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

# Who brings fewer units than `STEP` within `SLOW` seconds loses its room, when others need it.
STEP = 65_536
SLOW = 1.0
WAIT = 2.0  # how long others wait for somebody to become slow, in seconds


class Room:
    """Room for `most` units (bytes, pixels), used within one event loop."""

    def __init__(self, most: int):
        self.most = most
        self.taken = 0
        self.arriving: set[Holding] = set()
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
    """The part of a `Room` that one request has. lost: whether it was taken away, as the request came too slowly."""

    def __init__(self, room: Room):
        self.room = room
        self.units = 0
        self.lost = False
        self._drop: Callable[[], object] = lambda: None
        self._fresh = 0
        self._since = 0.0

    @contextmanager
    def arriving(self, drop: Callable[[], object]) -> Iterator[None]:
        """Meanwhile the room may be taken away; `drop` is called then, and has to forget what was brought."""
        self._drop, self._since = drop, time.monotonic()
        self.room.arriving.add(self)
        try:
            yield
        finally:
            self.room.arriving.discard(self)

    async def take(self, units: int) -> bool:
        """Whether there was room for `units` more, perhaps after a while."""
        until = time.monotonic() + WAIT
        while self.room.taken + units > self.room.most:
            others = self.room.arriving - {self}
            slowest = min(others, key=lambda other: other._since, default=None)
            if slowest is None or time.monotonic() >= until:
                return False
            if time.monotonic() - slowest._since >= SLOW:
                slowest._lose()
                continue
            # It does not become slow itself while it waits for the others.
            self.room.arriving.discard(self)
            try:
                await asyncio.sleep(0.1)
            finally:
                self.room.arriving.add(self)
                self._since = time.monotonic()
        self.room.taken += units
        self.units += units
        self._fresh += units
        if self._fresh >= STEP:
            self._fresh, self._since = 0, time.monotonic()
        return True

    def _lose(self) -> None:
        self.room.arriving.discard(self)
        self.room.taken -= self.units
        self.units, self.lost = 0, True
        self._drop()
