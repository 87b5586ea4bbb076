"""Which files are photos, and all of them below a folder."""

from __future__ import annotations

import os
from pathlib import Path

from detection.common.errors import UsageError

RAW_SUFFIXES = frozenset([".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw"])
# Camera raw files and JPEG XL can't be decoded here, and heic only with pi-heif, but as inputs they get a row that says
# what to do; as unknown files they would vanish.
IMAGE_SUFFIXES = RAW_SUFFIXES.union(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".avif",
        ".heic",
        ".heif",
        ".jxl",
    ]
)


def find_images(root: str | Path) -> list[Path]:
    """All files below `root` with an image suffix, sorted; hidden files and folders are skipped.

    Links to folders are followed, but not back into a folder that they lie in. Raises `UsageError` when `root` is
    not a folder, or a folder below it can't be read.
    """
    root = Path(root)
    return sorted(root / name for name in image_names(root))


def image_names(root: str | Path) -> list[str]:
    """The same files as `find_images`, as paths below `root` with slashes, sorted: a million of them fit in memory."""
    if not Path(root).is_dir():
        raise UsageError(f"There is no folder '{root}': check the path.")
    found: list[str] = []
    _walk(str(root), "", (), found)
    found.sort()
    return found


def _walk(folder: str, below: str, ancestors: tuple[tuple[int, int], ...], found: list[str]) -> None:
    """Adds the names of the photos in `folder`, which is `below` the root ('' or a path with a slash at its end)."""
    try:
        status = os.stat(folder)
        identity = (status.st_dev, status.st_ino)
        if identity in ancestors:  # a link that leads back up
            return
        with os.scandir(folder) as listing:
            entries = [entry.name for entry in listing if not entry.name.startswith(".")]
    except OSError as error:
        raise UsageError(f"The folder '{folder}' can't be read: {error.strerror}.") from error
    for name in entries:
        path = os.path.join(folder, name)
        if os.path.isdir(path):  # unlike entry.is_dir() it takes a link to itself calmly
            _walk(path, f"{below}{name}/", (*ancestors, identity), found)
        elif os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES:
            found.append(below + name)
