"""How much the check's thousand classes speak for a vehicle, and the score that a detector's score becomes by it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from detection.common.errors import UsageError
from detection.common.files import file_sha256

FORMAT = "carclf-evidence-1"
CLASSES = 1000
# The least probability that is told apart from none: softmax in float32 goes no lower with the same digits everywhere.
_LEAST = 1e-8


@dataclass(frozen=True, eq=False)
class Evidence:
    """A logistic regression on the check's probabilities, and how it moves a detector's score.

    weights: float32 [1000], by ImageNet's classes; constant: of the regression. share, offset: the log-odds of a score
    become `log-odds + share * evidence + offset`. certain: scores from here on stay, and the check is not asked. least:
    what has a lower score is not looked at, and stays as it is. name: changes with all of these.
    """

    weights: np.ndarray
    constant: float
    share: float
    offset: float
    certain: float
    least: float
    name: str

    def of(self, probabilities: np.ndarray) -> np.ndarray:
        """The evidence for a vehicle, float [N]: log-odds, above 0 for more likely one than not.

        probabilities: float [N, 1000] of ImageNet's classes.
        """
        return log_classes(probabilities) @ self.weights + self.constant

    def rescored(self, score: float, evidence: float) -> float:
        """What a detector's score, 0 to 1, becomes by the evidence for a vehicle."""
        odds = np.log(max(score, 1e-9) / max(1 - score, 1e-9)) + self.share * evidence + self.offset
        return float(1 / (1 + np.exp(-odds)))

    def facts(self) -> dict[str, Any]:
        """All but the detector that it was made for, as what JSON can hold."""
        return asdict(self) | {"weights": self.weights.tolist()}

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Evidence:
        """What `facts` gave."""
        return cls(**{**facts, "weights": np.array(facts["weights"], np.float32)})


def log_classes(probabilities: np.ndarray) -> np.ndarray:
    """What the regression sees: log-probabilities without their mean over the classes, float32 [N, 1000]."""
    logs = np.log(np.maximum(np.asarray(probabilities, np.float32), np.float32(_LEAST)))
    return logs - logs.mean(axis=-1, keepdims=True)


@lru_cache(maxsize=1)
def read_evidence(path: Path) -> tuple[str, Evidence]:
    """The beginning of the fingerprints of the detector that the evidence in a file is for, and the evidence.

    Raises `UsageError` for a file that is missing, damaged or of another kind.
    """
    from detection.common.networks.arrays import read_arrays

    arrays, metadata = read_arrays(path)
    try:
        if metadata["format"] != FORMAT or arrays["weights"].shape != (CLASSES,):
            raise ValueError(metadata["format"])
        details = json.loads(metadata["details"])
        numbers = {key: float(details[key]) for key in ("constant", "share", "offset", "certain", "least")}
        detector = str(details["detector"])
    except (KeyError, ValueError, TypeError) as error:
        raise UsageError(f"'{path}' holds no evidence of this version: reinstall carclf.") from error
    return detector, Evidence(arrays["weights"], **numbers, name=file_sha256(path).hex()[:6])
