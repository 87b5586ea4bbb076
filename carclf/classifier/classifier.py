"""A trained classifier: crops in, probabilities out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from carclf.classifier.checkpoint import load_model
from carclf.classifier.contract import Classifier, temper, unit
from carclf.classifier.info import ModelInfo, fingerprint
from carclf.classifier.network import CarNet, Ensemble, WithVectors
from carclf.classifier.preprocessing import normalise, squash, stack
from carclf.classifier.tta.network import TestTimeAugmentation
from carclf.classifier.tta.views import TtaConfig
from detection.common.networks.device import choose_device
from detection.images.read import load_image

_READ_AT_ONCE = 64


class TorchClassifier(Classifier):
    """Reads its file and nothing else: classes, size, normalisation and cut-out style all come from there."""

    def __init__(self, net: CarNet | Ensemble, info: ModelInfo, device: str = "cpu", fingerprint: str = ""):
        self.net = net
        self.info = info
        self.device = device
        self.fingerprint = fingerprint

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> TorchClassifier:
        """A .safetensors file; `load_classifier` takes every other name of a model. Raises `UsageError`."""
        path, device = Path(path), choose_device(device)
        net, info = load_model(path, device)
        return cls(net, info, device, fingerprint(path))

    @torch.inference_mode()
    def predict(
        self, crops: Sequence[np.ndarray], batch_size: int = 32, tta: TtaConfig | str | int | bool | None = False
    ) -> np.ndarray:
        """crops: RGB uint8 HxWx3 of any sizes. Returns float32 [N, C], rows summing to 1, calibrated.

        tta: how many views of each crop are averaged, see `carclf.classifier.tta.network`; True is the crop and its
        mirror image. It takes as many times longer.
        """
        look = TestTimeAugmentation(self.net, tta, self.info.mean, self.info.std).to(self.device)
        rows = [np.empty((0, len(self.classes)), np.float32)]
        rows += [look(images).cpu().numpy() for images in self._batches(crops, batch_size)]
        return temper(np.concatenate(rows), self.info.temperature)

    @torch.inference_mode()
    def predict_and_embed(
        self, crops: Sequence[np.ndarray], batch_size: int = 32, tta: TtaConfig | str | int | bool | None = False
    ) -> tuple[np.ndarray, np.ndarray]:
        both = WithVectors(self.net)
        look = TestTimeAugmentation(both, tta, self.info.mean, self.info.std).to(self.device)
        rows, vectors = [np.empty((0, len(self.classes)), np.float32)], []
        for images in self._batches(crops, batch_size):
            rows.append(look(images).cpu().numpy())
            vectors.append(both.take(len(images)).cpu().numpy())
        embedded = np.concatenate(vectors) if vectors else np.empty((0, self.net.features), np.float32)
        return temper(np.concatenate(rows), self.info.temperature), unit(embedded)

    def _batches(self, crops: Sequence[np.ndarray], batch_size: int) -> Iterator[torch.Tensor]:
        """Normalised images, float32 [N, 3, H, W], on the device."""
        for start in range(0, len(crops), batch_size):
            batch = stack([squash(crop, self.image_size) for crop in crops[start : start + batch_size]])
            images = normalise(batch.to(self.device), self.info.mean, self.info.std)
            yield images.contiguous(memory_format=torch.channels_last)

    def predict_files(
        self, files: Sequence[str | Path], tta: TtaConfig | str | int | bool | None = False
    ) -> np.ndarray:
        """Of crops in files, some of them in memory at a time. Returns float32 [N, C], rows summing to 1."""
        files = list(files)
        parts = (files[start : start + _READ_AT_ONCE] for start in range(0, len(files), _READ_AT_ONCE))
        rows = [self.predict([load_image(file) for file in part], tta=tta) for part in parts]
        return np.concatenate([np.empty((0, len(self.classes)), np.float32), *rows])
