"""Turns records into training examples: crops, copy-paste, mosaics, weather, negatives, colour."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import albumentations as A
import numpy as np
from pycocotools import mask as coco_mask

from detection.common.config import StrictConfig
from detection.masks.records import MaskRecord
from detection.masks.store import OVERSAMPLING, PhotoStore
from detection.training.scenes.pasting import place_cutout
from detection.training.scenes.weather import draw_weather
from detection.training.scenes.windows import draw_window, fit_aspect, warp_mask, warp_matrix, warp_photo
from detection.vehicle import filled_box

# Of a vehicle that others hide: less than this part of it in sight is no vehicle to learn from.
_LEAST_LEFT = 0.3


class SceneSettings(StrictConfig):
    """Shares of the examples and their sizes. The rest of the shares are photos as they were taken."""

    negatives: float = 0.2  # photos without a vehicle
    paste: float = 0.2  # a cut-out car on a photo without a vehicle
    crowd: float = 0.0  # several small ones on such a photo, larger the lower they stand
    mosaic: float = 0.0  # four or nine photos side by side, so that each car is a small part of the example
    neighbour: float = 0.15  # of the photos with vehicles: another one pasted beside the main one
    weather: float = 0.0  # of all but photos with boxes alone: fog, sand, rain, snow or dusk drawn over them
    sizes: tuple[tuple[int, int], ...] = ((256, 352), (288, 384), (320, 416), (320, 480), (320, 320), (352, 288))
    smallest: int = 64  # instances of fewer visible pixels are dropped


class Scene(NamedTuple):
    """One example: RGB uint8 HxWx3, bool NxHxW, and the name of each mask's category as its source has it.

    drawn: bool [N], which masks are real; each of the others stands in for a box.
    """

    image: np.ndarray
    masks: np.ndarray
    categories: tuple[str, ...]
    drawn: np.ndarray


class Thing(NamedTuple):
    """One vehicle of an example: its mask (bool HxW), the name of its category, and whether the mask is a real one."""

    mask: np.ndarray
    category: str
    drawn: bool


class SceneMaker:
    """Makes examples of photos with masks and of those without. All randomness comes from the generator given."""

    def __init__(self, records: Sequence[MaskRecord], settings: SceneSettings):
        self.settings = settings
        self.store = PhotoStore(round(OVERSAMPLING * max(max(size) for size in settings.sizes)))
        self.positives = [record for record in records if record.masks]
        # A photo with unlabelled vehicles is not one without.
        self.empties = [record for record in records if not record.masks and not record.incomplete]
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
        image, things = self._way(rng)(size, rng)
        # A photo with boxes alone is of a collection of bad weather, or of anything: drawing over it may hide all.
        drawn = all(thing.drawn for thing in things)
        if self.settings.weather and drawn and rng.random() < self.settings.weather:
            image = draw_weather(image, rng)
        self._colour.set_random_seed(int(rng.integers(2**31)))
        return Scene(
            self._colour(image=image)["image"],
            np.stack([thing.mask for thing in things]) if things else np.zeros((0, *size), bool),
            tuple(thing.category for thing in things),
            np.array([thing.drawn for thing in things], bool),
        )

    def _way(self, rng):
        """How the next example is made."""
        settings, pastes = self.settings, bool(self.empties and self.cutouts)
        ways = (
            (settings.negatives if self.empties else 0, self._negative),
            (settings.paste if pastes else 0, self._pasted),
            (settings.crowd if pastes else 0, self._crowd),
            (settings.mosaic, self._mosaic),
        )
        draw = rng.random()
        for share, way in ways:
            if draw < share:
                return way
            draw -= share
        return self._photo

    def _photo(self, size, rng):
        record = self.positives[rng.choice(len(self.positives), p=self._positive_shares)]
        image, masks = self.store.get(record)
        window = draw_window(masks, image.shape[:2], size, rng, record.incomplete)
        matrix = warp_matrix(window, size, rng)
        warped = warp_photo(image, matrix, size, rng)
        scale = abs(np.linalg.det(matrix[:, :2]))
        things = []
        for mask, category, drawn in zip(masks, _categories(record), _drawn(record), strict=True):
            part = warp_mask(mask, matrix, size)
            visible = part.sum()
            # A sliver of a car at the frame's edge is no car to anybody.
            if visible >= self.settings.smallest and visible >= 0.12 * mask.sum() * scale:
                things.append(Thing(part, category, drawn))
        if things and self.cutouts and not record.incomplete and rng.random() < self.settings.neighbour:
            warped, things = self._with_neighbour(warped, things, rng)
        return warped, things

    def _negative(self, size, rng):
        record = self.empties[rng.choice(len(self.empties), p=self._empty_shares)]
        image, _ = self.store.get(record)
        height, width = image.shape[:2]
        zoom = rng.uniform(0.45, 1.0)
        w, h = fit_aspect(width * zoom, height * zoom, size, rng)
        x = rng.uniform(min(0, width - w), max(0, width - w))
        y = rng.uniform(min(0, height - h), max(0, height - h))
        return warp_photo(image, warp_matrix((x, y, x + w, y + h), size, rng), size, rng), []

    def _pasted(self, size, rng):
        image, _ = self._negative(size, rng)
        height, width = size
        length = width * np.exp(rng.uniform(np.log(0.25), np.log(1.15)))
        # The car's centre stays in the frame; its ends may leave it.
        centre = rng.uniform(0.2, 0.8) * width, rng.uniform(0.3, 0.8) * height
        patch, category = self._patch(image, length, centre, rng)
        visible = patch.mask
        if visible.sum() < self.settings.smallest:
            return image, []
        return patch.onto(image), [Thing(visible, category, True)]

    def _crowd(self, size, rng):
        """Far and near cars on one road, the near ones before the far ones."""
        image, _ = self._negative(size, rng)
        height, width = size
        horizon, largest = rng.uniform(0.2, 0.5) * height, rng.uniform(0.25, 0.6) * width
        things: list[Thing] = []
        for near in sorted(rng.uniform(0.12, 1.0, rng.integers(1, 7)) ** 1.5):
            length = max(0.05 * width, near * largest)
            bottom = horizon + (0.1 + 0.85 * near) * (height - horizon)
            place = rng.uniform(0.05, 0.95) * width, None
            patch, category = self._patch(image, length, place, rng, bottom=bottom)
            things, hidden = _hide(things, patch.mask)
            if hidden or patch.mask.sum() < self.settings.smallest:
                continue
            image = patch.onto(image)
            things.append(Thing(patch.mask, category, True))
        return image, things

    def _mosaic(self, size, rng):
        image, things = np.zeros((*size, 3), np.uint8), []
        pieces = 2 if rng.random() < 0.6 else 3
        cuts = [_cuts(side, pieces, rng) for side in size]
        for top, bottom in pairwise(cuts[0]):
            for left, right in pairwise(cuts[1]):
                negative = self.empties and rng.random() < self.settings.negatives
                way = self._negative if negative else self._photo
                place = slice(top, bottom), slice(left, right)
                image[place], found = way((bottom - top, right - left), rng)
                for thing in found:
                    mask = np.zeros(size, bool)
                    mask[place] = thing.mask
                    things.append(thing._replace(mask=mask))
        return image, things

    def _with_neighbour(self, image, things, rng):
        """Another car beside the largest one, overlapping it: the two must be told apart where they touch."""
        height, width = image.shape[:2]
        x1, y1, x2, y2 = filled_box(max((thing.mask for thing in things), key=np.count_nonzero))
        length = (x2 - x1) * rng.uniform(0.5, 1.1)
        side = -1 if rng.random() < 0.5 else 1
        x = (x1 + x2) / 2 + side * rng.uniform(0.35, 0.75) * (x2 - x1 + length) / 2
        bottom = y2 - rng.uniform(-0.05, 0.35) * (y2 - y1)
        patch, category = self._patch(image, length, (x, None), rng, bottom=bottom)
        # What stands in for a box is no outline to stand behind.
        if rng.random() >= 0.3 and all(thing.drawn for thing in things):
            patch = patch.behind(np.any([thing.mask for thing in things], axis=0))
        kept, hidden = _hide(things, patch.mask)
        # A car of which a sliver is left would still be labelled: rather leave the photo as it was.
        if hidden or patch.mask.sum() < max(self.settings.smallest, 0.01 * height * width):
            return image, things
        return patch.onto(image), [*kept, Thing(patch.mask, category, True)]

    def _patch(self, image, length, centre, rng, bottom=None):
        """Another photo's vehicle at its place in this one, and its category."""
        record = self.cutouts[rng.choice(len(self.cutouts), p=self._cutout_shares)]
        car, (mask,) = self.store.get(record)
        return place_cutout(car, mask, length, centre, image, rng, bottom=bottom), _categories(record)[0]


