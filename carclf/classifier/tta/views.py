"""The views of an image that test-time augmentation averages over. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from detection.common.config import StrictConfig
from detection.common.errors import UsageError

NAMED = {"none": 1, "mirror": 2, "ten": 10}


class TtaConfig(StrictConfig):
    """passes: views of an image, 1 for the image alone, 2 with its mirror image, 10 as in the classic recipes; half of
        them (or one more) are not mirrored.
    crop: share of each side that a cropped view shows. rotation: degrees to either side. brightness: the part by which
        a view is brighter or darker.
    reduce: `mean` of the probabilities, or their `geometric` mean, in which one view's clear no counts for more.
    """

    passes: int = Field(1, ge=1, le=100)
    crop: float = Field(0.95, gt=0.2, le=1)
    rotation: float = Field(4.0, ge=0, le=45)
    brightness: float = Field(0.15, ge=0, lt=1)
    reduce: Literal["mean", "geometric"] = "mean"

    @classmethod
    def of(cls, what: TtaConfig | str | int | bool | None) -> TtaConfig:
        """A number of passes, `none`, `mirror` or `ten`, False (none) or True (mirror). Raises `UsageError`.

        >>> [TtaConfig.of(what).passes for what in (None, False, True, 1, 5, "ten", "5")]
        [1, 1, 2, 1, 5, 10, 5]
        """
        if isinstance(what, TtaConfig):
            return what
        if isinstance(what, bool) or what is None:
            return cls(passes=2 if what else 1)
        passes = NAMED.get(what, what) if isinstance(what, str) else what
        if not str(passes).isdecimal() or not 1 <= int(passes) <= 100:
            raise UsageError(f"TTA takes a number of passes from 1 to 100, or {', '.join(NAMED)}, not '{what}'.")
        return cls(passes=int(passes))


@dataclass(frozen=True)
class View:
    """One way to look at an image.

    angle: degrees. crop: share of each side that is seen. shift: where the middle of what is seen lies, right and down
    of the image's middle, in halves of its sides. brightness: factor of the pixels.
    """

    mirror: bool = False
    angle: float = 0.0
    crop: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    brightness: float = 1.0

    @property
    def moves(self) -> bool:
        return self.angle != 0 or self.crop != 1 or self.shift != (0.0, 0.0)


def make_views(config: TtaConfig) -> tuple[View, ...]:
    """The first `passes` of a fixed list: plain, mirrored, cropped, turned either way, brighter and darker, each plain
    and mirrored; beyond ten, mixtures of all of these that fill the ranges evenly. The same for the same config."""
    angle, light = config.rotation, config.brightness
    views = [
        View(),
        View(mirror=True),
        View(crop=config.crop),
        View(mirror=True, crop=config.crop),
        View(angle=angle),
        View(mirror=True, angle=-angle),
        View(angle=-angle),
        View(mirror=True, angle=angle),
        View(brightness=1 + light),
        View(mirror=True, brightness=1 - light),
    ]
    # Powers of the root of x^5 = x + 1 fill a box of four dimensions evenly, however many are taken.
    steps = [1.1673039782614187**-power for power in range(1, 5)]
    for number in range(len(views), config.passes):
        turn, right, down, bright = (2 * math.modf(0.5 + number * step)[0] - 1 for step in steps)
        free = 1 - config.crop
        views.append(
            View(
                mirror=number % 2 == 1,
                angle=angle * turn,
                crop=config.crop,
                shift=(free * right, free * down),
                brightness=1 + light * bright,
            )
        )
    return tuple(views[: config.passes])
