"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from pathlib import Path

TEMP_PREFIX = ".carclf-"
_temp_numbers = itertools.count()


def replace_file(path: Path, data: bytes | memoryview) -> None:
    """Writes a file by way of a temp file in the same folder and a rename, so that it is never half there."""
    replace_chunks(path, (data,))


def replace_chunks(path: Path, chunks: Iterable[bytes | memoryview]) -> None:
    """The same for a file that is too large to be made in memory."""
    # Not named after the file: a name at the file system's limit would not take a longer one.
    temp = path.with_name(f"{TEMP_PREFIX}{os.getpid()}-{next(_temp_numbers)}.tmp")
    try:
        with open(temp, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
        os.replace(temp, path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise


def same_content(path: Path, chunks: Iterable[bytes]) -> bool:
    """Whether the file is there and holds just these bytes."""
    try:
        with open(path, "rb") as file:
            return all(file.read(len(chunk)) == chunk for chunk in chunks) and not file.read(1)
    except FileNotFoundError:
        return False
