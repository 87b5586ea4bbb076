"""Turns records into training examples: crops, copy-paste, negatives, colour. One warp a photo."""

from __future__ import annotations

from collections.abc import Sequence

import albumentations as A
import cv2
import numpy as np

from detection.config import StrictConfig
from detection.masks_data import Record
from detection.vehicle import mask_box


class SceneSettings(StrictConfig):
    """Shares of the examples and their sizes. The rest of the shares are photos as they were taken."""

    negatives: float = 0.2  # photos without a vehicle
    paste: float = 0.22  # a cut-out car on a photo without a vehicle
    sizes: tuple[tuple[int, int], ...] = ((224, 320), (256, 352), (288, 384), (320, 416), (320, 320), (352, 288))
    smallest: int = 64  # instances of fewer visible pixels are dropped


class SceneMaker:
    """Makes examples of (image RGB uint8 HxWx3, masks bool NxHxW). All randomness comes from the generator given."""

    def __init__(self, records: Sequence[Record], settings: SceneSettings):
        self.settings = settings
        self.positives = [record for record in records if record.masks]
        self.empties = [record for record in records if not record.masks]
        self._positive_shares = _shares(self.positives)
        self._empty_shares = _shares(self.empties)
        clean = [record for record in self.positives if not record.incomplete and len(record.masks) == 1]
        self.cutouts = clean
        self._cutout_shares = _shares(clean)
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

    def make(self, size: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """One example of (height, width) `size`."""
        draw = rng.random()
        if self.empties and draw < self.settings.negatives:
            image, masks = self._negative(size, rng), np.zeros((0, *size), bool)
        elif self.empties and self.cutouts and draw < self.settings.negatives + self.settings.paste:
            image, masks = self._pasted(size, rng)
        else:
            image, masks = self._photo(size, rng)
        self._colour.set_random_seed(int(rng.integers(2**31)))
        return self._colour(image=image)["image"], masks

    def _photo(self, size, rng):
        record = self.positives[rng.choice(len(self.positives), p=self._positive_shares)]
        image, masks = _cached(record)
        window = _window(masks, image.shape[:2], size, rng, record.incomplete)
        matrix = _warp_matrix(window, size, rng)
        warped = _warp(image, matrix, size, rng)
        areas = [mask.sum() for mask in masks]
        scale = abs(np.linalg.det(matrix[:, :2]))
        kept = []
        for mask, area in zip(masks, areas, strict=True):
            part = _warp_mask(mask, matrix, size)
            visible = part.sum()
            # A sliver of a car at the frame's edge is no car to anybody.
            if visible >= self.settings.smallest and visible >= 0.12 * area * scale:
                kept.append(part)
        return warped, np.stack(kept) if kept else np.zeros((0, *size), bool)

    def _negative(self, size, rng):
        record = self.empties[rng.choice(len(self.empties), p=self._empty_shares)]
        image, _ = _cached(record)
        height, width = image.shape[:2]
        zoom = rng.uniform(0.45, 1.0)
        w, h = _fit_aspect(width * zoom, height * zoom, size, rng)
        x = rng.uniform(min(0, width - w), max(0, width - w))
        y = rng.uniform(min(0, height - h), max(0, height - h))
        return _warp(image, _warp_matrix((x, y, x + w, y + h), size, rng), size, rng)

    def _pasted(self, size, rng):
        image = self._negative(size, rng)
        record = self.cutouts[rng.choice(len(self.cutouts), p=self._cutout_shares)]
        car, (mask,) = _cached(record)
        x1, y1, x2, y2 = mask_box(mask)
        height, width = size
        length = width * np.exp(rng.uniform(np.log(0.25), np.log(1.15)))
        scale = min(length / (x2 - x1), 1.2 * height / (y2 - y1))
        # The car's centre stays in the frame; its ends may leave it.
        cx, cy = rng.uniform(0.2, 0.8) * width, rng.uniform(0.3, 0.8) * height
        flip = -1.0 if rng.random() < 0.5 else 1.0
        squeeze = rng.uniform(0.9, 1.1)
        matrix = np.array([[flip * scale * squeeze, 0, 0], [0, scale, 0]], np.float64)
        matrix[:, 2] = np.array([cx, cy]) - matrix[:, :2] @ [(x1 + x2) / 2, (y1 + y2) / 2]
        shown = cv2.warpAffine(car, matrix, (width, height), flags=cv2.INTER_AREA if scale < 0.6 else cv2.INTER_LINEAR)
        soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), rng.uniform(0.4, 1.2) / min(scale, 1))
        alpha = cv2.warpAffine(soft, matrix, (width, height), flags=cv2.INTER_LINEAR)[..., None]
        # Light differs between two photos: meet half-way, so that the seam alone does not give the car away.
        gain = rng.uniform(0.0, 0.6) * (image.mean() - car[mask].mean())
        shown = np.clip(shown.astype(np.float32) + gain, 0, 255)
        blended = np.clip(image * (1 - alpha) + shown * alpha, 0, 255).astype(np.uint8)
        visible = alpha[..., 0] > 0.5
        if visible.sum() < self.settings.smallest:
            return image, np.zeros((0, *size), bool)
        return blended, visible[None]


