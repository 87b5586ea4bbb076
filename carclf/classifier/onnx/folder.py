"""The folder that `carclf export` writes, as far as it is about the classifier. Imports nothing heavy."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from carclf.classifier.info import FORMAT, ModelInfo
from detection.common.errors import UsageError
from detection.common.files import cache_folder
from detection.detectors.compact.files import compact_weights
from detection.detectors.onnx.folder import EXPORT_FILE, EXPORT_FORMAT, is_export, read_export
from detection.version import __version__

__all__ = ["CLASSIFIER", "EXPORT_FILE", "EXPORT_FORMAT", "is_export", "kept_export", "read_classifier", "read_export"]

CLASSIFIER = "classifier.onnx"
LOGITS, VECTORS = "logits", "features"  # what its network gives; exports before 0.5.0 give no vectors


def kept_export(file: Path) -> Path:
    """Where `carclf export` puts the export of a classifier's file when no folder is named, and `carclf serve` looks.

    Below `cache_folder`; another classifier, detector or version has another place.
    """
    digest = hashlib.sha256(f"{EXPORT_FORMAT} {__version__}".encode())
    for part in (file, compact_weights()):
        digest.update(part.read_bytes())
    return cache_folder() / "exports" / digest.hexdigest()[:16]


def read_classifier(folder: str | os.PathLike) -> tuple[ModelInfo, str]:
    """What an exported classifier says of itself, and the fingerprint of the file that it was made from.

    Raises `UsageError` for a damaged export, and for one of another version of carclf.
    """
    part: Any = read_export(folder).get("classifier")
    try:
        info = ModelInfo.model_validate(part["info"])
        fingerprint = str(part["fingerprint"])
    except (ValidationError, KeyError, TypeError) as error:
        raise UsageError(f"'{folder}' has no classifier that this carclf can read: export again.") from error
    if info.format != FORMAT:
        raise UsageError(f"'{folder}' has the format '{info.format}', this carclf reads '{FORMAT}': export again.")
    return info, fingerprint
