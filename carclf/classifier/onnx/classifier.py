"""A classifier: crops in, probabilities out, by ONNX Runtime and without torch."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from carclf.classifier.contract import Classifier, log_softmax, temper, unit
from carclf.classifier.info import ModelInfo, fingerprint, info_of, pair
from carclf.classifier.onnx.folder import CLASSIFIER, LOGITS, VECTORS, read_classifier
from carclf.classifier.preprocessing import squash
from carclf.classifier.tta.views import TtaConfig, View, make_views
from carclf.weights import graph_of
from detection.common.errors import UsageError
from detection.common.machine import photos_side_by_side
from detection.common.networks.arrays import read_arrays
from detection.detectors.onnx.session import has_ends, open_graphs, open_part
from detection.images.read import load_image

if TYPE_CHECKING:
    import onnxruntime


class OnnxClassifier(Classifier):
    """Answers as `carclf.classifier.classifier.TorchClassifier` does; may be used from several threads at once."""

    device = "cpu"

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        info: ModelInfo,
        fingerprint: str = "",
        detector: str | None = None,
        threads: int | None = None,
    ):
        """session: of the network. detector: the one to go with; None takes that of `info`. threads: that the network
        computes in, see `open_session`."""
        self.info, self.fingerprint = info, fingerprint
        self.side_by_side = photos_side_by_side(threads)
        self._session, self._detector = session, detector
        if session.get_providers()[0].startswith("CUDA"):
            self.device = "cuda"

    @classmethod
    def bundled(
        cls, file: Path, threads: int | None = None, runtime: str = "auto", device: str = "auto"
    ) -> OnnxClassifier:
        """A bundled classifier: its .safetensors file, and the graph beside it. threads, runtime, device: see
        `open_session`.

        Raises `UsageError` where they don't belong together.
        """
        arrays, metadata = read_arrays(file)
        info = info_of(file, metadata)
        (session,) = open_graphs([graph_of(file)], file, arrays, threads, runtime, device)
        _check_fit(session, info, f"'{graph_of(file)}'", "run scripts/write_graphs.py")
        return cls(session, info, fingerprint(file), threads=threads)

    @classmethod
    def load(
        cls, folder: str | os.PathLike, device: str = "auto", threads: int | None = None, runtime: str = "auto"
    ) -> OnnxClassifier:
        """That of an export. Raises `UsageError` for one that is damaged or put together wrongly, and for a device that
        is not there."""
        info, known = read_classifier(folder)
        session = open_part(Path(folder), CLASSIFIER, threads, runtime, device)
        _check_fit(session, info, f"the export '{folder}'", "export the model again")
        # The export itself holds the detector that the classifier was trained with.
        return cls(session, info, known, str(folder), threads)

    @property
    def detector(self) -> str:
        return self._detector or self.info.detector

    def predict(
        self, crops: Sequence[np.ndarray], batch_size: int = 32, tta: TtaConfig | str | int | bool | None = False
    ) -> np.ndarray:
        """crops: RGB uint8 HxWx3 of any sizes. Returns float32 [N, C], rows summing to 1, calibrated.

        tta: how many views of each crop are averaged, see `carclf.classifier.tta.views`. batch_size: of no effect here.
        """
        return self._look(crops, TtaConfig.of(tta), [LOGITS])[0]

    def predict_and_embed(
        self, crops: Sequence[np.ndarray], batch_size: int = 32, tta: TtaConfig | str | int | bool | None = False
    ) -> tuple[np.ndarray, np.ndarray]:
        length = next((one.shape[-1] for one in self._session.get_outputs() if one.name == VECTORS), None)
        if length is None:
            raise UsageError(
                f"'{self.detector}' gives no vectors, as an earlier version of carclf exported it: export the model "
                "again."
            )
        probabilities, vectors = self._look(crops, TtaConfig.of(tta), [LOGITS, VECTORS])
        return probabilities, unit(np.concatenate([np.empty((0, int(length)), np.float32), *vectors]))

    def _look(
        self, crops: Sequence[np.ndarray], config: TtaConfig, outputs: Sequence[str]
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Probabilities, float32 [N, C], and what else was asked for of each crop, [1, F], summed over its views."""
        views = make_views(config)
        rows = [np.empty((0, len(self.classes)), np.float32)]
        others = []
        for crop in crops:
            image = squash(crop, self.image_size)
            seen = [self._run(look(image, view), outputs) for view in views]
            answers = [log_softmax(logits) for logits, *_ in seen]
            if config.reduce == "geometric":
                rows.append(np.exp(log_softmax(np.mean(answers, axis=0))))
            else:
                rows.append(np.mean(np.exp(answers), axis=0))
            others += [np.sum(one, axis=0) for one in zip(*(more for _, *more in seen), strict=True)]
        return temper(np.concatenate(rows), self.info.temperature), others

    def predict_files(
        self, files: Sequence[str | Path], tta: TtaConfig | str | int | bool | None = False
    ) -> np.ndarray:
        """Of crops in files, one in memory at a time. Returns float32 [N, C], rows summing to 1."""
        rows = [self.predict([load_image(file)], tta=tta) for file in files]
        return np.concatenate([np.empty((0, len(self.classes)), np.float32), *rows])

    def _run(self, image: np.ndarray, outputs: Sequence[str]) -> list[np.ndarray]:
        """Each output for one image, float32 [1, C] or [1, F].

        Images go one by one: what a batch of four keeps does not fit the processor's caches, and takes 1.6 times as
        long per image.
        """
        return self._session.run(outputs, {"images": np.ascontiguousarray(image)[None]})


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


def _check_fit(session: onnxruntime.InferenceSession, info: ModelInfo, what: str, again: str) -> None:
    """Raises `UsageError` where the network is not the one that is described. again: what to do then."""
    if not has_ends(session, {"images": "tensor(uint8)"}, [LOGITS]):
        raise UsageError(
            f"The network of {what} is not the one of its description, but no classifier's at all; {again}."
        )
    (images,) = session.get_inputs()
    logits = next(one for one in session.get_outputs() if one.name == LOGITS)
    if list(images.shape[1:]) != [*pair(info.image_size), 3] or logits.shape[-1] != len(info.classes):
        raise UsageError(
            f"The network of {what} is not the one of its description: it takes crops of {images.shape[1:3]} and gives "
            f"{logits.shape[-1]} classes; {again}."
        )
