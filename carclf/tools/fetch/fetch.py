"""The whole of a fetch: download, unpack, look, and a folder that is there only when all of it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from carclf.datasets.layouts.archive import Unpackable, unpack_to
from carclf.datasets.table import read_table
from carclf.tools.fetch.folder import PlaceFolder
from carclf.tools.fetch.kaggle import SCHEME, KaggleFiles
from carclf.tools.fetch.part import Part
from carclf.tools.fetch.place import place_source
from carclf.tools.fetch.source import Source
from carclf.tools.fetch.web import WebFile
from detection.common.console import say
from detection.common.errors import UsageError
from detection.common.files import TEMP_PREFIX, check_written, write_json, written_by
from detection.common.files.locks import Lock, NoLocks
from detection.common.places.address import scheme_of, without_secrets

RECORD = f"{TEMP_PREFIX}fetched.json"  # hidden: no photo, and no file that was passed over
FORMAT = 1


@dataclass(frozen=True)
class Fetched:
    """photos, classes: how many are known to `carclf train`; trouble: why none are, or empty. missed: files that were
    left out, as their names are none."""

    folder: Path
    photos: int
    classes: int
    trouble: str
    missed: int = 0

    def __str__(self) -> str:
        if self.trouble:
            return f"{self.folder}: fetched, but not ready to train on. {self.trouble}"
        return (
            f"{self.folder}: {self.photos:,} labelled photos of {self.classes:,} classes, ready for "
            f"`carclf train CONFIG data={self.folder}`"
        )


def source_of(text: str) -> Source | PlaceFolder:
    """What `text` names. Another kind of address gets its branch here. Raises `UsageError`."""
    if text.startswith(SCHEME):
        return KaggleFiles(text.removeprefix(SCHEME))
    if text.lower().startswith(("http://", "https://")):
        return WebFile(text)
    if scheme_of(text):
        return place_source(text)
    raise UsageError(
        f"'{without_secrets(text).partition('?')[0]}' can't be fetched: give kaggle:COMPETITION, kaggle:OWNER/DATASET, "
        "the https://, s3://, gs://, az:// or sftp:// address of a zip or tar file, or that of a folder of photos."
    )


def fetch(text: str, folder: Path, most: int) -> Fetched:
    """Makes `folder` of the archive or the folder that `text` names, by a part beside it that further calls resume.

    folder: absent, empty, or the result of the same call before, which then is left as it is. most: bytes that may be
    downloaded. Raises `UsageError`.
    """
    source = source_of(text)
    folder = folder.absolute()
    if not _is_there(folder, source):
        work = folder.with_name(f"{TEMP_PREFIX}{folder.name}.fetch")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with _alone(work):
                if not _is_there(folder, source):  # another process had the lock, and has made it
                    work.mkdir(exist_ok=True)
                    _make(source, folder, work, most)
                    shutil.rmtree(work, ignore_errors=True)
        except OSError as error:
            raise UsageError(f"'{folder}' can't be made: {error.strerror or error}.") from error
    return replace(_look(folder), missed=source.missed if isinstance(source, PlaceFolder) else 0)


def _make(source: Source | PlaceFolder, folder: Path, work: Path, most: int) -> None:
    say(f"fetching {source.name}")
    record = written_by(FORMAT) | {"source": source.name, "key": source.key}
    if isinstance(source, PlaceFolder):
        content = source.copy(work, most)
        write_json(content / RECORD, record)
        with suppress(FileNotFoundError):
            folder.rmdir()  # it is empty
        content.replace(folder)
        return
    archive = work / f"{folder.name}.archive"
    Part(archive, source, most).fetch()
    with suppress(FileNotFoundError):
        folder.rmdir()  # it is empty
    try:
        unpack_to(archive, folder, lambda content: write_json(content / RECORD, record))
    except Unpackable:
        raise
    except UsageError:  # not to be trusted, or damaged: another try needs another file
        shutil.rmtree(work, ignore_errors=True)
        raise


def _is_there(folder: Path, source: Source | PlaceFolder) -> bool:
    """Whether it was fetched before. Raises `UsageError` for a folder that holds anything else."""
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise UsageError(f"'{folder}' is a file: name a folder.")
    known: dict = {}
    with suppress(OSError, ValueError):
        known = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    if not known:
        if next(folder.iterdir(), None) is not None:
            raise UsageError(f"'{folder}' holds other files: name a new folder, or an empty one.")
        return False
    check_written(folder / RECORD, known, FORMAT)
    if (known.get("source"), known.get("key")) != (source.name, source.key):
        raise UsageError(f"'{folder}' was fetched from another address ({known.get('source')}): name another folder.")
    say(f"'{folder}' was fetched before; remove it to fetch it again")
    return True


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    lock = Lock.beside(work)
    try:
        if not lock.take():
            raise UsageError(f"Another process fetches into '{work.parent}': wait until it has ended.")
    except NoLocks:
        pass
    try:
        yield
    finally:
        lock.release()


def _look(folder: Path) -> Fetched:
    try:
        table = read_table(folder)
    except UsageError as error:
        return Fetched(folder, 0, 0, str(error))
    return Fetched(folder, len(table), table["label"].nunique(), "")
