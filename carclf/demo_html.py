"""One self-contained HTML page of a whole run: pictures and charts are inside it, nothing is fetched."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from carclf.charts import line_chart
from detection.files import replace_file

if TYPE_CHECKING:
    from carclf.pipeline import Prediction


@dataclass(frozen=True)
class Figure:
    """A number to be seen first, for example ("95.0 %", "top-1 accuracy", "38 of 40 test photos")."""

    value: str
    name: str
    note: str = ""


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

    epochs: one dict an epoch with `stage` and the series that are there: train_accuracy, val_accuracy, train_loss,
        val_loss.
    confusion: int [C, C + 1]: truth in rows, answer in columns; the last column counts photos without an answer.
    places: (what, path) of every result. commands: (what for, command) to go on with.
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


def write_page(page: Page, path: str | Path) -> Path:
    """Renders the page and writes it by temp file and rename."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, render(page).encode("utf-8"))
    return path


def render(page: Page) -> str:
    """The page as HTML text."""
    from jinja2 import Environment

    # Autoescape is asked for outright: it goes by the file's suffix otherwise, and file names come from users.
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(picture=picture, boxed=boxed, percent=lambda value: f"{value:.1%}")
    template = environment.from_string(files("carclf").joinpath("report.html.j2").read_text(encoding="utf-8"))
    return template.render(page=page, charts=_charts(page.epochs), confusion=_cells(page.confusion))


def picture(image: np.ndarray, height: int = 220) -> str:
    """A data URI of an RGB or RGBA uint8 image, at most `height` pixels high."""
    if image.shape[0] > height:
        width = max(1, round(image.shape[1] * height / image.shape[0]))
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    if image.shape[2] == 4:
        kind, encoded = "png", cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA))[1]
    else:
        kind = "jpeg"
        encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 86])[1]
    return f"data:image/{kind};base64,{base64.b64encode(encoded.tobytes()).decode('ascii')}"


def boxed(answer: Answer) -> np.ndarray:
    """The photo with the box of the recognized car drawn in."""
    image = np.ascontiguousarray(answer.photo).copy()
    if answer.prediction.box is not None:
        x1, y1, x2, y2 = (round(value) for value in answer.prediction.box)
        thick = max(1, round(min(image.shape[:2]) / 100))
        cv2.rectangle(image, (x1, y1), (x2, y2), (255, 255, 255), thick + 2)
        cv2.rectangle(image, (x1, y1), (x2, y2), (37, 99, 235), thick)
    return image


def _charts(epochs: Sequence[dict]) -> list[dict]:
    stages = [str(epoch["stage"]) for epoch in epochs]
    charts = []
    for title, name, percent in (("Accuracy", "accuracy", True), ("Loss", "loss", False)):
        lines = {
            legend: [float(epoch.get(f"{part}_{name}", "nan")) for epoch in epochs]
            for legend, part in (("validation", "val"), ("training", "train"))
            if any(f"{part}_{name}" in epoch for epoch in epochs)
        }
        svg = line_chart(lines, stages, title, percent) if lines else ""
        if svg:
            charts.append({"title": title, "svg": svg, "legend": list(zip("ab", lines, strict=False))})
    return charts


def _cells(confusion: np.ndarray | None) -> list[list[dict]]:
    """Counts with their share of the row, which sets the shade."""
    if confusion is None:
        return []
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    return [
        [
            {"count": int(count), "share": round(float(share), 3), "right": row == column}
            for column, (count, share) in enumerate(zip(counts, parts, strict=True))
        ]
        for row, (counts, parts) in enumerate(zip(confusion, shares, strict=True))
    ]
