"""Photos on their way through the chain, and the batches that they travel in."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from carclf.recognition.photo import photo_name, read_photo
from carclf.recognition.prediction import OK, UNREADABLE
from detection.common.errors import UsageError, brief
from detection.common.files import file_stamp
from detection.common.places.paths import path_of
from detection.cutout.extract import shrink_crop
from detection.images.read import ImageError

if TYPE_CHECKING:
    from carclf.classifier.colour.reader import Colour
    from carclf.recognition.photo import Photo
    from carclf.recognition.prediction import Status
    from detection.publishing.hiding.cover import HideStyle
    from detection.publishing.hiding.private import Private
    from detection.vehicle import Vehicle


BATCH_PIXELS = 24_000_000  # a batch is closed early at this size, so memory does not grow with the photos
# The classifier looks at a few hundred pixels per side: what a larger crop holds beyond this is lost on it anyway, but
# one of 60 megapixels would keep 180 MB while it waits for its batch.
CROP_PIXELS = 8_000_000


@dataclass
class Item:
    """One photo, or one vehicle of it, and how far it has come.

    given: what was handed in, until it is read. name: how it is called in the result. source: its name in a file of
    detections. photo: RGB uint8, `size` its (height, width), `brightness` its mean, 0 to 1; cutout: RGB uint8; both
    None once they are not needed or the item has failed. kind: of the vehicle, None where none was found. colour: of
    its paint, None where it was not looked at. rank: of the
    vehicle in its photo, None where there is but one row per photo. others: how many other vehicles were found in the
    photo. embed: whether a vector of the cut-out is wanted, float32 [F]. hide: what is to be hidden in pictures of the
    photo; private: what was found of it, `photo` has it hidden then; shown: the cut-out with it hidden (RGB uint8).
    """

    given: Photo | None
    name: str
    source: str = ""
    photo: np.ndarray | None = None
    size: tuple[int, int] = (0, 0)
    brightness: float | None = None
    cutout: np.ndarray | None = None
    vehicle: Vehicle | None = None
    status: Status = OK
    reason: str = ""
    box: tuple[float, float, float, float] | None = None
    kind: str | None = None
    colour: Colour | None = None
    rank: int | None = None
    others: int | None = None
    probabilities: np.ndarray | None = None
    vector: np.ndarray | None = None
    pictures: bool = False
    embed: bool = False
    hide: HideStyle | None = None
    private: Private | None = None
    shown: np.ndarray | None = None
    stamp: tuple[int, int] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, photo: Photo, source: str = "") -> Item:
        name = photo_name(photo)
        return cls(photo, name, source or name)

    def read(self) -> Item:
        """Loads the photo, in whichever thread. Raises `UsageError` for what is no photo."""
        given: Any = self.given  # perhaps no photo at all
        self.given = None
        try:
            if isinstance(given, (str, os.PathLike)):
                self.stamp = file_stamp(path_of(given))
            self.photo = self._load(given)
            self.size = self.photo.shape[:2]
            self.brightness = float(self.photo[::4, ::4].mean() / 255)
        except ImageError as error:
            self.fail(UNREADABLE, str(error))
        except UsageError:
            raise
        except Exception as error:
            self.fail(UNREADABLE, brief(error))
        return self

    def _load(self, given: Photo) -> np.ndarray:
        return read_photo(given)

    def sibling(self, rank: int) -> Item:
        """Another vehicle of the same photo."""
        return replace(self, rank=rank)

    def cut(self, cutout: np.ndarray, vehicle: Vehicle | None) -> None:
        """Takes the cut-out; photo and mask stay only where pictures are wanted."""
        self.cutout = cutout
        if self.pictures:
            self.vehicle = vehicle
        else:
            self.photo = self.shown = None

    def answer(self, probabilities: np.ndarray, vector: np.ndarray | None = None) -> None:
        self.probabilities, self.vector = probabilities, vector
        if not self.pictures:
            self.cutout = None

    def fail(self, status: Status, reason: str) -> None:
        self.status, self.reason, self.cutout, self.shown = status, reason, None, None
        if not self.pictures:
            self.photo = None

    @property
    def cost(self) -> int:
        """Pixels of the photo, for reading ahead."""
        return self.size[0] * self.size[1]

    @property
    def pixels(self) -> int:
        """What it keeps in memory, in pixels of three bytes."""
        mask = 0 if self.vehicle is None else self.vehicle.mask.size // 3
        pictures = (self.photo, self.cutout, self.shown)
        return mask + sum(one.shape[0] * one.shape[1] for one in pictures if one is not None)

    @property
    def alive(self) -> bool:
        return self.status == OK


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Closes a batch at `size` items that are still alive, at `BATCH_PIXELS`, or when failed ones pile up."""
    batch, alive, pixels = [], 0, 0
    for item in items:
        batch.append(item)
        alive += item.alive
        pixels += item.pixels
        if alive >= size or pixels >= BATCH_PIXELS or len(batch) >= 8 * size:
            yield batch
            batch, alive, pixels = [], 0, 0
    if batch:
        yield batch


def limited(crop: np.ndarray) -> np.ndarray:
    """A crop of at most `CROP_PIXELS`."""
    height, width = crop.shape[:2]
    if height * width <= CROP_PIXELS:
        return crop
    return shrink_crop(crop, round(max(height, width) * (CROP_PIXELS / (height * width)) ** 0.5))


def opaque(crop: np.ndarray) -> np.ndarray:
    """RGB of a cut-out; what is transparent becomes white, as when its PNG is loaded for training."""
    if crop.shape[2] == 3:
        return crop
    alpha = crop[..., 3:].astype(np.float32) / 255
    return np.round(crop[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
