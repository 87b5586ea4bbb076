"""The demo's HTML page of a whole run: what it shows, and how it is rendered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np

from carclf.runs.report.pages import Figure, confusion_cells, learning_charts, render_page

if TYPE_CHECKING:
    from carclf.recognition.prediction import Prediction


@dataclass(frozen=True, eq=False)
class Pair:
    """A photo before and after the cut-out, RGB uint8; `after` is None where no car was found."""

    before: np.ndarray
    after: np.ndarray | None
    caption: str


@dataclass(frozen=True, eq=False)
class Answer:
    """A photo (RGB uint8), what it shows (a class, or "no car"), and what was recognized."""

    photo: np.ndarray
    truth: str
    prediction: Prediction

    @property
    def right(self) -> bool:
        return (self.prediction.label or self.prediction.status.replace("_", " ")) == self.truth


@dataclass(frozen=True, eq=False)
class Page:
    """All that the page shows.

    epochs: one dict per epoch with `stage` and the series that are there: train_accuracy, val_accuracy, train_loss,
        val_loss.
    confusion: int [C, C + 1]: truth in rows, answer in columns; the last column counts photos without an answer.
    places: (what, path) of every result. commands: (what for, command) to try next.
    """

    title: str
    lead: str
    figures: Sequence[Figure] = ()
    pairs: Sequence[Pair] = ()
    epochs: Sequence[dict] = ()
    classes: Sequence[str] = ()
    confusion: np.ndarray | None = None
    answers: Sequence[Answer] = ()
    remarks: Sequence[str] = ()
    places: Sequence[tuple[str, str]] = ()
    commands: Sequence[tuple[str, str]] = field(default=())


def render(page: Page) -> str:
    """The page as HTML text."""
    return render_page(
        "demo.html.j2",
        {"boxed": boxed},
        title=page.title,
        lead=page.lead,
        page=page,
        charts=learning_charts(page.epochs),
        confusion=[] if page.confusion is None else confusion_cells(page.confusion),
        answers=[*page.classes, "no answer"],
    )


def boxed(answer: Answer) -> np.ndarray:
    """The photo with the box of the recognized car drawn in."""
    image = np.ascontiguousarray(answer.photo).copy()
    if answer.prediction.box is not None:
        x1, y1, x2, y2 = (round(value) for value in answer.prediction.box)
        thick = max(1, round(min(image.shape[:2]) / 100))
        cv2.rectangle(image, (x1, y1), (x2, y2), (255, 255, 255), thick + 2)
        cv2.rectangle(image, (x1, y1), (x2, y2), (37, 99, 235), thick)
    return image
