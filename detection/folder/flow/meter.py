"""How busy each part of a folder run is, and so which one the others wait for."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from detection.folder.out.summary import PARTS


class Meter:
    """Adds up the seconds that threads spend in each part."""

    def __init__(self):
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._lock = threading.Lock()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Counts the time within the block for a part; used by many threads at once."""
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            with self._lock:
                self.seconds[name] += spent

    def busy(self, elapsed: float, threads: Mapping[str, int]) -> dict[str, float]:
        """The share of its threads' time, 0..1, that each part worked.

        threads: how many work at a part. Cut and write share theirs: together they are at most 1.
        """
        if elapsed <= 0:
            return dict.fromkeys(PARTS, 0.0)
        return {part: min(1.0, self.seconds[part] / (elapsed * threads[part])) for part in PARTS}
