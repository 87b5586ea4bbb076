"""What the commands say while they work. All of it goes to stderr: stdout belongs to the results."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from typing import Protocol, TypeVar

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


@contextmanager
def photo_bar(what: str, total: int | None, done: int = 0, shown: bool = True) -> Iterator[Advance]:
    """Yields a function to call after each photo; the bar, with photos/s, is drawn on stderr if that is a terminal.

    total: None where it is not known beforehand.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:.1f} photos/s")

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Speed(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not (shown and console.is_terminal), transient=True) as progress:
        task = progress.add_task(what, total=total, completed=done)
        yield lambda: progress.advance(task)


def say(text: str = "") -> None:
    """One line for the person who watches."""
    print(text, file=sys.stderr, flush=True)


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
