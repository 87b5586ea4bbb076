"""Batches and read-ahead: streams of photos in bounded memory, where one bad photo costs one result."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Protocol, TypeVar

# Pixels of photos that are held at a time by whatever reads ahead, at least one photo per reader: 200 MB.
PIXELS_AHEAD = 64_000_000


class Costly(Protocol):
    """What is read ahead. cost: how many pixels it takes up in memory."""

    @property
    def cost(self) -> int: ...


Given = TypeVar("Given")
Read = TypeVar("Read", bound=Costly)
Result = TypeVar("Result")


def try_batch(function: Callable[[list[Given]], Iterable[Result]], images: list[Given]) -> list[Result | Exception]:
    """One result per image: of the whole batch, or one by one when that fails; an image's result may be its exception.

    >>> try_batch(lambda batch: [10 // image for image in batch], [5, 2])
    [2, 5]
    """
    if not images:
        return []
    try:
        results: list[Result | Exception] = list(function(images))
        if len(results) != len(images):
            raise RuntimeError(f"{len(results)} results for {len(images)} photos")
        return results
    except Exception as error:
        if len(images) == 1:
            return [error]
        return [try_batch(function, [image])[0] for image in images]


def read_ahead(
    read: Callable[[Given], Read], sources: Iterable[Given], readers: ThreadPoolExecutor, workers: int, ahead: int
) -> Iterator[Read]:
    """What `read` makes of each of `sources`, in their order; `ahead` are read ahead, fewer if they are large.

    As many as fit the memory if all are as large as the largest so far, as a photo's size is known too late.
    """
    waiting: deque[Future[Read]] = deque()
    remaining, largest = iter(sources), 1
    limit = workers
    while True:
        for source in islice(remaining, max(0, limit - len(waiting))):
            waiting.append(readers.submit(read, source))
        if not waiting:
            return
        photo = waiting.popleft().result()
        largest = max(largest, photo.cost)
        limit = max(workers, min(ahead + workers, PIXELS_AHEAD // largest))
        yield photo


def side_by_side(work: Callable[[Read], Result], things: Iterable[Read], threads: int) -> Iterator[Result]:
    """What `work` makes of each of `things`, in their order, in so many threads.

    Of what is worked on or waits there are at most twice as many as threads, and no more than `PIXELS_AHEAD`, but one.
    """
    waiting: deque[tuple[int, Future[Result]]] = deque()
    pixels = 0
    pool = ThreadPoolExecutor(threads, thread_name_prefix="carclf-work")
    try:
        for thing in things:
            # What is done goes on at once: who reads the results may wait for each.
            while waiting and (
                waiting[0][1].done() or len(waiting) >= 2 * threads or pixels + thing.cost > PIXELS_AHEAD
            ):
                cost, result = waiting.popleft()
                pixels -= cost
                yield result.result()
            waiting.append((thing.cost, pool.submit(work, thing)))
            pixels += waiting[-1][0]
        for _, result in waiting:
            yield result.result()
    finally:
        pool.shutdown(cancel_futures=True)
