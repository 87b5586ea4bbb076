"""What the commands say while they work. All of it goes to stderr: stdout belongs to the results."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from typing import Protocol, TypeVar

from detection.common.errors import UsageError

Thing = TypeVar("Thing")
# How long work tells of its progress: it calls this after each photo, or it goes through what a `Track` gives it.
Advance = Callable[[], None]


class Track(Protocol):
    """Passes a stream on and counts what comes through; `total` is their number."""

    def __call__(self, things: Iterable[Thing], total: int) -> Iterable[Thing]: ...


def untracked(things: Iterable[Thing], total: int) -> Iterable[Thing]:
    """A `Track` that tells nobody."""
    return things


def tracked(what: str) -> Track:
    """A `Track` that draws a progress bar, called `what`."""
    return partial(track, what=what)


# Where nobody watches a bar, a line this often, and none of shorter work.
LINE_SECONDS = 60.0


class _Lines:
    """Says now and then how far the work is; only when a photo is done, so it needs no thread."""

    def __init__(self, total: int | None, done: int, interval: float):
        self._total, self._before, self._done, self._interval = total, done, done, interval
        self._start = self._told = time.monotonic()

    def advance(self) -> None:
        self._done += 1
        now = time.monotonic()
        if now - self._told >= self._interval:
            self._told = now
            say(progress_line(self._done, self._total, self._done - self._before, now - self._start))


def progress_line(done: int, total: int | None, now_done: int, seconds: float) -> str:
    """now_done: how many of `done` this run did, in this many seconds.

    >>> progress_line(1200, 50000, 1200, 226.4)
    '1,200 of 50,000, 5.3 photos/s, about 2.6 h left'
    """
    speed = now_done / max(seconds, 1e-9)
    if total is None:
        return f"{done:,} photos, {speed:.1f} photos/s"
    left = max(0, total - done) / speed
    shown = f"{left / 3600:.1f} h" if left >= 5400 else f"{left / 60:.0f} min" if left >= 90 else f"{left:.0f} s"
    return f"{done:,} of {total:,}, {speed:.1f} photos/s, about {shown} left"


@contextmanager
def photo_bar(
    what: str, total: int | None, done: int = 0, shown: bool = True, interval: float | None = None
) -> Iterator[Advance]:
    """Yields a function to call after each photo; the bar, with photos/s, is drawn on stderr if that is a terminal.
    Elsewhere, as in a log file, there is a plain line every `interval` seconds (default: `LINE_SECONDS`).

    total: None where it is not known beforehand.
    """
    if not shown:
        yield lambda: None
        return
    if not sys.stderr.isatty():  # said without Rich, whose import takes longer than a photo
        yield _Lines(total, done, LINE_SECONDS if interval is None else interval).advance
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:.1f} photos/s")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Speed(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(what, total=total, completed=done)
        yield lambda: progress.advance(task)


class StdoutError(Exception):
    """Standard output took no more; the message is a sentence. Not an OSError: nobody is to take it for a file's."""


class _Stream(io.FileIO):
    """A standard stream. After a failed write it swallows what comes, or Python would try again when it ends."""

    def __init__(self, number: int, wanted: bool):
        """wanted: whether a failed write is told, as on stdout: results go there. On stderr it may stop no run."""
        super().__init__(number, "w", closefd=False)
        self._wanted, self._lost = wanted, False

    def write(self, data) -> int:
        if not self._lost:
            try:
                return super().write(data) or 0
            except OSError as error:
                self._lost = True
                if self._wanted and isinstance(error, BrokenPipeError):
                    raise
                if self._wanted:
                    raise StdoutError(
                        f"Standard output can't be written: {error.strerror}. What is in files is kept."
                    ) from error
        return memoryview(data).nbytes


_closed: set[str] = set()


def stdout_is_closed() -> bool:
    """Whether the program was started without a standard output (`>&-`); see `prepare_streams`."""
    return "stdout" in _closed


def prepare_streams() -> None:
    """To be called once, by a program and not by a library: standard streams that are closed or full stop no run.

    A closed one (daemons start programs so) becomes the null device. A full stdout raises `StdoutError`, a full stderr
    nothing. File names that are not UTF-8 go to stdout as they are on disk; where the locale's encoding lacks a
    character, it is written as an escape.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            _closed.add(name)
            try:
                os.fstat(number)
            except OSError:  # else the next file that is opened gets its number, and what is printed
                null = os.open(os.devnull, os.O_RDWR)
                if null != number:
                    os.dup2(null, number)
                    os.close(null)
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8", errors="surrogateescape"))  # noqa: SIM115
    for number, name in ((1, "stdout"), (2, "stderr")):
        before = getattr(sys, name)
        if name in _closed or before is not getattr(sys, f"__{name}__"):
            continue
        if sys.platform == "win32" and before.isatty():  # its console takes text, and no bytes
            before.reconfigure(errors="backslashreplace")
            continue
        escapes = name == "stderr" or before.encoding.lower().replace("-", "") != "utf8"
        with contextlib.suppress(OSError, StdoutError):
            before.flush()
        stream = io.TextIOWrapper(
            io.BufferedWriter(_Stream(number, wanted=name == "stdout")),
            encoding=before.encoding,
            errors="backslashreplace" if escapes else "surrogateescape",
            line_buffering=before.line_buffering,
            write_through=before.write_through,
        )
        setattr(sys, name, stream)


def say(text: str = "") -> None:
    """One line for the person who watches."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def never_in_the_way(what: str) -> Iterator[None]:
    """For pictures, pages and logs of work that is done: what fails in it costs one line, never the work.

    what: how the line begins, for example "confusion.png was not drawn".
    """
    try:
        yield
    except UsageError as error:
        say(f"{what}: {error}")
    except Exception as error:
        said = " ".join(str(error).strip().splitlines()[:1])[:200]
        say(f"{what}: {said} ({type(error).__name__})")


def track(things: Iterable[Thing], total: int, what: str) -> Iterator[Thing]:
    """Passes a stream on with a progress bar, its speed in photos/s; draws nothing where stderr is no terminal."""
    with photo_bar(what, total) as advance:
        for thing in things:
            advance()
            yield thing


@contextmanager
def quiet_stdout():
    """Libraries that print while they work print to stderr, so that stdout stays parseable."""
    with redirect_stdout(sys.stderr):
        yield


def log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in ("carclf", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO if name == "carclf" else logging.WARNING)
