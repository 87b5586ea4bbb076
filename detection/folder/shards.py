"""A part of a folder's photos, so that several machines can share the work."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from pathlib import Path

from detection.common.errors import UsageError

_FILE = re.compile(r"journal-(\d+)-of-(\d+)\.jsonl")
# More would be a typing error, and a run of none of the photos.
_MOST = 100_000


@dataclass(frozen=True, order=True)
class Shard:
    """Part `index` (from 1) of `count`. A photo's part follows from its name alone: photos may come and go."""

    count: int = 1
    index: int = 1

    @property
    def whole(self) -> bool:
        return self.count == 1

    def holds(self, source: str) -> bool:
        """Whether a photo (its path below IN, with slashes) belongs to this part."""
        if self.whole:
            return True
        return zlib.crc32(source.encode("utf-8", "surrogateescape")) % self.count == self.index - 1

    def file(self, name: str) -> str:
        """The name of this part's own file.

        >>> Shard(4, 2).file("manifest.csv"), Shard().file("manifest.csv")
        ('manifest-2-of-4.csv', 'manifest.csv')
        """
        if self.whole:
            return name
        stem, dot, suffix = name.rpartition(".")
        return f"{stem}-{self.index}-of-{self.count}{dot}{suffix}"

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def parse_shard(text: str) -> Shard:
    """`2/4` as a `Shard`; raises `UsageError` for anything else.

    >>> parse_shard("2/4")
    Shard(count=4, index=2)
    """
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.strip())
    if not match or not 1 <= int(match[1]) <= int(match[2]) <= _MOST:
        raise UsageError(f"'{text}' is not a shard: write i/n, 1/4 to 4/4 for four machines.")
    return Shard(int(match[2]), int(match[1]))


def shards_in(output: Path) -> list[Shard]:
    """The shards that have written into a folder, in order."""
    found = (_FILE.fullmatch(path.name) for path in output.glob("journal-*-of-*.jsonl"))
    return sorted(Shard(int(match[2]), int(match[1])) for match in found if match)
