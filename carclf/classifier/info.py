"""What a classifier's file says of itself, image sizes included. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from carclf.classifier.levels.names import ClassName, fault
from carclf.classifier.levels.sure import SureTable
from detection.common.config import StrictConfig, first_complaint
from detection.common.errors import UsageError
from detection.common.files import check_format, file_sha256
from detection.common.networks.arrays import read_metadata, write_metadata
from detection.cutout.cut import CutoutStyle

Size = tuple[int, int]


def _checked(size: int | Size) -> int | Size:
    if min(pair(size)) < LEAST:
        raise ValueError(f"should be {LEAST} or more pixels per side")
    return size


ImageSize = Annotated[int | Size, AfterValidator(_checked)]


FORMAT = "carclf-classifier-1"
KEY = "carclf"  # of the metadata


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
    image_sizes: tuple[ImageSize, ...] = ()  # of each member, where they are not all `image_size`, the crops' own
    temperature: float = Field(1.0, gt=0, allow_inf_nan=False)  # probabilities are tempered by it: they are calibrated
    threshold: float = Field(0.0, ge=0, le=1)  # less confidence than this is `unknown`
    metrics: dict[str, Any] = Field(default_factory=dict)
    names: tuple[ClassName, ...] = ()  # the parts of each class's name, where they are known
    levels: SureTable | None = None  # how sure an answer must be at each level; set by `carclf calibrate`

    @model_validator(mode="after")
    def _one_of_each_per_member(self):
        for what, given in (("architectures", self.architectures), ("image_sizes", self.image_sizes)):
            if given and len(given) != self.members:
                raise ValueError(f"{len(given)} {what} for {self.members} members")
        return self

    @model_validator(mode="after")
    def _names_are_a_tree(self):
        if self.names and (wrong := fault(self.names, self.classes)):
            raise ValueError(f"its names are no tree: {wrong}")
        return self

    @property
    def member_architectures(self) -> tuple[str, ...]:
        return self.architectures or (self.architecture,) * self.members

    @property
    def member_sizes(self) -> tuple[Size, ...]:
        """(height, width) in pixels that each member computes at."""
        return tuple(pair(size) for size in self.image_sizes or (self.image_size,) * self.members)

    @property
    def shown_architecture(self) -> str:
        return " + ".join(self.member_architectures)

    @property
    def shown_size(self) -> str:
        """As `written`, of each member where they differ."""
        return " + ".join(written(size) for size in self.image_sizes) or written(self.image_size)


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


def read_info(path: Path) -> ModelInfo:
    """What a classifier's file says of itself. Raises `UsageError` for anything else."""
    return info_of(path, read_metadata(path))


def info_of(path: Path, metadata: Mapping[str, str]) -> ModelInfo:
    """The same by the metadata of the file `path`. Raises `UsageError`."""
    text = metadata.get(KEY)
    if text is None:
        raise UsageError(f"'{path}' is not a classifier of carclf: its metadata are missing.")
    try:
        values = json.loads(text)
        if isinstance(values, dict):
            check_format(path, values.get("format"), FORMAT)
        info = ModelInfo.model_validate(values)
    except (ValidationError, json.JSONDecodeError) as error:
        if isinstance(error, ValidationError) and (wrong := first_complaint(error)).kind == "value_error":
            raise UsageError(f"'{path}' has wrong metadata: {wrong.text}.") from error
        raise UsageError(f"'{path}' has metadata that this version of carclf can't read: update carclf.") from error
    if info.format != FORMAT:
        raise UsageError(f"'{path}' has the format '{info.format}', this carclf reads '{FORMAT}': update carclf.")
    return info


def write_info(path: Path, info: ModelInfo) -> None:
    """Lets a classifier's file say this of itself; its weights stay, byte for byte. Raises `UsageError`."""
    write_metadata(path, read_metadata(path) | {KEY: info.model_dump_json()})


def fingerprint(path: Path) -> str:
    """The first 16 hex digits of the file's SHA-256: the same whichever engine runs it."""
    return file_sha256(path).hex()[:16]
