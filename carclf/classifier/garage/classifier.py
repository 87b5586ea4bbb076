"""A garage as a classifier: the base's classes and the learnt ones side by side."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from carclf.classifier.contract import Classifier
from carclf.classifier.garage.file import Garage, GarageInfo
from carclf.classifier.garage.names import joined_info
from carclf.classifier.garage.prior import Prior
from carclf.classifier.tta.views import TtaConfig
from detection.common.errors import UsageError
from detection.images.read import load_image


class GarageClassifier(Classifier):
    """Answers with the base's classes, in their order, and then the learnt ones; from several threads if the base
    does."""

    def __init__(self, base: Classifier, garage: Garage, path: Path, prior: Prior | None = None):
        """prior: of the base, where it has one. Raises `UsageError` where the garage was learnt with another classifier
        or another prior."""
        check_base(base.fingerprint, garage.info, path)
        if twice := set(base.classes) & set(garage.info.classes):
            raise UsageError(
                f"The garage '{path}' has the class '{sorted(twice)[0]}', which '{garage.info.base}' has itself: learn "
                "it again under another name."
            )
        garage = with_prior(garage, prior, path)
        self.base, self.garage = base, garage
        self.info = joined_info(base.info, garage.info)
        self.device, self.side_by_side = base.device, base.side_by_side
        learnt = hashlib.sha256(base.fingerprint.encode())
        for part in (garage.discriminant.directions, garage.discriminant.offsets, garage.discriminant.means):
            learnt.update(np.ascontiguousarray(part).tobytes())
        learnt.update(
            garage.info.model_dump_json(
                include={"classes", "temperature", "border"} | ({"prior"} if garage.info.prior else set())
            ).encode()
        )
        self.fingerprint = learnt.hexdigest()[:16]
        features = base.predict_and_embed([])[1].shape[1]
        if features != garage.vectors.shape[2]:
            raise UsageError(
                f"The garage '{path}' is damaged: its vectors have {garage.vectors.shape[2]} values, those of its base "
                f"{features}; learn it again."
            )

    @property
    def detector(self) -> str:
        return self.base.detector

    def predict(
        self, crops: Sequence[np.ndarray], batch_size: int = 32, tta: TtaConfig | str | int | bool | None = False
    ) -> np.ndarray:
        return self.predict_and_embed(crops, batch_size, tta)[0]

    def predict_and_embed(
        self, crops: Sequence[np.ndarray], batch_size: int = 32, tta: TtaConfig | str | int | bool | None = False
    ) -> tuple[np.ndarray, np.ndarray]:
        known, vectors = self.base.predict_and_embed(crops, batch_size, tta)
        if not len(crops):
            return np.empty((0, len(self.classes)), np.float32), vectors
        return self.garage.discriminant.join(known, vectors), vectors

    def predict_files(
        self, files: Sequence[str | Path], tta: TtaConfig | str | int | bool | None = False
    ) -> np.ndarray:
        rows = [self.predict([load_image(file)], tta=tta) for file in files]
        return np.concatenate([np.empty((0, len(self.classes)), np.float32), *rows])


def with_prior(garage: Garage, prior: Prior | None, path: Path) -> Garage:
    """The garage with the prior that it was learnt with, if any. Raises `UsageError` where that is not here."""
    if not garage.info.prior:
        return garage
    if prior is None or prior.fingerprint != garage.info.prior:
        raise UsageError(
            f"The garage '{path}' was learnt with another prior than the one that is here: learn it again."
        )
    return replace(garage, discriminant=replace(garage.discriminant, prior=prior))


def check_base(fingerprint: str, info: GarageInfo, path: Path) -> None:
    """Raises `UsageError` unless the base of that fingerprint is the one that the garage was learnt with."""
    if fingerprint != info.fingerprint:
        raise UsageError(
            f"The garage '{path}' was learnt with another '{info.base}' than the one that is here: learn it again."
        )
