"""Processes that read photos for a training: how a batch gets from them to it, and what is said when one dies.

Torch sends tensors through shared memory (/dev/shm), of which a container often has 64 MB. Where that is full, the
batch is lost in a thread of the reader, and the training waits for it for ever. So each batch is packed here, as bytes
where shared memory has no room for it.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import re
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from multiprocessing import resource_sharer
from multiprocessing.reduction import ForkingPickler
from typing import Any

from torch import Tensor
from torch.utils.data import get_worker_info
from torch.utils.data._utils import signal_handling

from detection.common.console import say
from detection.common.errors import UsageError

# What stops a training; the last is what SLURM's --signal=USR1@90 sends before a job's time is over. Windows lacks it.
STOPS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
# Bytes of shared memory that stay free: the locks of all processes lie there, too, a page each.
_RESERVE = 2 * 2**20
_ADVICE = "in Docker, run it with --shm-size=1g or --ipc=host"


class ReaderError(UsageError):
    """A reader process died; torch knows by which signal only sometimes."""


@contextmanager
def reader_deaths_told() -> Iterator[None]:
    """Raises `ReaderError` where torch says that a reader process is gone, or one dies while it hands a batch over."""
    try:
        yield
    except (RuntimeError, ConnectionError, EOFError) as error:
        found = re.search(r"DataLoader worker \(pid.*?\) (?:is killed by signal: ([^.]*)|exited)", str(error))
        if not found and (isinstance(error, RuntimeError) or not _while_handing_over(error)):
            raise
        _forget_readers()
        how = f" ({found[1]})" if found and found[1] else ""
        raise ReaderError(
            f"A process that reads photos was ended from outside{how}, as happens without free memory: resume with "
            f"fewer of them (workers=1, or 0 for none); {_ADVICE}."
        ) from error


def _while_handing_over(error: BaseException) -> bool:
    """Whether it comes from the connection by which a reader hands over the memory of a batch."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code.co_filename == resource_sharer.__file__ for frame, _ in frames)


def _forget_readers() -> None:
    """Takes back torch's handler of SIGCHLD: it may raise once more for the same reader, anywhere after the training.

    The next loader sets it again.
    """
    if not hasattr(signal, "SIGCHLD") or threading.current_thread() is not threading.main_thread():
        return
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal_handling._SIGCHLD_handler_set = False


def ignore_interrupts(_worker: int) -> None:
    """For reader processes: Ctrl-C reaches them too, but the training ends its step first and still needs them."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # by which torch ends them


def possible_workers(wanted: int) -> int:
    """`wanted`, or 0 where the machine can't have the locks of so many reader processes; says so, once."""
    try:
        _ = [multiprocessing.Lock() for _ in range(8 * (wanted + 1) if wanted else 0)]
    except (OSError, ImportError) as error:
        _say_once(f"There is no shared memory for processes that read photos ({error}), so the training reads them by "
                  f"itself, which is slower; {_ADVICE}.")  # fmt: skip
        return 0
    return wanted


class Packed:
    """Collates a batch, and packs it where this is done in a reader process; it arrives as the batch itself."""

    def __init__(self, collate: Callable[[Sequence[Any]], Any]):
        self.collate = collate

    def __call__(self, items: Sequence[Any]) -> Any:
        batch = self.collate(items)
        if get_worker_info() is None:
            return batch
        if sum(tensor.nbytes for tensor in _tensors(batch)) + _RESERVE <= _room():
            try:
                return _Parcel(bytes(ForkingPickler.dumps(batch)), shared=True)
            except (RuntimeError, OSError):  # another process was quicker, or this one has too many files open
                pass
        return _Parcel(pickle.dumps(batch, pickle.HIGHEST_PROTOCOL), shared=False)


class _Parcel:
    def __init__(self, data: bytes, shared: bool):
        self.data, self.shared = data, shared

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpacked, (self.data, self.shared)


def _unpacked(data: bytes, shared: bool) -> Any:
    if not shared:
        _say_once(f"Shared memory (/dev/shm) is too small for the photos on their way to the training: they take "
                  f"another one, which may be slower; {_ADVICE}.")  # fmt: skip
    return pickle.loads(data)  # of our own process, as torch itself does


def _tensors(batch: Any) -> Iterator[Tensor]:
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, (list, tuple, dict)):
        for part in batch.values() if isinstance(batch, dict) else batch:
            yield from _tensors(part)


def _room() -> float:
    """Free bytes of shared memory; infinite where it has no folder to ask, as on macOS."""
    if not hasattr(os, "statvfs"):
        return float("inf")
    try:
        found = os.statvfs("/dev/shm")
    except OSError:
        return float("inf")
    return found.f_bavail * found.f_frsize


@cache
def _say_once(text: str) -> None:
    say(text)
