"""Reading a folder's photos ahead of the detector, in threads, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detection.common.errors import UsageError
from detection.common.files import file_stamp
from detection.common.places.faults import PlaceError
from detection.common.places.place import Place
from detection.common.stream import PIXELS_AHEAD
from detection.cutout.extract import detector_view
from detection.images.read import ImageError, load_image

# Batches that are filled at a time: photos of this many batches may be looked through for some of a like shape.
WINDOW = 4
# A photo that is being written while it is read is read again this many times.
_TRIES = 3


@dataclass(slots=True)
class Photo:
    """One photo on its way: `image` RGB uint8 HxWx3, `small` what the detector sees, both None if unreadable.

    `stamp` is the file's size and mtime before it was read; `view` the (height, width) of `small`, None without it.
    `status` and `reason` say why there is no image. `cost` is how many pixels it takes up in memory.
    """

    source: str
    stamp: tuple[int, int] | None
    image: np.ndarray | None = None
    small: np.ndarray | None = None
    view: tuple[int, int] | None = None
    status: str = ""
    reason: str = ""
    cost: int = 0

    def drop(self) -> None:
        """Frees the pixels."""
        self.image = self.small = None


def read_photo(root: Path, source: str, shrunk: bool = True) -> Photo:
    """Reads one photo below `root`; what can't be read has a reason. Without `shrunk` there is no `small`.

    Raises `UsageError` when the whole folder is gone.
    """
    path = root / source
    for _ in range(_TRIES):
        photo = Photo(source, file_stamp(path))
        fault: BaseException | None = None
        try:
            photo.image = load_image(path)
            if shrunk:
                photo.small = detector_view(photo.image)
                photo.view = photo.small.shape[:2]
            photo.cost = photo.image.shape[0] * photo.image.shape[1]
        except ImageError as error:
            photo.status, photo.reason = "unreadable", str(error)
            fault = error.__cause__
        except Exception as error:  # one odd photo costs one row, never the run
            photo.drop()
            photo.status, photo.reason = "error", one_line(error)
        if file_stamp(path) == photo.stamp:
            if photo.status and _vanished(root, fault):
                raise UsageError(f"The folder '{root}' has vanished: the same command resumes when it is there again.")
            return photo
    return Photo(source, photo.stamp, status="error", reason=f"'{path.name}' changed while it was read.")


def _vanished(root: Path, fault: BaseException | None) -> bool:
    if isinstance(root, Place):  # asking costs a request
        return isinstance(fault, PlaceError) and not root.store.there()
    return not root.is_dir()


def like_batches(
    photos: Iterable[Photo], batch_size: int, shape: Callable[[np.ndarray], Hashable]
) -> Iterator[list[Photo]]:
    """Batches of `batch_size` photos that are equal by `shape(small)`, from a window of some batches.

    When the window is full, the batch that the oldest photo waits in goes as it is. Photos that could not be read come
    by themselves. Which photos share a batch depends on their sizes and order alone.
    """
    waiting: dict[Hashable, list[Photo]] = {}  # in order of each list's oldest photo
    held = pixels = 0

    def take(key: Hashable) -> list[Photo]:
        nonlocal held, pixels
        batch = waiting.pop(key)
        held -= len(batch)
        pixels -= sum(photo.cost for photo in batch)
        return batch

    for photo in photos:
        if photo.image is None:
            yield [photo]
            continue
        key = None if photo.small is None else shape(photo.small)
        waiting.setdefault(key, []).append(photo)
        held += 1
        pixels += photo.cost
        if len(waiting[key]) == batch_size:
            yield take(key)
        while held >= WINDOW * batch_size or pixels >= PIXELS_AHEAD:
            yield take(next(iter(waiting)))
    while waiting:
        yield take(next(iter(waiting)))


def one_line(error: BaseException) -> str:
    """An unexpected error on one line, without its traceback."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
