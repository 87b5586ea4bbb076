"""What a classifier's file says of itself, image sizes included. Imports no torch: an export is read without it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from detection.common.config import StrictConfig
from detection.cutout.cut import CutoutStyle

Size = tuple[int, int]


def _checked(size: int | Size) -> int | Size:
    if min(pair(size)) < LEAST:
        raise ValueError(f"should be {LEAST} or more pixels per side")
    return size


ImageSize = Annotated[int | Size, AfterValidator(_checked)]


FORMAT = "carclf-classifier-1"


class HeadConfig(StrictConfig):
    """Pooling, dropout, then dense + batch norm + ReLU + dropout when `dense` is set, then linear."""

    pool: Literal["avg", "max", "avgmax"] = "avg"
    dense: int | None = Field(None, ge=1)
    batch_norm: bool = True
    dropout: float = Field(0.25, ge=0, lt=1)


class ModelInfo(StrictConfig):
    """The metadata of a classifier's file."""

    format: str = FORMAT
    classes: tuple[str, ...] = Field(min_length=2)
    architecture: str
    head: HeadConfig = HeadConfig()
    image_size: ImageSize
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "area-or-cubic"
    resize: str = "squash"
    style: CutoutStyle = CutoutStyle()  # how stage 1 cut out the crops that it was trained on
    detector: str = "compact"
    stage: str = ""
    git: str | None = None
    members: int = Field(1, ge=1, le=16)  # networks in the file, whose probabilities are averaged
    architectures: tuple[str, ...] = ()  # of each member, where they are not all `architecture`
    temperature: float = Field(1.0, gt=0, allow_inf_nan=False)  # probabilities are tempered by it: they are calibrated
    threshold: float = Field(0.0, ge=0, le=1)  # less confidence than this is `unknown`
    metrics: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_architecture_a_member(self):
        if self.architectures and len(self.architectures) != self.members:
            raise ValueError(f"{len(self.architectures)} architectures for {self.members} members")
        return self

    @property
    def member_architectures(self) -> tuple[str, ...]:
        return self.architectures or (self.architecture,) * self.members

    @property
    def shown_architecture(self) -> str:
        return " + ".join(self.member_architectures)


LEAST = 32  # pixels per side: networks shrink by 32


def pair(size: int | Size) -> Size:
    """(height, width) in pixels.

    >>> pair(224), pair((192, 320))
    ((224, 224), (192, 320))
    """
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def written(size: int | Size) -> str:
    """As people write it: `224` or `192x320` (height x width)."""
    return str(size) if isinstance(size, int) else f"{size[0]}x{size[1]}"
