"""The exported classifier: crops in, probabilities out, by ONNX Runtime and without torch."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from carclf.classifier.contract import Classifier, temper
from carclf.classifier.onnx.folder import CLASSIFIER, read_classifier
from carclf.classifier.preprocessing import squash
from carclf.classifier.tta.views import TtaConfig, View, make_views
from detection.common.errors import UsageError
from detection.detectors.onnx.session import open_session
from detection.images.read import load_image

# On a CPU larger batches take memory and gain no time.
_AT_ONCE = 4


class OnnxClassifier(Classifier):
    """Answers as `carclf.classifier.classifier.TorchClassifier` does; may be used from several threads at once."""

    device = "cpu"

    def __init__(self, folder: str | os.PathLike, threads: int | None = None):
        """folder: an export. threads: see `detection.detectors.onnx.session.open_session`."""
        self.folder = Path(folder)
        self.info, self.fingerprint = read_classifier(folder)
        self._session = open_session(self.folder / CLASSIFIER, threads)

    @classmethod
    def load(cls, folder: str | os.PathLike, device: str = "auto") -> OnnxClassifier:
        """Raises `UsageError` for a damaged export, and for another device than the CPU."""
        if device not in ("auto", "cpu"):
            raise UsageError(
                f"The export '{folder}' runs on the CPU only: leave '{device}' out, or take the model itself."
            )
        return cls(folder)

    @property
    def detector(self) -> str:
        """The export itself, which holds the detector that the classifier was trained with."""
        return str(self.folder)

    def predict(
        self, crops: Sequence[np.ndarray], batch_size: int = 32, tta: TtaConfig | str | int | bool | None = False
    ) -> np.ndarray:
        """crops: RGB uint8 HxWx3 of any sizes. Returns float32 [N, C], rows summing to 1, calibrated.

        tta: how many views of each crop are averaged, see `carclf.classifier.tta.views`.
        """
        config = TtaConfig.of(tta)
        views = make_views(config)
        rows = [np.empty((0, len(self.classes)), np.float32)]
        step = max(1, min(batch_size, _AT_ONCE))
        for start in range(0, len(crops), step):
            images = [squash(crop, self.image_size) for crop in crops[start : start + step]]
            answers = [self._answer([look(image, view) for image in images]) for view in views]
            if config.reduce == "geometric":
                rows.append(np.exp(_log_softmax(np.mean(answers, axis=0))))
            else:
                rows.append(np.mean(np.exp(answers), axis=0))
        return temper(np.concatenate(rows), self.info.temperature)

    def predict_files(
        self, files: Sequence[str | Path], tta: TtaConfig | str | int | bool | None = False
    ) -> np.ndarray:
        """Of crops in files, one in memory at a time. Returns float32 [N, C], rows summing to 1."""
        rows = [self.predict([load_image(file)], tta=tta) for file in files]
        return np.concatenate([np.empty((0, len(self.classes)), np.float32), *rows])

    def _answer(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Logarithms of the probabilities, float32 [N, C]."""
        (logits,) = self._session.run(["logits"], {"images": np.stack(images)})
        return _log_softmax(logits)


def look(image: np.ndarray, view: View) -> np.ndarray:
    """A view of an RGB uint8 HxWx3 image, of the same size; the same as `TestTimeAugmentation.look`, up to rounding."""
    seen = image
    if view.moves:
        height, width = image.shape[:2]
        cos, sin = math.cos(math.radians(view.angle)), math.sin(math.radians(view.angle))
        sign = -1 if view.mirror else 1
        # From a pixel of the view to one of the image, both counted from the image's middle.
        turn = view.crop * np.array([[cos * sign, -sin], [sin * sign, cos]])
        middle = np.array([(width - 1) / 2, (height - 1) / 2])
        shift = middle + np.array(view.shift) * (width / 2, height / 2) - turn @ middle
        seen = cv2.warpAffine(
            image,
            np.column_stack([turn, shift]),
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
    elif view.mirror:
        seen = image[:, ::-1]
    if view.brightness == 1:
        return seen
    return np.clip(np.rint(seen * np.float32(view.brightness)), 0, 255).astype(np.uint8)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
