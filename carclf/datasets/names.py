"""Names of classes and files: as folders, in sentences, and made safe."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from detection.common.files.names import name_fault
from detection.common.places.paths import path_of
from detection.common.places.place import Place

SPLITS = ("train", "val", "test")
_SPLIT_WORDS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


def split_named(word: str) -> str | None:
    """train, val or test for the words that data sets use; None for another word.

    >>> split_named("Validation"), split_named("BMW")
    ('val', None)
    """
    return _SPLIT_WORDS.get(word.strip().lower())


def names(values: Iterable) -> str:
    """The first three.

    >>> names("abcde")
    'a, b, c and 2 more'
    """
    values = [str(value) for value in values]
    return ", ".join(values[:3]) + (f" and {len(values) - 3} more" if len(values) > 3 else "")


# What one of the usual file systems does not take, or what a shell trips over.
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')
_MOST_BYTES = 120


def safe_name(name: str) -> str:
    """A folder's name for a class: the same where it is safe, else changed as little as possible.

    No separators, no dot at the beginning (hidden folders are passed over), none at the end, at most 120 bytes.

    >>> safe_name("Ram C/V Cargo Van Minivan 2012"), safe_name(".."), safe_name("aux")
    ('Ram C-V Cargo Van Minivan 2012', '_', '_aux')
    """
    safe = _FORBIDDEN.sub("-", name).strip().rstrip(". ")
    if not safe or safe.startswith(".") or name_fault(safe):
        safe = f"_{safe}"
    if len(safe.encode()) > _MOST_BYTES:
        mark = hashlib.sha256(name.encode()).hexdigest()[:8]
        safe = safe.encode()[: _MOST_BYTES - 9].decode("utf-8", "ignore").rstrip() + f"-{mark}"
    return safe


def safe_names(names: Iterable[str]) -> dict[str, str]:
    """A folder's name for each class, all different even where case does not count.

    >>> safe_names(["A/B", "A-B", "a-b"])
    {'A-B': 'A-B', 'A/B': 'A-B (2)', 'a-b': 'a-b (3)'}
    """
    chosen: dict[str, str] = {}
    taken: set[str] = set()
    for name in sorted(set(names)):
        base = safe = safe_name(name)
        number = 2
        while safe.casefold() in taken:
            safe, number = f"{base} ({number})", number + 1
        taken.add(safe.casefold())
        chosen[name] = safe
    return chosen


def name_below(root: Path, file: str | Path) -> str:
    """A photo's path below its root, with slashes; the whole path of one that a list names elsewhere."""
    path = path_of(file)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def names_below(root: Path, files: Sequence[str]) -> list[str]:
    """The same of several; those of a place that names others are called as that place does."""
    names = [name_below(root, file) for file in files]
    if isinstance(root, Place) and any(name == str(file) for name, file in zip(names, files, strict=True)):
        known = {str(root / key): key for key in root.store.names()}
        names = [known.get(name, name) for name in names]
    return names


def file_below(root: Path, name: str) -> str:
    """The path of a photo by what `name_below` calls it."""
    path = path_of(name)
    return str(path if isinstance(path, Place) or path.is_absolute() else root / name)
