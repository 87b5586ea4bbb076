"""The compact detector's files: where the bundled ones lie, what weights say of themselves. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import detection
from detection.common.errors import UsageError
from detection.common.files import file_sha256
from detection.detectors.check.evidence import Evidence, read_evidence

KINDS = ("car",)
WEIGHTS_FORMAT = "carclf-detector-1"
EVIDENCE = "vehicle_evidence.safetensors"  # how the car check corrects the bundled detector


def compact_weights() -> Path:
    """Where the bundled weights of the compact detector lie."""
    return bundled_path("compact.safetensors")


def bundled_path(name: str) -> Path:
    """A file that comes with the package: weights, or the graph of a network without its weights."""
    return Path(detection.__file__).parent / "weights" / name


def read_details(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """short_side, long_side, score_threshold and kinds of the weights in `path`, by their metadata.

    Raises `UsageError` for weights of anything else.
    """
    if metadata.get("format") != WEIGHTS_FORMAT:
        raise UsageError(f"'{path}' holds no weights of the compact detector: pass weights made by train-detector.")
    return {"kinds": KINDS} | json.loads(metadata["details"])


def check_bundled(path: Path) -> None:
    """Raises `UsageError` where the bundled weights are meant and missing."""
    if path == compact_weights() and not path.is_file():
        raise UsageError(f"The detector's weights '{path}' are missing: reinstall carclf, or pass --weights FILE.")


def compact_fingerprint(path: Path, score_threshold: float) -> str:
    """The same whichever engine runs them."""
    return f"compact-{file_sha256(path).hex()[:12]}-{score_threshold:g}"


def bundled_evidence(fingerprint: str) -> Evidence | None:
    """The evidence that comes with the package, for the detector that it was made for; None for every other one.

    fingerprint: of the detector.
    """
    detector, evidence = read_evidence(bundled_path(EVIDENCE))
    return evidence if fingerprint.startswith(detector) else None
