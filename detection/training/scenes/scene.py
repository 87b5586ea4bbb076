"""Turns records into training examples: crops, copy-paste, negatives, colour. One warp per photo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import albumentations as A
import numpy as np
from pycocotools import mask as coco_mask

from detection.common.config import StrictConfig
from detection.masks.records import MaskRecord
from detection.masks.store import OVERSAMPLING, PhotoStore
from detection.training.scenes.pasting import place_cutout
from detection.training.scenes.windows import draw_window, fit_aspect, warp_mask, warp_matrix, warp_photo
from detection.vehicle import filled_box


class SceneSettings(StrictConfig):
    """Shares of the examples and their sizes. The rest of the shares are photos as they were taken."""

    negatives: float = 0.2  # photos without a vehicle
    paste: float = 0.2  # a cut-out car on a photo without a vehicle
    neighbour: float = 0.15  # of the photos with vehicles: another one pasted beside the main one
    sizes: tuple[tuple[int, int], ...] = ((256, 352), (288, 384), (320, 416), (320, 480), (320, 320), (352, 288))
    smallest: int = 64  # instances of fewer visible pixels are dropped


class Scene(NamedTuple):
    """One example: RGB uint8 HxWx3, bool NxHxW, and the name of each mask's category as its source has it."""

    image: np.ndarray
    masks: np.ndarray
    categories: tuple[str, ...]


