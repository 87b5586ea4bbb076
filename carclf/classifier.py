"""A trained classifier: crops in, probabilities out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from carclf.checkpoint import ModelInfo, fingerprint, load_model
from carclf.described import Described
from carclf.ensemble import Ensemble
from carclf.exported import EXPORT_FILE
from carclf.model import CarNet
from carclf.models import find_model
from carclf.onnx_classifier import OnnxClassifier
from carclf.preprocessing import normalise, squash, stack
from carclf.recognition.decision import temper
from carclf.tta import TestTimeAugmentation, TtaConfig
from detection.device import choose_device
from detection.images import load_image

_READ_AT_ONCE = 64


class Classifier(Described):
    """Reads its file and nothing else: classes, size, normalisation and cut-out style all come from there."""

    def __init__(self, net: CarNet | Ensemble, info: ModelInfo, device: str = "cpu", fingerprint: str = ""):
        self.net = net
        self.info = info
        self.device = device
        self.fingerprint = fingerprint

    @classmethod
    def load(cls, name_or_path: str | Path, device: str = "auto") -> Classifier | OnnxClassifier:
        """A bundled name, a run folder, a .safetensors file, or an export, which gives an `OnnxClassifier`.

        Raises `UsageError` when it is none of them.
        """
        path = find_model(str(name_or_path))
        if path.name == EXPORT_FILE:
            return OnnxClassifier.load(path.parent, device)
        device = choose_device(device)
        net, info = load_model(path, device)
        return cls(net, info, device, fingerprint(path))

    @torch.inference_mode()
    def predict(
        self, crops: Sequence[np.ndarray], batch_size: int = 32, tta: TtaConfig | str | int | bool | None = False
    ) -> np.ndarray:
        """crops: RGB uint8 HxWx3 of any sizes. Returns float32 [N, C], rows summing to 1, calibrated.

        tta: how many views of each crop are averaged, see `carclf.tta`; True is the crop and its mirror image. It takes
        as many times longer.
        """
        look = TestTimeAugmentation(self.net, tta, self.info.mean, self.info.std).to(self.device)
        rows = [np.empty((0, len(self.classes)), np.float32)]
        for start in range(0, len(crops), batch_size):
            batch = stack([squash(crop, self.image_size) for crop in crops[start : start + batch_size]])
            images = normalise(batch.to(self.device), self.info.mean, self.info.std)
            rows.append(look(images.contiguous(memory_format=torch.channels_last)).cpu().numpy())
        return temper(np.concatenate(rows), self.info.temperature)

    def predict_files(
        self, files: Sequence[str | Path], tta: TtaConfig | str | int | bool | None = False
    ) -> np.ndarray:
        """Of crops in files, some of them in memory at a time. Returns float32 [N, C], rows summing to 1."""
        files = list(files)
        parts = (files[start : start + _READ_AT_ONCE] for start in range(0, len(files), _READ_AT_ONCE))
        rows = [self.predict([load_image(file) for file in part], tta=tta) for part in parts]
        return np.concatenate([np.empty((0, len(self.classes)), np.float32), *rows])
