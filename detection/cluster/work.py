"""What is to be done on a cluster, as both ends see it: the driver, which hands it out, and the worker's process."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from detection.common.errors import UsageError
from detection.version import __version__


def findable(path: str) -> str:
    """A file or folder that lies here, as a worker with another working folder finds it; all else as it is.

    >>> findable("s3://bucket/photos"), findable("compact")
    ('s3://bucket/photos', 'compact')
    """
    return os.path.abspath(path) if os.path.exists(path) else path


class Work(Protocol):
    """What one worker does; it is pickled to get there, and loads nothing before `load`."""

    def load(self) -> Any:
        """Loads the models. Returns what the driver wants to know of them. Raises `UsageError`."""
        ...

    def begin(self, order: Any) -> None:
        """Takes what the driver has decided since. Raises `UsageError`."""
        ...

    def do(self, items: Sequence[Any]) -> Iterable[tuple[int, Any]]:
        """For each item its number in `items` and its result, in any order. Called by two threads at a time."""
        ...


@dataclass(frozen=True)
class Fault:
    """An exception of a worker that ends the run, as plain values: causes are not pickled. code: of an OSError."""

    text: str
    usage: bool
    code: int | None = None

    @classmethod
    def of(cls, error: BaseException) -> Fault:
        if isinstance(error, OSError):
            return cls(error.strerror or str(error), False, error.errno)
        return cls(str(error), True)

    def error(self) -> Exception:
        return UsageError(self.text) if self.usage else OSError(self.code, self.text)


@dataclass(frozen=True)
class Hello:
    """What a worker says when its models are loaded. node: the machine, as Ray calls it."""

    version: str
    node: str
    facts: Any = None
    fault: Fault | None = None


@dataclass(frozen=True)
class Batch:
    """Items on their way to a worker. An object, which Ray pickles: of a bare list it would write texts in UTF-8, which
    fails for names that are not."""

    items: list[Any]


@dataclass(frozen=True)
class Done:
    """(number in the batch, result) of what was done; all of the batch, unless there is a fault."""

    results: list[tuple[int, Any]] = field(default_factory=list)
    fault: Fault | None = None


class Worker:
    """The body of a Ray actor. Two batches are under way at a time, so that the next one's photos are read while the
    last ones of a batch are written."""

    def __init__(self, work: Work, cores: int):
        # Ray sets it only where nobody has; how many photos are looked at side by side follows from it.
        os.environ["OMP_NUM_THREADS"] = str(cores)
        self._work = work
        self._began = threading.Lock()
        self._order: Any = None

    def hello(self) -> Hello:
        import ray

        node = ray.get_runtime_context().get_node_id()
        try:
            return Hello(__version__, node, self._work.load())
        except (UsageError, OSError) as error:
            return Hello(__version__, node, fault=Fault.of(error))

    def do(self, order: Any, batch: Batch) -> Done:
        done = Done()
        try:
            with self._began:
                if order != self._order:
                    self._work.begin(order)
                    self._order = order
            done.results.extend(self._work.do(batch.items))
        except (UsageError, OSError) as error:
            return Done(done.results, Fault.of(error))
        return done
