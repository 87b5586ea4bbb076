"""The file of a garage: what was learnt, and which classifier it stands on. Nothing in it is ever run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field, ValidationError

from carclf.classifier.garage.discriminant import Discriminant
from detection.common.config import StrictConfig
from detection.common.errors import UsageError
from detection.common.files import check_format, replace_file
from detection.common.networks.arrays import SCALES, read_arrays, read_metadata
from detection.version import __version__

FORMAT = "carclf-garage-2"
_READ = ("carclf-garage-1", FORMAT)  # 1: of 0.5.0, which knew no priors
KEY = "carclf-garage"  # of the metadata
MOST_CLASSES, MOST_PHOTOS = 2000, 50  # photos: of each class
VIEWS = 2  # of each photo: as it is, and mirrored
_TENSORS = ("vectors", "directions", "offsets", "means", "sure")
_BYTES = 2**31  # of a file


class LearntPhoto(StrictConfig):
    """file: the photo's name, without the folders of any machine. number: of its class, from 0. hash: 64 bits by which
    copies of it are known (`difference_hash` of its cut-out)."""

    file: str
    number: int = Field(ge=0)
    hash: int = Field(ge=0, lt=2**64)


class GarageInfo(StrictConfig):
    """The metadata of a garage.

    base: the classifier it stands on, as `find_model` takes it; a path is relative to the garage's folder.
    fingerprint: of the base's weights. prior: that of the base's prior; empty where it was learnt without one.
    """

    format: str = FORMAT
    base: str = Field(min_length=1)
    fingerprint: str
    prior: str = ""
    classes: tuple[str, ...] = Field(min_length=1, max_length=MOST_CLASSES)
    photos: tuple[LearntPhoto, ...] = Field(min_length=1)
    temperature: float = Field(gt=0, allow_inf_nan=False)
    border: float = Field(ge=-2, le=2, allow_inf_nan=False)
    carclf: str = __version__


@dataclass(frozen=True, eq=False)
class Garage:
    """vectors: float32 [P, VIEWS, F] of length 1, of each photo. sure: float32 [P], the base's highest probability."""

    info: GarageInfo
    vectors: np.ndarray
    sure: np.ndarray
    discriminant: Discriminant


def is_garage(path: Path) -> bool:
    """Whether a file says that it is a garage."""
    try:
        return KEY in read_metadata(path)
    except UsageError:
        return False


def write_garage(path: Path, garage: Garage) -> None:
    """By temp file and rename. Vectors are kept in 8 bits, one scale each."""
    from safetensors.numpy import save

    rows = garage.vectors.reshape(-1, garage.vectors.shape[2])
    scales = np.maximum(np.abs(rows).max(axis=1), 1e-12) / 127
    tensors = {
        "vectors": np.rint(rows / scales[:, None]).astype(np.int8),
        "vectors" + SCALES: scales.astype(np.float32),
        "sure": garage.sure.astype(np.float32),
        "directions": garage.discriminant.directions.astype(np.float32),
        "offsets": garage.discriminant.offsets.astype(np.float32),
        "means": garage.discriminant.means.astype(np.float16),
    }
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, save(tensors, metadata={KEY: garage.info.model_dump_json()}))


def read_garage(path: Path) -> Garage:
    """Raises `UsageError` with one sentence for a file that is damaged, of another version, or no garage."""
    info = read_garage_info(path)
    if path.stat().st_size > _BYTES:
        raise UsageError(f"The garage '{path}' is larger than any garage: learn it again.")
    arrays, _ = read_arrays(path)
    photos, classes = len(info.photos), len(info.classes)
    features = arrays["means"].shape[-1] if "means" in arrays and arrays["means"].ndim == 2 else 0
    shapes = {
        "vectors": (photos * VIEWS, features),
        "directions": (classes, features),
        "means": (classes, features),
        "offsets": (classes,),
        "sure": (photos,),
    }
    whole = features and set(arrays) == set(_TENSORS)
    if not whole or any(
        arrays[name].shape != shape or arrays[name].dtype != np.float32 or not np.isfinite(arrays[name]).all()
        for name, shape in shapes.items()
    ):
        raise UsageError(
            f"The garage '{path}' is damaged: its tensors are not those that it describes; learn it again."
        )
    discriminant = Discriminant(arrays["directions"], arrays["offsets"], arrays["means"], info.temperature, info.border)
    return Garage(info, arrays["vectors"].reshape(photos, VIEWS, features), arrays["sure"], discriminant)


def read_garage_info(path: Path) -> GarageInfo:
    """The description alone. Raises `UsageError` as `read_garage` does."""
    text = read_metadata(path).get(KEY)
    if text is None:
        raise UsageError(f"'{path}' is not a garage: name a file that `carclf learn` has written.")
    try:
        values = json.loads(text)
        if isinstance(values, dict):
            check_format(path, values.get("format"), FORMAT, values.get("carclf"))
        info = GarageInfo.model_validate(values)
    except UsageError:  # a newer version's
        raise
    except (ValidationError, ValueError, RecursionError) as error:
        raise UsageError(f"The garage '{path}' is damaged: its description can't be read; learn it again.") from error
    if info.format not in _READ:
        raise UsageError(f"'{path}' has the format '{info.format}', this carclf reads '{FORMAT}': learn it again.")
    numbers = {photo.number for photo in info.photos}
    if numbers != set(range(len(info.classes))) or len(set(info.classes)) != len(info.classes):
        raise UsageError(f"The garage '{path}' is damaged: its photos are not those of its classes; learn it again.")
    return info
