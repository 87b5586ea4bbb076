"""What a backend of the service offers, and its answers as plain data for HTTP and for a broker alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from carclf.classifier.levels.names import Level
from carclf.recognition.prediction import Status


@dataclass(frozen=True)
class Upload:
    """A photo as it was sent. name: for the answer, never a path of this machine. data: the bytes of the file.

    hide: what is to be hidden in pictures of it, as `hide_style` takes it; "" leaves that to whoever makes them.
    """

    name: str
    data: bytes
    hide: str = ""


class Busy(Exception):
    """More photos wait than can be answered in time: the client is to come again later."""


class Backend(Protocol):
    """Recognizes photos; from `start` to `stop`, in the event loop of the service.

    model: changes with all that answers depend on: weights and settings; "" as long as it is not known.
    """

    model: str

    async def start(self) -> None:
        """Loads models or connects. Raises `UsageError` when that can't work."""

    async def stop(self) -> None:
        """Finishes what it has taken, as far as it can."""

    def ready(self) -> bool:
        """Whether photos can be answered now."""

    async def recognize(self, uploads: Sequence[Upload], pictures: bool = False) -> list[Answer]:
        """One answer per photo, in order; pictures: with outline and cut-out. Raises `Busy`."""


class Guess(BaseModel):
    """A class and how probable it is, 0 to 1."""

    model_config = ConfigDict(frozen=True)

    label: str
    probability: float


class Hidden(BaseModel):
    """Something that is hidden in a picture. kind: plate or face. corners: four [x, y] in pixels of the photo, from its
    top left clockwise. score: how sure it is, 0 to 1."""

    model_config = ConfigDict(frozen=True)

    kind: str
    corners: list[tuple[float, float]]
    score: float


class Answer(BaseModel):
    """What is known of one photo. The meaning of status, label, confidence, top, box, reason, of colour, and of level
    and what follows it, is that of `carclf.recognition.prediction.Prediction`.

    file: the name that the photo was sent with. width, height: of the photo as it is seen, in pixels; None when it
    could not be read. outline: polygons round the car, each a list of [x, y] in pixels of the photo. cutout: the
    cut-out that the classifier saw, as a data URI of a JPEG or WebP, small enough for a page. Both only on demand.
    said: the answer in words, such as `Audi, probably an S4 or an A4`; None without a label. hidden: what was found in
    the photo and is hidden in `cutout`; nearly_hidden: what may be such a thing and is not hidden; None where nothing
    was looked for.
    """

    model_config = ConfigDict(frozen=True)

    file: str
    status: Status
    label: str | None = None
    confidence: float | None = None
    top: list[Guess] = Field(default_factory=list)
    box: tuple[float, float, float, float] | None = None
    reason: str = ""
    width: int | None = None
    height: int | None = None
    outline: list[list[tuple[float, float]]] | None = None
    cutout: str | None = None
    level: Level | None = None
    make: str | None = None
    make_confidence: float | None = None
    model: str | None = None
    model_confidence: float | None = None
    year: str | None = None
    year_confidence: float | None = None
    said: str | None = None
    colour: str | None = None
    colour_confidence: float | None = None
    hidden: list[Hidden] | None = None
    nearly_hidden: list[Hidden] | None = None
