"""Files of lines that are found again by their place, and names that are kept as numbers."""

from __future__ import annotations

import hashlib
import os

_PART = 4096


def line_at(file: int, place: int) -> bytes:
    """The line that begins at a place of an open file, with its end; empty where it has none."""
    line = b""
    while b"\n" not in line:
        part = os.pread(file, _PART, place + len(line))
        if not part:
            break
        line += part
    return line[: line.find(b"\n") + 1]


def name_number(name: str) -> int:
    """64 bits of a name; two names may share them, so the line that is found has the last word."""
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")
