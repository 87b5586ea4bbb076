"""Micro-batching: what arrives together goes to the models together, without keeping a single photo waiting."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Job:
    """Something to be worked on, and where its result goes."""

    thing: Any
    result: asyncio.Future
    since: float = field(default_factory=perf_counter)


class Batcher:
    """Calls `function` with lists of things, in threads that are its own; each thing gets its own result.

    function: takes up to `size` things, returns a result for each; an Exception among them is raised for that one.
    expected: how many things are on their way here. While there are some, a batch that is not full waits for them,
        `wait` seconds at most; a lone thing is worked on at once.
    side_by_side: how many batches are worked on at a time, each in a thread.
    seen: is told of each batch the seconds that each thing waited, and the seconds of work.
    """

    def __init__(
        self,
        function: Callable[[list], Sequence],
        size: int,
        wait: float,
        expected: Callable[[], int] = lambda: 0,
        seen: Callable[[list[float], float], None] = lambda waited, worked: None,
        thread: ThreadPoolExecutor | None = None,
        side_by_side: int = 1,
    ):
        self.function = function
        self.size = size
        self.wait = wait
        self.expected = expected
        self.seen = seen
        self.side_by_side = side_by_side
        self._thread = thread or ThreadPoolExecutor(side_by_side, thread_name_prefix="carclf-models")
        self._jobs: deque[Job] = deque()
        self._came = asyncio.Event()
        self._runners: list[asyncio.Task] = []

    def start(self) -> None:
        self._runners = [asyncio.create_task(self._run()) for _ in range(self.side_by_side)]

    async def stop(self) -> None:
        """Ends; what still waits is cancelled."""
        for runner in self._runners:
            runner.cancel()
        await asyncio.gather(*self._runners, return_exceptions=True)
        for job in self._jobs:
            job.result.cancel()
        self._jobs.clear()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def submit(self, thing: Any) -> Any:
        """Its result. When this is cancelled before its batch begins, the thing is never worked on."""
        job = Job(thing, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self._came.set()
        return await job.result

    async def _run(self) -> None:
        while True:
            batch = await self._gather()
            if batch:
                await self._work(batch)

    async def _gather(self) -> list[Job]:
        await self._more()
        ends = perf_counter() + self.wait
        while len(self._jobs) < self.size and self.expected() > 0:
            left = ends - perf_counter()
            if left <= 0:
                break
            self._came.clear()
            try:
                await asyncio.wait_for(self._came.wait(), left)
            except asyncio.TimeoutError:
                break
        batch: list[Job] = []
        while self._jobs and len(batch) < self.size:
            job = self._jobs.popleft()
            if not job.result.done():  # cancelled: nobody wants it any more
                batch.append(job)
        return batch

    async def _more(self) -> None:
        while not self._jobs:
            self._came.clear()
            await self._came.wait()

    async def _work(self, batch: list[Job]) -> None:
        began = perf_counter()
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(self._thread, self.function, [job.thing for job in batch])
            if len(results) != len(batch):
                raise RuntimeError(f"{len(results)} results for {len(batch)} things")
        except Exception as error:
            log.exception("a batch of %d failed", len(batch))
            results = [error] * len(batch)
        self.seen([began - job.since for job in batch], perf_counter() - began)
        for job, result in zip(batch, results, strict=True):
            if job.result.done():
                continue
            if isinstance(result, Exception):
                job.result.set_exception(result)
            else:
                job.result.set_result(result)
