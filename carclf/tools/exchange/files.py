"""The photos of an exchange: found where annotations name them, and brought to where they are annotated anew."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from carclf.tools.exchange.guards import safe_below
from carclf.tools.exchange.record import Photo
from detection.common.errors import UsageError
from detection.common.files import bring_file, escape_name
from detection.common.output_folder import lies_in
from detection.common.tally import counted
from detection.images.read import ImageError, image_size

LEFT_OUT = "can't be read and left out"


def broken_notes(*finders: Finder) -> list[str]:
    """A sentence about the photos that can't be read, if there are some."""
    return left_out([name for finder in finders for name in finder.broken])


def left_out(broken: Sequence[str]) -> list[str]:
    """A sentence about photos that can't be read, if there are some."""
    return [f"{counted(len(broken), 'photo')} {LEFT_OUT}, the first is '{broken[0]}'."] if broken else []


@dataclass
class Finder:
    """Finds the photos that a file names. source: the file, for complaints. folders: where they may lie, in this order.

    broken: names of photos that can't be read, which are left out.
    """

    source: Path
    folders: Sequence[Path]
    broken: list[str] = field(default_factory=list)
    _found: dict[str, str] = field(default_factory=dict)

    def photo(self, name: object, size: tuple[int, int] | None = None) -> Photo | None:
        """The photo, without anything said of it; None where its file can't be read. size: as the file states it.

        Raises `UsageError` for a name that leads out of the folder, a photo that is not there, is named twice or has
        another size.
        """
        below = safe_below(name, self.source)
        path = self._path(below)
        if below.casefold() in self._found:
            raise UsageError(f"'{self.source}' lists the photo '{below}' twice: keep one of them.")
        self._found[below.casefold()] = below
        try:
            width, height = image_size(path)
        except ImageError:
            self.broken.append(below)
            return None
        if size not in (None, (height, width)):
            assert size is not None
            raise UsageError(f"'{self.source}' is of a photo '{below}' of {size[1]} x {size[0]} pixels, but that photo "
                             f"has {width} x {height}: export the annotations again.")  # fmt: skip
        return Photo(below, path, (height, width))

    def _path(self, below: str) -> Path:
        # Some tools write the path that the photo had where it was labelled.
        for name in dict.fromkeys((below, PurePosixPath(below).name)):
            for folder in self.folders:
                path = folder / name
                if path.is_file():
                    if not lies_in(path, folder):
                        raise UsageError(f"'{path}' is a link out of its folder: put the photo itself there.")
                    return path
        where = "', '".join(map(str, self.folders))
        raise UsageError(f"The photo '{below}' of '{self.source}' is not in '{where}': pass its folder with --images.")


def photo_folders(root: Path, images: Path | None, *inside: str) -> list[Path]:
    """Where photos may lie: in `images` alone where it is given, else in these folders below root, and in root."""
    if images is not None:
        if not images.is_dir():
            raise UsageError(f"There is no photo folder '{images}': check --images.")
        return [images]
    return [*(root / name for name in inside if (root / name).is_dir()), root]


def free_names(names: Iterable[str], by_stem: bool = False) -> list[str]:
    """The names, valid as text, and unlike each other where case does not count; by_stem: without suffixes, too.

    >>> free_names(["a/x.jpg", "a/X.jpg", "a/x.png"], by_stem=True)
    ['a/x.jpg', 'a/X (2).jpg', 'a/x (3).png']
    """
    taken: set[str] = set()
    free = []
    for name in map(escape_name, names):
        stem, suffix = os.path.splitext(name)
        here, number = stem, 1
        while (here if by_stem else here + suffix).casefold() in taken:
            number += 1
            here = f"{stem} ({number})"
        taken.add((here if by_stem else here + suffix).casefold())
        free.append(here + suffix)
    return free


def bring(photos: Sequence[Photo], names: Sequence[str], folder: Path) -> None:
    """Links or copies each photo to its name below the folder."""
    for photo, name in zip(photos, names, strict=True):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        bring_file(photo.path, target)
