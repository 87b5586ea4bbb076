"""Image sizes in configs and model files: one number for a square, or height and width."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

LEAST = 32  # pixels a side: networks shrink by 32

Size = tuple[int, int]


def _checked(size: int | Size) -> int | Size:
    if min(pair(size)) < LEAST:
        raise ValueError(f"should be {LEAST} or more pixels a side")
    return size


ImageSize = Annotated[int | Size, AfterValidator(_checked)]


def pair(size: int | Size) -> Size:
    """(height, width) in pixels.

    >>> pair(224), pair((192, 320))
    ((224, 224), (192, 320))
    """
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def written(size: int | Size) -> str:
    """As people write it: `224` or `192x320` (height x width)."""
    return str(size) if isinstance(size, int) else f"{size[0]}x{size[1]}"