class SceneMaker:
    """Makes examples of photos with masks and of those without. All randomness comes from the generator given."""

    def __init__(self, records: Sequence[MaskRecord], settings: SceneSettings):
        self.settings = settings
        self.store = PhotoStore(round(OVERSAMPLING * max(max(size) for size in settings.sizes)))
        self.positives = [record for record in records if record.masks]
        self.empties = [record for record in records if not record.masks]
        self._positive_shares = _shares(self.positives)
        self._empty_shares = _shares(self.empties)
        self.cutouts = [record for record in self.positives if _is_cutout(record)]
        self._cutout_shares = _shares(self.cutouts)
        self._colour = A.Compose(
            [
                A.RandomBrightnessContrast(brightness_limit=0.3, contrast_limit=0.3, p=0.6),
                A.HueSaturationValue(hue_shift_limit=12, sat_shift_limit=40, val_shift_limit=15, p=0.5),
                A.RandomGamma(gamma_limit=(70, 140), p=0.2),
                A.OneOf([A.GaussianBlur(blur_limit=(3, 5)), A.MotionBlur(blur_limit=5)], p=0.1),
                A.GaussNoise(std_range=(0.01, 0.05), p=0.1),
                A.ImageCompression(quality_range=(35, 90), p=0.25),
                A.ToGray(p=0.05),
            ]
        )

    def make(self, size: tuple[int, int], rng: np.random.Generator) -> Scene:
        """One example of (height, width) `size`."""
        draw = rng.random()
        if self.empties and draw < self.settings.negatives:
            image, masks, categories = self._negative(size, rng), np.zeros((0, *size), bool), ()
        elif self.empties and self.cutouts and draw < self.settings.negatives + self.settings.paste:
            image, masks, categories = self._pasted(size, rng)
        else:
            image, masks, categories = self._photo(size, rng)
        self._colour.set_random_seed(int(rng.integers(2**31)))
        return Scene(self._colour(image=image)["image"], masks, categories)

    def _photo(self, size, rng):
        record = self.positives[rng.choice(len(self.positives), p=self._positive_shares)]
        image, masks = self.store.get(record)
        window = draw_window(masks, image.shape[:2], size, rng, record.incomplete)
        matrix = warp_matrix(window, size, rng)
        warped = warp_photo(image, matrix, size, rng)
        areas = [mask.sum() for mask in masks]
        scale = abs(np.linalg.det(matrix[:, :2]))
        kept, categories = [], []
        for mask, area, category in zip(masks, areas, _categories(record), strict=True):
            part = warp_mask(mask, matrix, size)
            visible = part.sum()
            # A sliver of a car at the frame's edge is no car to anybody.
            if visible >= self.settings.smallest and visible >= 0.12 * area * scale:
                kept.append(part)
                categories.append(category)
        if kept and self.cutouts and not record.incomplete and rng.random() < self.settings.neighbour:
            warped, kept, categories = self._with_neighbour(warped, kept, categories, rng)
        return warped, np.stack(kept) if kept else np.zeros((0, *size), bool), tuple(categories)

    def _negative(self, size, rng):
        record = self.empties[rng.choice(len(self.empties), p=self._empty_shares)]
        image, _ = self.store.get(record)
        height, width = image.shape[:2]
        zoom = rng.uniform(0.45, 1.0)
        w, h = fit_aspect(width * zoom, height * zoom, size, rng)
        x = rng.uniform(min(0, width - w), max(0, width - w))
        y = rng.uniform(min(0, height - h), max(0, height - h))
        return warp_photo(image, warp_matrix((x, y, x + w, y + h), size, rng), size, rng)

    def _pasted(self, size, rng):
        image = self._negative(size, rng)
        height, width = size
        length = width * np.exp(rng.uniform(np.log(0.25), np.log(1.15)))
        # The car's centre stays in the frame; its ends may leave it.
        centre = rng.uniform(0.2, 0.8) * width, rng.uniform(0.3, 0.8) * height
        record = self.cutouts[rng.choice(len(self.cutouts), p=self._cutout_shares)]
        patch = place_cutout(*self._cutout(record), length, centre, image, rng)
        visible = patch.mask
        if visible.sum() < self.settings.smallest:
            return image, np.zeros((0, *size), bool), ()
        return patch.onto(image), visible[None], _categories(record)

    def _with_neighbour(self, image, masks, categories, rng):
        """Another car beside the largest one, overlapping it: the two must be told apart where they touch."""
        height, width = image.shape[:2]
        x1, y1, x2, y2 = filled_box(max(masks, key=np.count_nonzero))
        length = (x2 - x1) * rng.uniform(0.5, 1.1)
        side = -1 if rng.random() < 0.5 else 1
        x = (x1 + x2) / 2 + side * rng.uniform(0.35, 0.75) * (x2 - x1 + length) / 2
        bottom = y2 - rng.uniform(-0.05, 0.35) * (y2 - y1)
        record = self.cutouts[rng.choice(len(self.cutouts), p=self._cutout_shares)]
        patch = place_cutout(*self._cutout(record), length, (x, None), image, rng, bottom=bottom)
        if rng.random() >= 0.3:
            patch = patch.behind(np.any(masks, axis=0))
        new = patch.mask
        kept = [mask & ~new for mask in masks]
        hidden = any(left.sum() <= 0.3 * mask.sum() for left, mask in zip(kept, masks, strict=True))
        # A car of which a sliver is left would still be labelled: rather leave the photo as it was.
        if hidden or new.sum() < max(self.settings.smallest, 0.01 * height * width):
            return image, masks, categories
        return patch.onto(image), [*kept, new], [*categories, *_categories(record)]

    def _cutout(self, record: MaskRecord) -> tuple[np.ndarray, np.ndarray]:
        image, (mask,) = self.store.get(record)
        return image, mask


def _shares(records: Sequence[MaskRecord]) -> np.ndarray:
    weights = np.array([record.weight for record in records], np.float64)
    return weights / weights.sum() if len(weights) else weights


def _categories(record: MaskRecord) -> tuple[str, ...]:
    return record.categories or ("car",) * len(record.masks)


def _is_cutout(record: MaskRecord) -> bool:
    """Whether the photo shows one vehicle, whole: one that its frame cuts off has an edge that is none."""
    if record.incomplete or len(record.masks) != 1:
        return False
    height, width = record.size
    x, y, w, h = coco_mask.toBbox(record.masks[0])
    return bool(x >= 1 and y >= 1 and x + w <= width - 1 and y + h <= height - 1 and w * h > 0)
