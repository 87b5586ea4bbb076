"""Which photos a command line means: files, folders, patterns, lists, and paths from standard input."""

from __future__ import annotations

import codecs
import csv
import glob
import locale
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from io import BufferedIOBase, StringIO
from itertools import chain
from pathlib import Path

from carclf.datasets.layouts.csv_file import (
    FILE_COLUMNS,
    PHOTO_FOLDERS,
    UPLOADS,
    canonical,
    read_csv_text,
    spellings,
)
from carclf.datasets.names import names as named
from detection.common.errors import UsageError
from detection.common.files import expand_home, read_name
from detection.common.files.names import common_folder
from detection.common.places.address import scheme_of
from detection.common.places.paths import folder_of
from detection.common.places.place import Place
from detection.images.find import IMAGE_SUFFIXES, FoundImages, holds_image, image_names, is_clutter, survey_images

STDIN = "-"
_READ_AT_ONCE = 1 << 16


@dataclass(frozen=True, slots=True)
class Source:
    """A photo that is to be named. below: its path below the folder that was given, with slashes; else its name."""

    path: str
    below: str


@dataclass(frozen=True)
class _Part:
    """Photos of one argument. folder: what their names are relative to, None for files that were given themselves.
    searched: all photos in the folder are meant. found: what else was seen in it. place: the folder, if it is one."""

    folder: str | None
    names: Iterable[str]
    searched: bool = False
    found: FoundImages | None = None
    place: Place | None = None

    def __iter__(self) -> Iterator[Source]:
        for name in self.names:
            if self.folder is None:
                yield Source(name, os.path.basename(name))
            elif self.place is not None:  # a list names photos that lie elsewhere
                yield Source(str(self.place / name), name)
            else:
                yield Source(name if self.folder == "." else os.path.join(self.folder, name), name.replace(os.sep, "/"))


class Sources:
    """The photos in the order given, one after the other: of a million only their names are kept.

    `total` is their number, None while it is not known: paths from standard input are taken as they come, and can be
    gone through once, unless `keep` has read them all.
    """

    def __init__(self, parts: Sequence[_Part]):
        self._parts = list(parts)

    def __iter__(self) -> Iterator[Source]:
        for part in self._parts:
            yield from part

    @property
    def total(self) -> int | None:
        known = [len(part.names) for part in self._parts if isinstance(part.names, Sequence)]
        return sum(known) if len(known) == len(self._parts) else None

    @property
    def folders(self) -> list[str]:
        """The folders whose photos are all meant."""
        return [part.folder for part in self._parts if part.searched and part.folder is not None]

    @property
    def root(self) -> str:
        """The absolute path of the folder that all photos lie below: the one that was given, or the deepest one."""
        if len(self._parts) == 1 and self._parts[0].folder is not None:
            root = os.path.abspath(self._parts[0].folder)
            if all(os.path.abspath(source.path).startswith(os.path.join(root, "")) for source in self):
                return root
        root = ""
        for source in self:
            folder = os.path.dirname(os.path.abspath(source.path))
            root = common_folder([root, folder]) if root else folder
        return root

    @property
    def notes(self) -> list[str]:
        """What is to be told of the folders: files that were passed over, folders in them that can't be read."""
        return [note for part in self._parts if part.found is not None for note in part.found.notes]

    @property
    def missed(self) -> int:
        """How many folders could not be read."""
        return sum(part.found.missed for part in self._parts if part.found is not None)

    def keep(self) -> Sources:
        """The same with all names read, so that they can be gone through again."""
        parts = [part if isinstance(part.names, Sequence) else replace(part, names=list(part.names))
                 for part in self._parts]  # fmt: skip
        return Sources(parts)


def find_sources(arguments: Sequence[str], stdin: BufferedIOBase | None = None) -> Sources:
    """Photos by file, folder (searched, sorted), pattern (`**` too), .csv list, or `-` for paths from `stdin`.

    A photo that is named twice comes twice. A missing file among others stays, and becomes a row; of a pattern each
    photo that it matches, or that lies in a folder which it matches, comes once. Raises `UsageError` when nothing of
    what is given exists, when a folder or pattern gives no photo, and for a list that can't be read.
    """
    arguments = [expand_home(argument) for argument in arguments]
    if arguments.count(STDIN) > 1:
        raise UsageError("Standard input can be read only once: give - only once.")
    arguments, places = zip(*map(_place_or_path, arguments), strict=True)
    there = [one for one, place in zip(arguments, places, strict=True) if one == STDIN or _is_there(one, place)]
    if not there and not any(map(_is_pattern, arguments)):
        others = f" (nor do the other {len(arguments) - 1})" if len(arguments) > 1 else ""
        raise UsageError(f"The file or folder '{arguments[0]}' does not exist{others}: check the path.")
    parts: list[_Part] = []
    files: list[str] = []
    for argument, place in zip(arguments, places, strict=True):
        if place is not None and place.is_dir():
            part = _in_folder(place)
        elif argument == STDIN:
            paths = _paths(stdin)
            part = _Part(None, chain([next(paths)], paths))  # an empty one is told before the model is loaded
        elif os.path.isdir(argument):
            part = _in_folder(argument)
        elif place is None and not os.path.lexists(argument) and _is_pattern(argument):
            part = _by_pattern(argument)
        elif argument.lower().endswith(".csv"):
            part = _by_list(Path(argument))
        else:
            if not files:  # thousands of files of a shell's pattern are one part
                parts.append(_Part(None, files))
            files.append(argument)
            continue
        files = []
        parts.append(part)
    return Sources(parts)


