"""What a folder run can be told, beside the style of the cut-outs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import AliasChoices, Field, ValidationError, field_validator, model_validator

from detection.common.config import StrictConfig, first_complaint
from detection.common.errors import UsageError
from detection.cutout.edge import Edge
from detection.detectors.finder import split_kinds
from detection.folder.shards import Shard, parse_shard
from detection.publishing.hiding.cover import HideStyle
from detection.publishing.studio.style import StudioStyle

FORMATS = ("jpg", "png", "webp")


class CleanOptions(StrictConfig):
    """Options of a folder run; frozen.

    batch_size: photos in a batch of the detector. workers: number of reader and of cutter threads, 0 chooses.
    image_format: jpg, png or webp; None takes what fits the background. quality: of jpg and webp, 1-100.
    max_size: longest side of a cut-out in pixels, None leaves it as it is.
    kinds: kinds of vehicle; others are passed over as if they were not there. None takes cars, () or `all` every kind.
        `only` is their older name.
    all_vehicles: a cut-out of every vehicle instead of the main one.
    small: whether parts of each photo are looked at, too, for small vehicles; None: with all_vehicles.
    shard: do only this part of the photos. restart: remove what an earlier run wrote, and begin again.
    retry_failed: do rows `unreadable` and `error` again.
    detections: a file of an earlier run to take the vehicles from, instead of a detector.
    save_detections: write OUT/detections.jsonl. contact_sheet: write before/after pages at the end.
    check: whether what was found must look like a car; None: only where the detector knows no other vehicles.
    turned: whether photos in which nothing sure stands upright are looked at turned, too; where a check is asked.
    watch: seconds between two looks at a folder that keeps filling; None ends when all is done.
    keep_suffix: name outputs after the whole file (a.png becomes a.png.jpg), so that a.jpg and a.png don't meet.
    hide: what is private is hidden, also in photos that are kept or put aside.
    whole_photos: with hide, the photos' own files in place of cut-outs; each keeps its name and format.
    studio: each car before a backdrop, in place of cut-outs, all pictures alike.
    review: with hide, write review.csv at the end: photos that a person should look at.
    edge: of cut-outs: guided, as classifiers see them, or trained (see `finish_vehicle`); a studio's style has its own.
    exclude: patterns of photos and folders to leave out (see `survey_images`).
    """

    batch_size: int = Field(8, ge=1)
    workers: int = Field(2, ge=0)
    image_format: str | None = None
    quality: int = Field(95, ge=1, le=100)
    max_size: int | None = Field(None, ge=1)
    kinds: tuple[str, ...] | None = Field(None, validation_alias=AliasChoices("kinds", "only"))
    all_vehicles: bool = False
    small: bool | None = None
    shard: Shard = Shard()
    restart: bool = False
    retry_failed: bool = False
    detections: Path | None = None
    save_detections: bool = False
    contact_sheet: bool = False
    watch: float | None = Field(None, gt=0)
    check: bool | None = None
    turned: bool = True
    keep_suffix: bool = False
    exclude: tuple[str, ...] = ()
    hide: HideStyle | None = None
    whole_photos: bool = False
    studio: StudioStyle | None = None
    review: bool = False
    edge: Edge = "guided"

    @classmethod
    def of(cls, **values: Any) -> CleanOptions:
        """The same as the constructor, but raises `UsageError` with one sentence."""
        try:
            return cls(**values)
        except ValidationError as error:
            complaint = first_complaint(error)
            name = complaint.key
            if complaint.kind == "extra_forbidden":
                known = ", ".join(cls.model_fields)
                raise UsageError(f"'{name}' is not an option of a folder run: known are {known}.") from error
            raise UsageError(f"{f'{name} {complaint.wrong}' if name else complaint.text}.") from error

    @property
    def closer(self) -> bool:
        """`small`, decided; where vehicles come from a file, nothing is looked at."""
        return (self.every if self.small is None else self.small) and self.detections is None

    @property
    def every(self) -> bool:
        """Whether every vehicle is wanted, not only the main one."""
        return self.all_vehicles or self.whole_photos

    def again(self) -> CleanOptions:
        """For what comes after the first look of `watch`: nothing is begun again any more."""
        return self.model_copy(update={"restart": False, "retry_failed": False})

    @field_validator("image_format")
    @classmethod
    def _known_format(cls, value: str | None) -> str | None:
        if value is not None and value not in FORMATS:
            raise ValueError(f"'{value}' is not an output format: choose {', '.join(FORMATS)}")
        return value

    @field_validator("shard", mode="before")
    @classmethod
    def _parse_shard(cls, value: Any) -> Any:
        return parse_shard(value) if isinstance(value, str) else value

    @field_validator("kinds", mode="before")
    @classmethod
    def _split_kinds(cls, value: Any) -> Any:
        return split_kinds(value)

    @field_validator("exclude")
    @classmethod
    def _sorted_patterns(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(pattern.strip("/") for pattern in value):
            raise ValueError("a pattern is empty: write one like 'thumbs/*'")
        return tuple(sorted(set(value)))

    @model_validator(mode="after")
    def _fitting(self) -> CleanOptions:
        if self.restart and self.retry_failed:
            raise ValueError("Restart does everything again, retry_failed only what failed: choose one")
        if self.detections is not None and self.save_detections:
            raise ValueError("The detections come from a file already: leave out save_detections")
        if self.whole_photos and (self.all_vehicles or self.image_format or self.max_size):
            raise ValueError("Whole photos keep their names, format and size: leave those options out")
        if self.studio is not None and (self.whole_photos or self.all_vehicles or self.max_size):
            raise ValueError("The studio's pictures are of the main vehicle, and have their size: leave out the others")
        if self.hide is None and (self.review or self.whole_photos):
            raise ValueError("review and whole_photos are for photos in which something is hidden: pass hide, too")
        if self.contact_sheet and not self.shard.whole:
            raise ValueError("A shard is only a part: make the contact sheet of the merged folder")
        return self