def _shares(records: Sequence[Record]) -> np.ndarray:
    weights = np.array([record.weight for record in records], np.float64)
    return weights / weights.sum() if len(weights) else weights


_DECODED: dict[str, tuple[np.ndarray, tuple[np.ndarray, ...]]] = {}


def _cached(record: Record) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Decoded photo and masks, kept: all the training photos are some 600 MB."""
    if record.path not in _DECODED:
        _DECODED[record.path] = record.image(), tuple(record.decoded_masks())
    return _DECODED[record.path]


def preload(records: Sequence[Record]) -> None:
    """Decodes all photos before loader workers are forked, which then share them."""
    for record in records:
        _cached(record)


def _fit_aspect(width: float, height: float, size: tuple[int, int], rng) -> tuple[float, float]:
    """Grows one side of a window so that it has the proportions of `size`, up to a small squeeze."""
    aspect = size[1] / size[0] * np.exp(rng.uniform(-0.16, 0.16))
    return (height * aspect, height) if width < height * aspect else (width, width / aspect)


def _window(masks, shape: tuple[int, int], size: tuple[int, int], rng, zoomed: bool) -> tuple[float, ...]:
    """The part of the photo to show (x1, y1, x2, y2; may reach over the frame), with at least one car in it."""
    height, width = shape
    areas = np.array([mask.sum() for mask in masks], np.float64)
    focus = masks[int(rng.choice(len(masks), p=areas / areas.sum()))]
    x1, y1, x2, y2 = mask_box(focus)
    mode = rng.random()
    if not zoomed and mode < 0.35:
        w, h = _fit_aspect(width * rng.uniform(0.9, 1.1), height * rng.uniform(0.9, 1.1), size, rng)
        cx, cy = width / 2 + rng.uniform(-0.08, 0.08) * width, height / 2 + rng.uniform(-0.08, 0.08) * height
        return cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2
    if mode < 0.6:
        # As tight as the Stanford crops, sometimes cutting a little off.
        grow = rng.uniform(-0.06, 0.12, 4) * [x2 - x1, y2 - y1, x2 - x1, y2 - y1]
        x1, y1, x2, y2 = x1 - grow[0], y1 - grow[1], x2 + grow[2], y2 + grow[3]
        w, h = _fit_aspect(x2 - x1, y2 - y1, size, rng)
    else:
        share = np.exp(rng.uniform(np.log(0.3), np.log(1.1)))
        w, h = _fit_aspect((x2 - x1) / share, (y2 - y1) / min(1.1, share * 1.4), size, rng)
    if zoomed:
        w, h = min(w, 5 * (x2 - x1)), min(h, 5 * (y2 - y1))
        w, h = _fit_aspect(w, h, size, rng)
    # Beyond the photo there is only filling: a third of it is enough.
    shrink = min(1.0, 1.33 * max(width / w, height / h))
    w, h = w * shrink, h * shrink
    cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
    slack_x, slack_y = max(0.0, (w - (x2 - x1)) / 2), max(0.0, (h - (y2 - y1)) / 2)
    cx += rng.uniform(-1, 1) * (slack_x + 0.1 * (x2 - x1)) * 0.9
    cy += rng.uniform(-1, 1) * (slack_y + 0.06 * (y2 - y1)) * 0.9
    left, top = cx - w / 2, cy - h / 2
    # Where the photo is large enough, show photo rather than filling.
    left = min(max(left, 0), width - w) if w <= width else left
    top = min(max(top, 0), height - h) if h <= height else top
    return left, top, left + w, top + h


def _warp_matrix(window, size: tuple[int, int], rng) -> np.ndarray:
    """2x3 matrix from photo to example: the window to the frame, half the time mirrored, sometimes turned a little."""
    x1, y1, x2, y2 = window
    height, width = size
    sx, sy = width / (x2 - x1), height / (y2 - y1)
    matrix = np.array([[sx, 0, -x1 * sx], [0, sy, -y1 * sy], [0, 0, 1]], np.float64)
    if rng.random() < 0.5:
        matrix = np.array([[-1, 0, width], [0, 1, 0], [0, 0, 1]], np.float64) @ matrix
    if rng.random() < 0.3:
        turn = np.eye(3)
        turn[:2] = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-7, 7), 1.0)
        matrix = turn @ matrix
    return matrix[:2]


def _warp(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], rng) -> np.ndarray:
    height, width = size
    fill = (127, 127, 127) if rng.random() < 0.5 else tuple(int(value) for value in rng.integers(0, 256, 3))
    border = cv2.BORDER_REPLICATE if rng.random() < 0.25 else cv2.BORDER_CONSTANT
    scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if scale < 0.7:
        # warpAffine samples four pixels only: shrink first, or thin lines turn into noise.
        shrunk = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        fx, fy = shrunk.shape[1] / image.shape[1], shrunk.shape[0] / image.shape[0]
        matrix = matrix @ np.diag([1 / fx, 1 / fy, 1.0])
        image = shrunk
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=border, borderValue=fill)


def _warp_mask(mask: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    height, width = size
    soft = cv2.warpAffine(mask.astype(np.uint8) * 255, matrix, (width, height), flags=cv2.INTER_LINEAR)
    return soft > 127
