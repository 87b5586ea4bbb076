"""Patches along the edges of cars whose alpha is known: what the network that corrects the guided edge learns from."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from benchmarks.soft_cutouts import SoftCutout
from detection.cutout.cut import soften
from detection.cutout.edge import guided_alpha

SIDE = 96  # pixels of a patch
_PASTED = 0.35  # of patches have another background
_REACH = 9  # pixels from an edge, the mask's or the true one, in which errors count


class Patches:
    """Draws patches. backgrounds: RGB uint8 photos without cars, of any sizes."""

    def __init__(self, rng: np.random.Generator, cutouts: Sequence[SoftCutout], backgrounds: Sequence[np.ndarray]):
        self._rng, self._cutouts, self._backgrounds = rng, cutouts, backgrounds
        self._own = [soften(one.photo, one.alpha >= 128, 0.6, one.alpha)[1] for one in cutouts]

    def draw(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Input float32 5xHxW (see `EdgeNet`), alpha float32 1xHxW, and what an error counts, float32 1xHxW."""
        rng = self._rng
        number = int(rng.integers(len(self._cutouts)))
        one = self._cutouts[number]
        photo = one.photo
        if rng.random() < _PASTED:
            photo = self._pasted(self._own[number], one.alpha)
        edge = np.argwhere(cv2.morphologyEx(one.alpha, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 60)
        y, x = edge[rng.integers(len(edge))] + rng.uniform(-SIDE / 4, SIDE / 4, 2)
        zoom = np.exp(rng.uniform(np.log(0.75), np.log(1.35)))
        across, down = zoom * rng.uniform(0.85, 1.15), zoom * rng.uniform(0.93, 1.07)
        sign = rng.choice((-1, 1))
        tilt = rng.normal(0, 0.05)
        matrix = np.array([[sign * across, tilt * across], [-sign * tilt * down, down]])
        shift = SIDE / 2 - matrix @ (x, y)
        place = np.concatenate([matrix, shift[:, None]], axis=1)
        photo, alpha, mask = (
            cv2.warpAffine(array, place, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for array in (photo, one.alpha, one.mask.astype(np.uint8) * 255)
        )
        photo = self._lit(photo)
        hard = self._shaken(mask)
        radius = int(rng.choice((1, 2, 2, 2, 3)))
        guided = guided_alpha(photo, hard, 1.0, radius)
        near = cv2.morphologyEx(hard.view(np.uint8), cv2.MORPH_GRADIENT, _disc(_REACH))
        near |= cv2.morphologyEx((alpha >= 128).view(np.uint8), cv2.MORPH_GRADIENT, _disc(3))
        weights = near * (0.3 + 1.0 * cv2.GaussianBlur(((alpha > 10) & (alpha < 245)).astype(np.float32), (0, 0), 1.5))
        given = np.concatenate([photo.transpose(2, 0, 1), hard[None] * np.uint8(255), guided[None]]).astype(np.float32)
        return given / 255, alpha[None].astype(np.float32) / 255, weights[None].astype(np.float32)

    def _pasted(self, own: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        rng = self._rng
        height, width = alpha.shape
        if rng.random() < 0.2:
            behind = np.full((height, width, 3), rng.integers(0, 256, 3), np.uint8)
        else:
            whole = self._backgrounds[rng.integers(len(self._backgrounds))]
            scale = max(height / whole.shape[0], width / whole.shape[1]) * rng.uniform(1, 1.6)
            large = cv2.resize(whole, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            large = cv2.copyMakeBorder(large, 0, 2, 0, 2, cv2.BORDER_REPLICATE)
            y, x = (int(rng.integers(0, most + 1)) for most in (large.shape[0] - height, large.shape[1] - width))
            behind = large[y : y + height, x : x + width]
            if rng.random() < 0.3:
                behind = cv2.GaussianBlur(behind, (0, 0), rng.uniform(0.5, 3))
        part = alpha[..., None].astype(np.float32) / 255
        return np.rint(own * part + behind * (1 - part)).astype(np.uint8)

    def _lit(self, photo: np.ndarray) -> np.ndarray:
        rng = self._rng
        image = photo.astype(np.float32)
        if rng.random() < 0.4:  # sharper, or softer
            image += rng.uniform(-0.5, 1.0) * (image - cv2.GaussianBlur(image, (0, 0), 1.0))
        image = 255 * np.clip(image / 255, 0, 1) ** np.exp(rng.normal(0, 0.2))
        image = image * np.exp(rng.normal(0, 0.15)) * np.exp(rng.normal(0, 0.04, 3)) + rng.normal(0, 6)
        image += rng.normal(0, 1, image.shape) * rng.uniform(0, 3)
        image = np.clip(np.rint(image), 0, 255).astype(np.uint8)
        if rng.random() < 0.4:
            code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 96))])[1]
            image = cv2.imdecode(code, cv2.IMREAD_COLOR)
        return image

    def _shaken(self, mask: np.ndarray) -> np.ndarray:
        """The mask as wrong as a detector's on photos that it has not been trained on."""
        rng = self._rng
        noise = rng.normal(0, abs(rng.normal(0, 1.3)), (2, 7, 7)).astype(np.float32)
        dx, dy = (cv2.resize(one, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for one in noise)
        rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
        moved = cv2.remap(mask, columns + dx, rows + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        if rng.random() < 0.5:
            moved = cv2.GaussianBlur(moved, (0, 0), rng.uniform(0.5, 2))
        return moved >= rng.uniform(90, 165)


def _disc(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
