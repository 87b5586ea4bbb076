"""What the HTML pages share: templates, figures, charts, pictures. Everything is inside a page, nothing is fetched."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from carclf.runs.curves import series
from carclf.runs.report.charts import line_chart
from detection.common.files import replace_file

_QUALITY = 86
_CHARTS = (("accuracy", "Accuracy"), ("loss", "Loss"), ("learning_rate", "Learning rate"), ("seconds", "Seconds"))
_LEGENDS = {"val": "validation", "train": "training"}


@dataclass(frozen=True)
class Figure:
    """A number to be seen first, for example ("95.0 %", "top-1 accuracy", "38 of 40 test photos")."""

    value: str
    name: str
    note: str = ""


def render_page(template: str, filters: Mapping[str, Callable] | None = None, **values: Any) -> str:
    """HTML text of one of carclf/runs/report/templates, which gets the values and the filters picture and percent."""
    from jinja2 import Environment, FunctionLoader

    # Autoescape is asked for outright: it goes by the file's suffix otherwise, and file names come from users.
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(_template), auto_reload=False
    )
    environment.filters.update(picture=picture, percent=lambda value: f"{value:.1%}", **(filters or {}))
    return environment.get_template(template).render(**values)


def write_page(text: str, path: str | Path) -> Path:
    """Writes a page by temp file and rename."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, text.encode("utf-8", "replace"))  # a file name may hold bytes that are no UTF-8
    return path


def picture(image: np.ndarray, height: int = 220) -> str:
    """A data URI of an RGB or RGBA uint8 image, at most `height` pixels high."""
    if image.shape[0] > height:
        width = max(1, round(image.shape[1] * height / image.shape[0]))
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    if image.shape[2] == 4:
        kind, encoded = "png", cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA))[1]
    else:
        kind = "jpeg"
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return f"data:image/{kind};base64,{base64.b64encode(encoded.tobytes()).decode('ascii')}"


def png(data: bytes) -> str:
    """The data URI of a PNG file's bytes."""
    return f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}"


def learning_charts(epochs: Sequence[Mapping], names: Sequence[str] = ("accuracy", "loss")) -> list[dict]:
    """Charts of some columns of epochs.csv over all stages: title, svg, and legend as (CSS class, text).

    names: of accuracy, loss, learning_rate, seconds. One without values is left out.
    """
    stages = [str(epoch["stage"]) for epoch in epochs]
    charts = []
    for name, title in _CHARTS:
        lines = {_LEGENDS.get(part, part): line for part, line in series(epochs, name).items()}
        if name not in names or not lines:
            continue
        svg = line_chart(lines, stages, title, percent=name == "accuracy", log=name == "learning_rate")
        legend = list(zip("ab", lines, strict=False)) if len(lines) > 1 else []
        charts.append({"title": title, "svg": svg, "legend": legend})
    return charts


def confusion_cells(counts: np.ndarray) -> list[list[dict]]:
    """Counts (int [C, C] or wider, truth in rows) with their share of the row, which sets the shade."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return [
        [
            {"count": int(count), "share": round(float(share), 3), "right": row == column}
            for column, (count, share) in enumerate(zip(numbers, parts, strict=True))
        ]
        for row, (numbers, parts) in enumerate(zip(counts, shares, strict=True))
    ]


def duration(seconds: float) -> str:
    """A time as people say it.

    >>> duration(7.4), duration(754), duration(7384)
    ('7 s', '12 min 34 s', '2 h 3 min')
    """
    seconds = round(seconds)
    if seconds >= 3600:
        return f"{seconds // 3600} h {seconds % 3600 // 60} min"
    return f"{seconds // 60} min {seconds % 60} s" if seconds >= 60 else f"{seconds} s"


def _template(name: str) -> str:
    return (files("carclf.runs.report") / "templates" / name).read_text(encoding="utf-8")
