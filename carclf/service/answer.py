"""What the service says of a photo: plain data that goes over HTTP and through a broker alike."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Status = Literal["ok", "no_car", "unknown", "unreadable", "error"]


class Guess(BaseModel):
    """A class and how probable it is, 0 to 1."""

    model_config = ConfigDict(frozen=True)

    label: str
    probability: float


class Answer(BaseModel):
    """What is known of one photo. The meaning of status, label, confidence, top, box and reason is that of
    `carclf.recognition.prediction.Prediction`.

    file: the name that the photo was sent with. width, height: of the photo as it is seen, in pixels; None when it
    could not be read. outline: polygons round the car, each a list of [x, y] in pixels of the photo. cutout: the
    cut-out that the classifier saw, as a data URI of a JPEG or WebP, small enough for a page. Both only on demand.
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
