"""Reading a folder's photos ahead of the detector, in threads, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from detection.images import ImageError, load_image, shrink
from detection.manifest import file_stamp
from detection.plan import Plan

# Detectors look at some hundred pixels a side. Beyond this a photo would only cost time and memory: at 60 megapixels
# every vehicle's mask is 60 MB. The chosen mask is enlarged, and the cut is made in the photo itself.
DETECT_SIDE = 1600
# Photos held in memory at a time: as many as make 128 megapixels (400 MB), at least one a reader.
_PIXELS_AHEAD = 128_000_000


@dataclass(slots=True)
class Photo:
    """One photo on its way: `image` RGB uint8 HxWx3, `small` what the detector sees, both None if unreadable.

    `stamp` is the file's size and mtime before it was read, `reason` why it could not be.
    """

    source: str
    stamp: tuple[int, int] | None
    image: np.ndarray | None = None
    small: np.ndarray | None = None
    reason: str = ""


def read_ahead(
    plan: Plan, todo: Sequence[str], readers: ThreadPoolExecutor, batch_size: int, workers: int
) -> Iterator[Photo]:
    """Photos in the order of `todo`; as many are read ahead as fit the memory if all are as large as the largest."""
    waiting: deque[Future[Photo]] = deque()
    sources, largest = iter(todo), 1
    limit = workers
    while True:
        while len(waiting) < limit and (source := next(sources, None)) is not None:
            waiting.append(readers.submit(_read, plan, source))
        if not waiting:
            return
        photo = waiting.popleft().result()
        if photo.image is not None:
            largest = max(largest, photo.image.shape[0] * photo.image.shape[1])
        limit = max(workers, min(batch_size + workers, _PIXELS_AHEAD // largest))
        yield photo


def photo_batches(photos: Iterator[Photo], batch_size: int) -> Iterator[list[Photo]]:
    """Groups of `batch_size` photos, fewer when they are large."""
    batch: list[Photo] = []
    pixels = 0
    for photo in photos:
        batch.append(photo)
        pixels += 0 if photo.image is None else photo.image.shape[0] * photo.image.shape[1]
        if len(batch) == batch_size or pixels >= _PIXELS_AHEAD:
            yield batch
            batch, pixels = [], 0
    if batch:
        yield batch


def _read(plan: Plan, source: str) -> Photo:
    photo = Photo(source, file_stamp(plan.source / source))
    try:
        photo.image = load_image(plan.source / source)
        photo.small = shrink(photo.image, DETECT_SIDE)
    except ImageError as error:
        photo.reason = str(error)
    return photo
