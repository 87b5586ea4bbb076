"""What every classifier says of itself, whatever runs it. Imports no torch."""

from __future__ import annotations

from carclf.model_info import ModelInfo
from detection.cutout import CutoutStyle


class Described:
    """A classifier whose `info` came with its weights."""

    info: ModelInfo

    @property
    def classes(self) -> tuple[str, ...]:
        return self.info.classes

    @property
    def style(self) -> CutoutStyle:
        return self.info.style

    @property
    def detector(self) -> str:
        """The one that it was trained with."""
        return self.info.detector

    @property
    def architecture(self) -> str:
        return self.info.shown_architecture

    @property
    def image_size(self) -> int | tuple[int, int]:
        return self.info.image_size

    @property
    def threshold(self) -> float:
        """The least confidence of an answer."""
        return self.info.threshold
