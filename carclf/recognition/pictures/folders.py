"""The pictures that a run writes of its photos: cut-outs and overlays, in folders of their own, here or in places."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from carclf.recognition.inputs import Source, Sources
from carclf.recognition.pictures.overlay import Overlay
from carclf.recognition.prediction import OK, UNKNOWN, UNREADABLE, Recognition
from detection.common.errors import UsageError
from detection.common.files import replace_file
from detection.common.output_folder import OutputFolder, check_apart, lies_in
from detection.common.places.faults import PlaceError
from detection.common.places.paths import path_of, rooted
from detection.common.places.place import Place
from detection.common.places.store import usage
from detection.images.write import save_image

MARKER = ".carclf-pictures"  # only a folder with this file in it is ever written over
_SUFFIX = ".jpg"


class Pictures:
    """Writes each photo's cut-outs and its overlay to its place: the photos' tree is mirrored below both folders.

    cutouts, overlays: folders, or None for none; threads write to one in a place. every_vehicle: `name-1.jpg` is the
    cut-out of the main vehicle of `name.png`, and so on; else it is `name.jpg`. Raises `UsageError` for folders that
    hold other files, that overlap the photos or each other, and for photos whose pictures would be one file.
    """

    def __init__(
        self, sources: Sources, cutouts: Path | None = None, overlays: Path | None = None, every_vehicle: bool = False
    ):
        self._root = sources.root
        cutouts, overlays = (rooted(one) if isinstance(one, Place) else one for one in (cutouts, overlays))
        self._cutouts, self._overlays, self._ranked = cutouts, overlays, every_vehicle
        self._overlay: Overlay | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._sending: list[Future[None]] = []
        folders = [folder for folder in (cutouts, overlays) if folder is not None]
        if len(folders) == 2:
            overlap = f"'{cutouts}' and '{overlays}' overlap: give each of them its own folder."
            check_apart(*folders, same=overlap, inside=overlap, around=overlap)
        for folder in folders:
            _check_apart(sources, folder)
        self._check_distinct(sources)
        for folder in folders:
            _own(folder)

    def close(self) -> None:
        """What is not sent by now is not waited for."""
        if self._pool is not None:
            for folder in (self._cutouts, self._overlays):
                if isinstance(folder, Place):
                    folder.store.abandon()
            self._pool.shutdown(cancel_futures=True)

    def there(self, source: Source, rows: Sequence[dict]) -> bool:
        """Whether all pictures of a photo with these rows have been written."""
        files = []
        if self._cutouts is not None:
            named = [row for row in rows if row["status"] in (OK, UNKNOWN)]
            files += [self._cutout(self._cutouts, source, row.get("vehicle")) for row in named]
        if self._overlays is not None and rows[0]["status"] != UNREADABLE:
            files.append(self._place(self._overlays, source))
        return all(_is_written(file) for file in files)

    def take(self, source: Source, seen: Recognition) -> None:
        """One vehicle of the photo that is worked on, or all that is known of it. Raises `UsageError`."""
        if self._cutouts is not None and seen.cutout is not None:
            self._write(self._cutout(self._cutouts, source, seen.prediction.vehicle), seen.cutout)
        if self._overlays and seen.photo is not None:
            self._overlay = self._overlay or Overlay(seen.photo)
            self._overlay.add(seen.prediction, seen.vehicle)

    def finish(self, source: Source) -> list[Future[None]]:
        """Nothing more of this photo comes. Returns what is still being sent of it, which raises `UsageError` where it
        can't be."""
        overlay, self._overlay = self._overlay, None
        if overlay is not None and self._overlays is not None:
            self._write(self._place(self._overlays, source), overlay.finish())
        sending, self._sending = self._sending, []
        return sending

    def _cutout(self, folder: Path, source: Source, rank: int | None) -> Path:
        return self._place(folder, source, "" if rank is None else f"-{rank}")

    def _place(self, folder: Path, source: Source, ending: str = "") -> Path:
        return folder / f"{self._stem(source)}{ending}{_SUFFIX}"

    def _stem(self, source: Source) -> str:
        return os.path.splitext(os.path.relpath(os.path.abspath(source.path), self._root))[0]

    def _write(self, path: Path, picture) -> None:
        if isinstance(path, Place):
            self._pool = self._pool or ThreadPoolExecutor(path.store.threads, thread_name_prefix="carclf-send")
            self._sending.append(self._pool.submit(_save, path, picture))
        else:
            _save(path, picture)

    def _check_distinct(self, sources: Sources) -> None:
        """Of a million photos only numbers are kept."""
        owners: dict[int, int] = {}
        for source in sources:
            stem, path = self._stem(source), os.path.abspath(source.path)
            if owners.setdefault(hash(stem), hash(path)) != hash(path):
                other = next(one for one in sources if hash(self._stem(one)) == hash(stem))
                raise UsageError(
                    f"The pictures of '{other.path}' and '{source.path}' would both be '{stem}{_SUFFIX}': "
                    "rename one, or run them separately."
                )


def _save(path: Path, picture) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_image(path, picture)
    except OSError as error:
        raise UsageError(
            f"The picture '{path}' can't be written ({error.strerror or error}): make room or choose another "
            "folder; with --output, the same command then resumes from here."
        ) from error


def _is_written(path: Path) -> bool:
    return path.store.known(path.key) is not None if isinstance(path, Place) else path.is_file()


def _check_apart(sources: Sources, folder: Path) -> None:
    for searched in sources.folders:
        if lies_in(folder, path_of(searched)):
            raise UsageError(f"'{folder}' lies inside '{searched}', whose photos are read: choose another folder.")
    checked = None
    for source in sources:
        home = path_of(source.path).parent
        if home != checked and lies_in(home, folder):
            raise UsageError(f"The photo '{source.path}' lies inside '{folder}': choose another folder for pictures.")
        checked = home


def _own(folder: Path) -> None:
    """Makes the folder, or checks that it is one of an earlier run."""
    if isinstance(folder, Place):
        folder.store.check_writable()
        try:
            folder.store.remember(folder.store.walk().entries if folder.is_dir() else ())
        except PlaceError as error:
            raise usage(f"The folder '{folder}' can't be read", error) from error
    output = OutputFolder(folder, MARKER)
    note = "Made by `carclf predict`, which writes over the pictures in this folder.\n"
    output.check(
        f"'{folder}' holds other files: choose a new or empty folder for pictures.",
        file=f"The folder '{folder}' can't be written: File exists.",
    )
    output.make(lambda: replace_file(folder / MARKER, note.encode()))
