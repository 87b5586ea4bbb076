"""The folder that `carclf export` writes, as far as it is about the classifier. Imports nothing heavy."""

from __future__ import annotations

import os

from pydantic import ValidationError

from carclf.model_info import FORMAT, ModelInfo
from detection.errors import UsageError
from detection.exported import EXPORT_FILE, EXPORT_FORMAT, is_export, read_export

__all__ = ["CLASSIFIER", "EXPORT_FILE", "EXPORT_FORMAT", "is_export", "read_classifier", "read_export"]

CLASSIFIER = "classifier.onnx"


def read_classifier(folder: str | os.PathLike) -> tuple[ModelInfo, str]:
    """What an exported classifier says of itself, and the fingerprint of the file that it was made from.

    Raises `UsageError` for a damaged export, and for one of another version of carclf.
    """
    part = read_export(folder).get("classifier")
    try:
        info = ModelInfo.model_validate(part["info"])
        fingerprint = str(part["fingerprint"])
    except (ValidationError, KeyError, TypeError) as error:
        raise UsageError(f"'{folder}' has no classifier that this carclf can read: export again.") from error
    if info.format != FORMAT:
        raise UsageError(f"'{folder}' has the format '{info.format}', this carclf reads '{FORMAT}': export again.")
    return info, fingerprint