def _place_or_path(argument: str) -> tuple[str, Place | None]:
    """The argument as it may be shown, and the place that it means. A csv that lies here may list photos anywhere."""
    if argument == STDIN or (argument.lower().endswith(".csv") and not scheme_of(argument)):
        return argument, None
    place = folder_of(argument)
    return (argument, None) if place is None else (str(place), place)


def _is_there(argument: str, place: Place | None) -> bool:
    return os.path.lexists(argument) if place is None else place.exists()


def _in_folder(folder: str | Place) -> _Part:
    found = survey_images(folder)
    if not found.names:
        also = "".join(f" {note}" for note in found.notes)
        raise UsageError(f"The folder '{folder}' holds no photo (.jpg, .png, .webp, ...): check the path.{also}")
    if isinstance(folder, Place):
        return _Part(str(folder), found.names, searched=True, found=found, place=folder)
    return _Part(str(Path(folder)), found.names, searched=True, found=found)


def _is_pattern(argument: str) -> bool:
    return glob.has_magic(argument)


def _by_pattern(pattern: str) -> _Part:
    """Its part without wildcards is the folder."""
    parts = Path(pattern).parts
    fixed = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    folder = str(Path(*parts[:fixed])) if fixed else "."
    found: set[str] = set()
    for match in glob.iglob(os.path.join(*parts[fixed:]), root_dir=folder, recursive=True):
        path = os.path.join(folder, match)
        if os.path.isdir(path):
            found.update(os.path.normpath(os.path.join(match, name)) for name in image_names(path))
        elif any(map(is_clutter, Path(match).parts)):
            continue
        elif os.path.splitext(match)[1].lower() in IMAGE_SUFFIXES or holds_image(path):
            found.add(match)
    if not found:
        raise UsageError(f"The pattern '{pattern}' matches no photo (.jpg, .png, .webp, ...): check it.")
    return _Part(folder, sorted(found))


def _by_list(path: Path) -> _Part:
    """The photos that a csv names, relative to its folder, or to one beside it where photos use to lie."""
    try:
        text, delimiter = read_csv_text(path, FILE_COLUMNS, "surrogateescape")
        with StringIO(text, newline="") as file:
            rows = csv.reader(file, delimiter=delimiter)
            header = canonical(next(rows, []), FILE_COLUMNS)
            column = next((header.index(name) for name in FILE_COLUMNS if name in header), None)
            if column is None:
                raise UsageError(
                    f"'{path}' must have a column {', '.join(FILE_COLUMNS[:-1])} or {FILE_COLUMNS[-1]}; "
                    f"it has {named(header) or 'none'}."
                )
            listed = []
            for row in filter(None, rows):
                if len(row) <= column or not row[column]:
                    raise UsageError(f"'{path}' names no photo in line {rows.line_num}: each line needs one.")
                listed.append(expand_home(read_name(row[column])))
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"'{path}' can't be read as a csv: {reason}.") from error
    if not listed:
        raise UsageError(f"'{path}' lists no photos.")
    folder = str(path.parent)
    beside = [name for name in (*PHOTO_FOLDERS, UPLOADS) if (path.parent / name).is_dir()]
    return _Part(folder, [_place(folder, name, beside) for name in listed])


def _place(folder: str, name: str, beside: Sequence[str]) -> str:
    """The name, or in the folder beside the list that has it; of a name that is nowhere, the first spelling."""
    places = (os.path.join(other, one) for one in spellings(name) for other in ("", *beside))
    return next((place for place in places if os.path.exists(os.path.join(folder, place))), name)


def _paths(stdin: BufferedIOBase | None) -> Iterator[str]:
    """Paths as they come, one per line; or each ended by NUL, where the first one is."""
    rest, end = b"", b""
    anything = False
    while stdin is not None and (more := stdin.read1(_READ_AT_ONCE)):
        rest += more
        if not anything:  # a mark that PowerShell writes
            rest = rest.removeprefix(codecs.BOM_UTF8)
        if not end and (b"\0" in rest or b"\n" in rest):
            end = b"\0" if b"\0" in rest else b"\n"
        if end:
            *whole, rest = rest.split(end)
            for path in filter(None, (_path(one, end) for one in whole)):
                anything = True
                yield path
    last = _path(rest, end)
    if last:
        yield last
    elif not anything:
        raise UsageError("Standard input named no photos: it must hold one path per line, or paths that end with NUL.")


def _path(line: bytes, end: bytes) -> str:
    line = line if end == b"\0" else line.rstrip(b"\r\n")
    try:
        return os.fsdecode(line)
    except UnicodeDecodeError:  # Windows alone minds; its programs may write in the older encoding of the country
        return line.decode(locale.getpreferredencoding(False), "replace")
