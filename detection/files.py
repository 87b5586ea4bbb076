"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

TEMP_PREFIX = ".carclf-"
_temp_numbers = itertools.count()


def replace_file(path: Path, data: bytes | memoryview) -> None:
    """Writes a file by way of a temp file in the same folder and a rename, so that it is never half there."""
    # Not named after the file: a name at the file system's limit would not take a longer one.
    temp = path.with_name(f"{TEMP_PREFIX}{os.getpid()}-{next(_temp_numbers)}.tmp")
    try:
        with open(temp, "wb") as file:
            file.write(data)
        os.replace(temp, path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise
