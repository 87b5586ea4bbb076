"""Fetching photos ahead of whoever reads them, so that a distant place costs hardly more time than a near one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from detection.common.places.place import Place

Thing = TypeVar("Thing")
_MOST = 48  # photos that are fetched, or wait to be read
_MOST_BYTES = 192 << 20


def fetched_ahead(things: Iterable[Thing], path_of: Callable[[Thing], Path]) -> Iterator[Thing]:
    """The same things, in their order; the photos of the next ones are being fetched meanwhile, by several threads.

    path_of: the path of a thing's photo. Only those in distant places are fetched; their bytes are kept until
    `Place.read_bytes` takes them, at most 192 MB, or one photo.
    """
    waiting: deque[tuple[Thing, Place | None, int]] = deque()
    handed: deque[tuple[Place, int]] = deque()
    remaining = iter(things)
    pool: ThreadPoolExecutor | None = None

    def held() -> int:
        while handed and (handed[0][0].key not in handed[0][0].store.fetched or len(handed) > _MOST):
            place, _ = handed.popleft()
            place.store.fetched.pop(place.key, None)  # nobody has wanted it
        return sum(size for _, _, size in waiting) + sum(size for _, size in handed)

    try:
        while True:
            while len(waiting) < _MOST and (not waiting or held() < _MOST_BYTES):
                try:
                    thing = next(remaining)
                except StopIteration:
                    break
                path = path_of(thing)
                if not isinstance(path, Place) or not path.store.distant or path.key in path.store.fetched:
                    waiting.append((thing, None, 0))
                    continue
                pool = pool or ThreadPoolExecutor(path.store.threads, thread_name_prefix="carclf-fetch")
                known = path.store.known(path.key)
                path.store.fetched[path.key] = pool.submit(path.store.whole, path.key)
                waiting.append((thing, path, 1 << 22 if known is None else known.size))
            if not waiting:
                if pool is not None:
                    pool.shutdown(wait=False)
                return
            thing, place, size = waiting.popleft()
            if place is not None:
                handed.append((place, size))
            yield thing
    except BaseException:  # nobody reads the rest, and what lies here must not be taken for newer content
        for place in [one for _, one, _ in waiting if one is not None] + [one for one, _ in handed]:
            place.store.fetched.pop(place.key, None)
            place.store.abandon()
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
        raise
