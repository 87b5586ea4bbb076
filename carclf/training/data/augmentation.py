"""How crops are varied in training: Albumentations recipes whose strength a stage sets."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import cv2
import numpy as np

from carclf.classifier.info import Size, pair
from carclf.classifier.preprocessing import squash
from carclf.runs.recipe import AugmentationConfig

if TYPE_CHECKING:
    import albumentations as A


# Else importing Albumentations asks a server for newer versions. It is imported where a recipe is made: the configs of
# training are read by prediction and the service, too, and this would be a third of their start.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")


class Plain:
    """No variation: what prediction does."""

    def __init__(self, size: int | Size):
        self.size = size

    def __call__(self, image: np.ndarray, seed: int = 0) -> np.ndarray:
        """RGB uint8 of any size to RGB uint8 of this one."""
        return squash(image, self.size)


class Augmented:
    """Random variation of strength 0 (only mirrored) to 1; the same seed gives the same picture."""

    def __init__(self, size: int | Size, strength: float, config: AugmentationConfig | None = None):
        import albumentations as A

        height, width = pair(size)
        # Squashed first, so that the aspect in training is the one in prediction; a little larger than needed, so
        # that cropping does not blur.
        self.canvas = (round(height * 1.15), round(width * 1.15))
        self.recipe = A.Compose(augmentations((height, width), strength, config or AugmentationConfig()))

    def __call__(self, image: np.ndarray, seed: int = 0) -> np.ndarray:
        """RGB uint8 of any size to RGB uint8 of this one."""
        self.recipe.set_random_seed(seed)
        return self.recipe(image=squash(image, self.canvas))["image"]


def augmentations(size: Size, strength: float, config: AugmentationConfig) -> list[A.BasicTransform]:
    """The recipe; each line names the effect in real photos that it imitates."""
    import albumentations as A

    s, c = strength, config
    edge = {"border_mode": cv2.BORDER_REPLICATE}  # white stays white, and a car that the frame cuts off continues
    moves = any((c.rotate, c.shear, c.zoom, c.shift))
    recipe = [
        A.HorizontalFlip(p=0.5 if c.mirror else 0),  # cars seen from the other side
        A.Affine(  # a camera held askew, nearer or farther
            rotate=(-c.rotate * s, c.rotate * s),
            shear=(-c.shear * s, c.shear * s),
            scale=(1 - c.zoom * s, 1 + c.zoom * s),
            translate_percent=(-c.shift * s, c.shift * s),
            p=1.0 if moves and s else 0,
            **edge,
        ),
        A.Perspective((0, c.perspective * s), p=0.5 if c.perspective and s else 0, **edge),  # other viewpoints
        A.RandomResizedCrop(  # boxes that are too tight or too wide, cars cut off by the border
            size,
            scale=(1 - c.crop * s, 1.0),
            ratio=_ratios(size, c.aspect * s),
            interpolation=cv2.INTER_LINEAR,
            area_for_downscale="image",
        ),
        A.RandomBrightnessContrast(c.brightness * s, c.contrast * s, p=0.6 if s else 0),  # exposure and weather
        A.HueSaturationValue(c.hue * s, c.saturation * s, 0, p=0.3 if s else 0),  # white balance and paint
        A.ToGray(p=c.gray * s),  # colour says nothing about the model
        A.GaussianBlur(blur_limit=(3, 5), p=c.blur * s),  # missed focus, small photos that were enlarged
        A.CoarseDropout(  # lamp posts, people and other cars in front
            num_holes_range=(1, 2), hole_height_range=(0.1, 0.3), hole_width_range=(0.1, 0.3), fill="random",
            p=c.erase * s,
        ),
    ]  # fmt: skip
    return [transform for transform in recipe if transform.p > 0]


def _ratios(size: Size, aspect: float) -> tuple[float, float]:
    """Width to height of random crops: as the canvas, a little narrower or wider."""
    own = size[1] / size[0]
    return own * (1 - 0.8 * aspect), own * (1 + aspect)
