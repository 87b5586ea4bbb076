"""A conversation: one photo after the other is asked for, and its answer shown."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import numpy as np
from rich.bar import Bar
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from carclf.recognition.prediction import OK, Prediction
from detection.common.console import quiet_stdout
from detection.common.errors import UsageError, brief

if TYPE_CHECKING:
    from carclf.recognition.recognizer import CarRecognizer


_HELP = "Type the path of a photo (or drop it here), demo for a drawn one, or quit."
_BAR = 30  # letters
_COLOURS = {"ok": "green", "unknown": "yellow", "no_car": "cyan", "unreadable": "red", "error": "red"}


def converse(load: Callable[[], CarRecognizer]) -> None:
    """Asks until `quit`, the end of the input or Ctrl-C; no photo ends it. load: called once, before the first one.

    Raises `UsageError` when the models can't be loaded.
    """
    console = Console(highlight=False, soft_wrap=True)
    console.print("Loading the models ...")
    with quiet_stdout():
        recognizer = load()
    console.print(f"{len(recognizer.classes)} classes. {_HELP}")
    drawn = _drawn_photos()
    try:
        while True:
            line = _ask(console)
            if line is None or line.lower() in ("quit", "exit", "q"):
                return
            if line.lower() in ("help", "?"):
                console.print(_HELP)
            elif line:
                try:
                    _answer(console, recognizer, line, drawn)
                except UsageError as error:
                    console.print(escape(str(error)), style="red")
                except Exception as error:  # one odd photo never ends the conversation
                    console.print(escape(brief(error)), style="red")
    except KeyboardInterrupt:
        console.print()


def typed_path(line: str) -> str:
    """The path that was typed, or dropped on the terminal with quotes, escapes or as a file:// address.

    >>> typed_path("'/photos/my car.jpg' "), typed_path(r"/photos/my\\ car.jpg"), typed_path("file:///my%20car.jpg")
    ('/photos/my car.jpg', '/photos/my car.jpg', '/my car.jpg')
    """
    line = line.strip()
    bare = line.removeprefix("& ")  # PowerShell drops a path so: & 'C:\\my cars\\1.jpg'
    bare = bare[1:-1] if len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "'\"" else bare
    for path in (line, bare):  # a name may hold quotes of its own; and to `shlex` a backslash is no separator
        if path and os.path.lexists(path):
            return path
    try:
        words = shlex.split(line)
    except ValueError:  # a single apostrophe
        words = []
    path = words[0] if len(words) == 1 and os.sep == "/" else bare
    if path.startswith("file://"):
        parts = urlsplit(path)
        path = unquote(f"//{parts.netloc}{parts.path}" if os.sep != "/" and parts.netloc else parts.path)
        path = re.sub("^/([A-Za-z]:)", r"\1", path)  # file:///C:/cars
    return os.path.expanduser(path)


def _ask(console: Console) -> str | None:
    """A line without spaces at its ends; None at the end of the input."""
    try:
        return console.input("photo> ").strip()
    except EOFError:
        console.print()
        return None
    except UnicodeDecodeError:
        console.print("That is no text.", style="red")
        return ""


def _answer(console: Console, recognizer: CarRecognizer, line: str, drawn: Iterator[tuple[str, np.ndarray]]) -> None:
    photo: str | np.ndarray
    if line.lower() == "demo":
        name, photo = next(drawn)
        console.print(name)
    else:
        photo = path = typed_path(line)
        if os.path.isdir(path):
            raise UsageError(f"'{path}' is a folder: name a photo, or leave and call carclf predict with the folder.")
    with quiet_stdout():
        answers = list(recognizer.recognize([photo]))
    for answer in answers:
        _show(console, answer)


def _show(console: Console, answer: Prediction) -> None:
    rank = "" if answer.vehicle is None else f"vehicle {answer.vehicle}: "
    said = answer.said if answer.status == OK else answer.status
    reason = f" ({escape(answer.reason)})" if answer.reason else ""
    paint = f", {answer.colour}" if answer.colour else ""
    console.print(f"{rank}[bold {_COLOURS[answer.status]}]{escape(said)}[/]{reason}{paint}")
    if answer.top:
        bars = Table.grid(padding=(0, 2))
        bars.add_column()
        bars.add_column(no_wrap=True)
        bars.add_column(width=_BAR)
        bars.add_column(justify="right")
        for label, probability in answer.top:
            bar = Bar(size=1, begin=0, end=probability, width=_BAR, color=_COLOURS[answer.status])
            bars.add_row("", Text(label), bar, f"{probability:.1%}")
        console.print(bars)


def _drawn_photos() -> Iterator[tuple[str, np.ndarray]]:
    """What is drawn, and the photo: every shape in turn, and a street without a car after each round."""
    from carclf.datasets.drawn.car_shapes import CAR_SHAPES
    from carclf.datasets.drawn.scenes import draw_background, draw_scene

    rng = np.random.default_rng()
    while True:
        for shape in rng.permutation(list(CAR_SHAPES)).tolist():
            yield f"a drawn street with a car of the shape '{shape}'", draw_scene(shape, rng).image
        yield "a drawn street without a car", draw_background(rng)