def _hide(things: Sequence[Thing], mask: np.ndarray) -> tuple[list[Thing], bool]:
    """The vehicles behind what a mask covers, and whether too little is left of any."""
    kept = [thing._replace(mask=thing.mask & ~mask) for thing in things]
    hidden = any(left.mask.sum() <= _LEAST_LEFT * thing.mask.sum() for left, thing in zip(kept, things, strict=True))
    return (list(things) if hidden else kept), hidden


def _cuts(side: int, pieces: int, rng) -> list[int]:
    """Where a side is cut into about equal pieces, both ends included."""
    inner = [round(side * (index + rng.uniform(-0.15, 0.15)) / pieces) for index in range(1, pieces)]
    return [0, *inner, side]


def _shares(records: Sequence[MaskRecord]) -> np.ndarray:
    weights = np.array([record.weight for record in records], np.float64)
    return weights / weights.sum() if len(weights) else weights


def _categories(record: MaskRecord) -> tuple[str, ...]:
    return record.categories or ("car",) * len(record.masks)


def _drawn(record: MaskRecord) -> tuple[bool, ...]:
    return record.drawn or (True,) * len(record.masks)


def _is_cutout(record: MaskRecord) -> bool:
    """Whether the photo shows one vehicle, whole: one that its frame cuts off has an edge that is none."""
    if record.incomplete or len(record.masks) != 1 or not all(record.drawn):
        return False
    height, width = record.size
    x, y, w, h = coco_mask.toBbox(record.masks[0])
    return bool(x >= 1 and y >= 1 and x + w <= width - 1 and y + h <= height - 1 and w * h > 0)
