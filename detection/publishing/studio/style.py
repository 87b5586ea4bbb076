"""How the pictures of a studio look: backdrop, size, light. Checked before any photo is read."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field

from detection.common.config import StrictConfig, check_config
from detection.common.errors import UsageError
from detection.cutout.edge import Edge
from detection.publishing.studio.backdrop import check_backdrop
from detection.publishing.studio.markets import market_size

LEAST_SIDE, MOST_SIDE = 200, 4096  # a larger one would take a gigabyte on the way
SIZE = (1600, 1200)
_SIZE = re.compile(r"\s*(\d{1,5})\s*[xX×]\s*(\d{1,5})\s*")


class StudioStyle(StrictConfig):
    """What stands behind each car of a stock, and how it is set there.

    backdrop: one of `ROOMS`, a colour, two of them as TOP:BOTTOM, or a picture's path. digest: of that picture's bytes.
    horizon: where the floor begins in a backdrop picture, as a part of its height from the top; None takes 0.6.
    width, height: of the pictures, in pixels. light: where it comes from; the shadow falls the other way.
    reflection: how strongly the floor mirrors the car, 0 to 1. even: colour and brightness are evened within limits.
    glass: what is seen through side windows is toned towards the backdrop, where that is sure.
    max_upscale: a car is enlarged at most so many times; beyond that the whole picture is smaller.
    edge: how the car's edge is fitted to the photo, see `finish_vehicle`.
    """

    backdrop: str = "studio-white"
    digest: str = ""
    horizon: float | None = Field(None, ge=0.2, le=0.9)
    width: int = Field(SIZE[0], ge=LEAST_SIDE, le=MOST_SIDE)
    height: int = Field(SIZE[1], ge=LEAST_SIDE, le=MOST_SIDE)
    light: Literal["left", "right", "top"] = "top"
    reflection: float = Field(0.0, ge=0, le=1)
    even: bool = True
    glass: bool = False
    max_upscale: float = Field(2.0, ge=1, le=8)
    edge: Edge = "trained"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.width, self.height


def studio_style(size: str | None = None, market: str | None = None, **values: Any) -> StudioStyle:
    """A style whose backdrop is there and large enough.

    size: as in `1600x1200`. market: the name of a marketplace, in place of a size. Further fields are those of
    `StudioStyle`. Raises `UsageError`.
    """
    if size is not None and market is not None:
        raise UsageError("A size and a marketplace were given: leave one out.")
    width, height = SIZE if size is None and market is None else parse_size(size) if size else market_size(market or "")
    style = check_config(StudioStyle, {"width": width, "height": height, **values})
    return style.model_copy(update={"digest": check_backdrop(style.backdrop, style.size)})


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of `1600x1200`. Raises `UsageError`.

    >>> parse_size("800x600")
    (800, 600)
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f"'{text}' is not a size: write width x height in pixels, as in 1600x1200.")
    width, height = int(match[1]), int(match[2])
    if not all(LEAST_SIDE <= side <= MOST_SIDE for side in (width, height)):
        raise UsageError(f"A picture can't be {width} x {height} pixels: give {LEAST_SIDE} to {MOST_SIDE} per side.")
    return width, height
