"""What stands beside a detector's networks: in an export's folder, and for the bundled one. Imports nothing heavy."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pydantic import Field, ValidationError, model_validator

from detection.common.config import StrictConfig
from detection.common.errors import UsageError
from detection.common.files import check_format

EXPORT_FILE = "export.json"
EXPORT_FORMAT = "carclf-export-1"
FEATURES, BOXES, MASKS = "detector_features.onnx", "detector_boxes.onnx", "detector_masks.onnx"
CHECK = "car_check.onnx"
NETWORKS = "detector.json"  # beside the bundled graphs; an export has the same in its `EXPORT_FILE`

_MOST_BYTES = 2**24  # of what stands beside the networks; ten thousand classes take a megabyte

Box = tuple[float, float, float, float]


class DetectorNetworks(StrictConfig):
    """What a detector's networks do not know of themselves, whatever their weights; boxes and strides are in pixels.

    divisor: photos are padded to multiples of it. mean, std: of RGB in 0-255. anchors: of each pyramid level, round
    the centre of its first cell. before, after: proposals of a level before suppression, and of all levels after it.
    box_levels: first and last pyramid level that boxes are read from. overlap: IoU above which the lesser box goes.
    """

    mask_scores: bool
    divisor: int = Field(ge=1)
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    anchors: tuple[tuple[Box, ...], ...]
    anchor_strides: tuple[int, ...]
    proposals_before: int
    proposals_after: int
    proposal_overlap: float
    box_levels: tuple[int, int]
    canonical_size: int
    canonical_level: int
    box_weights: Box
    box_overlap: float
    most_vehicles: int
    mask_margin: float


class EvidenceFacts(StrictConfig):
    """See `detection.detectors.check.evidence.Evidence`."""

    weights: tuple[float, ...]
    constant: float
    share: float
    offset: float
    certain: float
    least: float
    name: str


class DetectorFacts(DetectorNetworks):
    """All that is to be known beside the networks; sides are in pixels of the resized photo.

    check_names: of the classes of the network that checks what was found, see `detection.detectors.check.car_check`.
    evidence: how that network corrects the scores; None where it does not, as in exports of earlier versions.
    """

    name: str
    fingerprint: str
    kinds: tuple[str, ...] = Field(min_length=1)
    short_side: int = Field(ge=1)
    long_side: int = Field(ge=1)
    score_threshold: float = Field(ge=0, le=1)
    check_names: tuple[str, ...] = Field(min_length=1)
    evidence: EvidenceFacts | None = None

    @model_validator(mode="after")
    def _fits(self) -> DetectorFacts:
        if self.evidence is not None and len(self.evidence.weights) != len(self.check_names):
            raise ValueError("the evidence is of other classes")
        return self


def read_networks(path: Path) -> DetectorNetworks:
    """What stands beside the bundled graphs. Raises `UsageError`."""
    try:
        return DetectorNetworks.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise UsageError(f"'{path}' is missing or damaged: reinstall carclf.") from error


def is_export(path: str | os.PathLike) -> bool:
    """Whether it is a folder that `carclf export` has written."""
    return (Path(path) / EXPORT_FILE).is_file()


def read_export(folder: str | os.PathLike) -> dict:
    """All that the export says of itself. Raises `UsageError` with what to do when it is damaged, or another format."""
    path = Path(folder) / EXPORT_FILE
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("too large")
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"'{path}' can't be read: export the model again.") from error
    found = values.get("format") if isinstance(values, dict) else None
    if isinstance(values, dict):
        check_format(path, found, EXPORT_FORMAT, values.get("carclf"))
    if found != EXPORT_FORMAT:
        raise UsageError(f"'{path}' has the format '{found}', this carclf reads '{EXPORT_FORMAT}': export it again.")
    return values


def read_detector(folder: str | os.PathLike) -> DetectorFacts:
    """The part about the detector. Raises `UsageError`."""
    try:
        return DetectorFacts.model_validate(read_export(folder).get("detector"))
    except ValidationError as error:
        raise UsageError(f"'{folder}' says nothing usable about its detector: export the model again.") from error
