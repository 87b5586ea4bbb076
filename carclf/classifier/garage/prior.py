"""What is known of a base's vectors before any new car is learnt: how those of one car differ, and where its own
classes lie. It is a file beside the bundled base, made by scripts/make_garage_prior.py; other bases have none."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from pydantic import Field, ValidationError

from carclf.classifier.contract import unit
from detection.common.config import StrictConfig
from detection.common.errors import UsageError
from detection.common.files import check_format, file_sha256, replace_file
from detection.common.networks.arrays import SCALES, read_arrays, read_metadata
from detection.version import __version__

FORMAT = "carclf-prior-1"
KEY = "carclf-prior"  # of the metadata
SHRINKAGE = 3e-4  # of the spread towards a sphere, as a part of its trace; chosen by benchmarks/garage.py
_ENDING = "_garage_prior.safetensors"
_TENSORS = {"spread", "means", "lengths"}
_HALF = 7  # the largest value in 4 bits: -7 to 7, stored as 1 to 15


class PriorInfo(StrictConfig):
    """The metadata of a prior. base: the fingerprint of the classifier that it belongs to. photos: that the means and
    the spread were taken from."""

    format: str = FORMAT
    base: str = Field(min_length=1)
    photos: tuple[int, int] = (0, 0)
    carclf: str = __version__


@dataclass(frozen=True, eq=False)
class Prior:
    """spread: float32 [R, F]; the sum of the products of its rows is the covariance of the vectors of one car that is
    seen from several sides, as far as R directions can tell. means: float32 [C, F] of length 1, of the base's classes.
    fingerprint: changes with the file."""

    spread: np.ndarray
    means: np.ndarray
    fingerprint: str = ""

    def steady(self, vectors: np.ndarray) -> np.ndarray:
        """vectors: float [N, F] of length 1. What stays of them from photo to photo of one car: the directions of the
        spread damped, again of length 1, float32 [N, F]."""
        directions, kept = self._damped
        return unit(vectors - ((vectors @ directions.T) * (1 - kept)) @ directions)

    @cached_property
    def steady_means(self) -> np.ndarray:
        return self.steady(self.means)

    @cached_property
    def _damped(self) -> tuple[np.ndarray, np.ndarray]:
        """The spread's directions, float32 [R, F], and how much of each stays, 0 to 1."""
        _, sizes, directions = np.linalg.svd(self.spread, full_matrices=False)
        ridge = SHRINKAGE * float((sizes**2).sum())
        return directions, np.sqrt(ridge / np.maximum(sizes**2 + ridge, 1e-30)).astype(np.float32)


def prior_file(base: Path) -> Path:
    """Where the prior of a classifier's file would be."""
    return base.with_name(base.stem + _ENDING)


def write_prior(path: Path, prior: Prior, info: PriorInfo) -> None:
    """By temp file and rename. The spread is kept in 8 bits, the means in 4; F must be even."""
    from safetensors.numpy import save

    scales = _largest(prior.spread) / 127
    lengths = _largest(prior.means) / _HALF
    halves = (np.rint(prior.means / lengths[:, None]) + _HALF + 1).astype(np.uint8)
    tensors: dict[str, np.ndarray] = {
        "spread": np.rint(prior.spread / scales[:, None]).astype(np.int8),
        "spread" + SCALES: scales.astype(np.float32),
        "means": halves[:, ::2] * 16 + halves[:, 1::2],
        "lengths": lengths.astype(np.float32),
    }
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    replace_file(path, save(tensors, metadata={KEY: info.model_dump_json()}))


def _largest(rows: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(rows).max(axis=1), 1e-12)


def read_prior(path: Path, base: str, classes: int) -> Prior:
    """base: the fingerprint of the classifier, and how many classes it has. Raises `UsageError` with one sentence for a
    file that is damaged, of another version, of another base, or no prior."""
    again = "install carclf again"
    text = read_metadata(path).get(KEY)
    if text is None:
        raise UsageError(f"'{path}' is not what its name says, a table for garages: {again}.")
    try:
        values = json.loads(text)
        if isinstance(values, dict):
            check_format(path, values.get("format"), FORMAT, values.get("carclf"))
        info = PriorInfo.model_validate(values)
    except UsageError:  # a newer version's
        raise
    except (ValidationError, ValueError, RecursionError) as error:
        raise UsageError(f"'{path}' is damaged: its description can't be read; {again}.") from error
    if info.format != FORMAT:
        raise UsageError(f"'{path}' has the format '{info.format}', this carclf reads '{FORMAT}': {again}.")
    if info.base != base:
        raise UsageError(f"'{path}' belongs to another classifier than the one beside it: {again}.")
    arrays, _ = read_arrays(path)
    if fault := _fault(arrays, classes):
        raise UsageError(f"'{path}' is damaged: {fault}; {again}.")
    stored = arrays["means"]
    means = np.stack([stored >> 4, stored & 15], axis=2).reshape(len(stored), -1).astype(np.float32) - (_HALF + 1)
    return Prior(arrays["spread"], unit(means * arrays["lengths"][:, None]), file_sha256(path).hex()[:16])


def _fault(arrays: dict[str, np.ndarray], classes: int) -> str:
    """What is wrong with the tensors; empty for nothing."""
    if set(arrays) != _TENSORS:
        return "its tensors are not those that it should have"
    spread, means, lengths = arrays["spread"], arrays["means"], arrays["lengths"]
    if spread.ndim != 2 or means.ndim != 2 or spread.shape[1] != 2 * means.shape[1] or not spread.shape[1]:
        return "its tensors do not fit each other"
    if len(means) != classes or lengths.shape != (classes,):
        return f"it has {len(means)} classes, its base {classes}"
    if spread.dtype != np.float32 or lengths.dtype != np.float32 or means.dtype != np.uint8:
        return "its tensors are of wrong types"
    if not np.isfinite(spread).all() or not (np.isfinite(lengths) & (lengths > 0)).all():
        return "its values are no finite numbers"
    return ""
