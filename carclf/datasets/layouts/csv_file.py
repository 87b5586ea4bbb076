"""Lists in csv files as spreadsheets and other systems write them."""

from __future__ import annotations

import csv
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from detection.common.files.names import ON_WINDOWS, windows_path
from detection.common.places.virtual.tables import as_csv
from detection.images.find import IMAGE_SUFFIXES

FILE_COLUMNS = ("file", "path", "url", "image", "filename", "img_file", "Id")
# The folders beside a list where its photos may lie; in the last one are the competition's photos without a label.
PHOTO_FOLDERS, UPLOADS = ("images", "photos", "car_ims", "train"), "test_upload"
_DELIMITERS = ",;\t|"
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
# Where an id has no suffix, the usual ones are tried in this order.
_USUAL = (".jpg", ".jpeg", ".png", ".webp", ".JPG", ".JPEG", ".PNG")


def read_csv_text(path: Path, known: Collection[str], errors: str = "strict") -> tuple[str, str]:
    """The text of a csv, and what its columns are separated by: a comma, a semicolon, a tab or a bar.

    UTF-8 or UTF-16; of a parquet table as it would be as a csv. known: names of columns; the separator is the one that
    yields most of them in the header. errors: what becomes of bytes that are not UTF-8, as for `bytes.decode`.
    Raises OSError and UnicodeDecodeError.
    """
    if path.suffix.lower() == ".parquet":
        return as_csv(path), ","
    data = path.read_bytes()
    encoding = next((name for mark, name in _BOMS if data.startswith(mark)), None)
    if encoding is None:  # UTF-16 without a mark: every other byte of a header is 0
        encoding = {(False, True): "utf-16-le", (True, False): "utf-16-be"}.get(
            (data[:1] == b"\0", data[1:2] == b"\0"), "utf-8"
        )
    text = data.decode(encoding, errors if encoding.startswith("utf-8") else "strict")
    first, _, rest = text.partition("\n")
    if first.strip().lower().startswith("sep=") and len(first.strip()) == 5:  # a note of Excel to itself
        return rest, first.strip()[4]
    names = {name.casefold() for name in known}

    def columns(delimiter: str) -> int:
        header = next(csv.reader([first], delimiter=delimiter), [])
        return sum(name.strip().casefold() in names for name in header)

    return text, max(_DELIMITERS, key=columns)  # the comma where none is known


def canonical(header: Sequence[str], known: Collection[str]) -> list[str]:
    """The header with known columns as they are spelled in `known`, where no other column has that very name.

    >>> canonical(["FILE", " Class", "Size"], ["file", "class"])
    ['file', 'class', 'Size']
    """
    spelled = {name.casefold(): name for name in reversed(list(known))}
    taken, names = set(header), []
    for name in header:
        wanted = name if name in known else spelled.get(name.strip().casefold(), name)
        names.append(name if wanted != name and wanted in taken else wanted)
        taken.add(names[-1])
    return names


def spellings(name: str) -> Iterator[str]:
    """What a list may mean by a name, in the order to try: the name, with slashes for backslashes, with a suffix.

    >>> list(spellings("a\\\\b.jpg"))
    ['a\\\\b.jpg', 'a/b.jpg']
    """
    both = [name] if "\\" not in name else [name, name.replace("\\", "/")]
    if ON_WINDOWS and (unpacked := windows_path(name)) != name:  # as `unpack` calls a photo of another system there
        both.append(unpacked)
    yield from both
    if os.path.splitext(name)[1].lower() not in IMAGE_SUFFIXES:
        yield from (f"{one}{suffix}" for one in both for suffix in _USUAL)
