"""An HTML page of cars in sections: the look-alikes of one, or groups of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from carclf.runs.report.pages import render_page, write_page
from detection.images.read import ImageError, load_image


@dataclass(frozen=True, eq=False)
class Car:
    """file: its photo. box: x1, y1, x2, y2 of the car in it, None where the photo is cut out. said: in bold."""

    file: str
    box: Sequence[float] | None = None
    said: str = ""

    @property
    def name(self) -> str:
        """With its folder, which often says more."""
        return "/".join(Path(self.file).parts[-2:])

    @property
    def image(self) -> np.ndarray | None:
        """RGB uint8 of the car; None where the photo is gone or can't be read."""
        try:
            photo = load_image(Path(self.file))
        except ImageError:
            return None
        if self.box is not None:
            height, width = photo.shape[:2]
            x1, x2 = (round(float(np.clip(value, 0, width))) for value in self.box[::2])
            y1, y2 = (round(float(np.clip(value, 0, height))) for value in self.box[1::2])
            if x2 > x1 and y2 > y1:
                photo = photo[y1:y2, x1:x2]
        return photo


@dataclass(frozen=True, eq=False)
class Section:
    title: str
    cars: Sequence[Car]
    note: str = ""


def write_cars(path: Path, title: str, lead: str, sections: Sequence[Section]) -> None:
    """By temp file and rename."""
    write_page(render_page("cars.html.j2", title=title, lead=lead, sections=sections), path)
