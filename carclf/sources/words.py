"""How messages speak of several things, and the names of the three parts of a data set."""

from __future__ import annotations

from collections.abc import Iterable

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


def count(number: int, one: str, many: str) -> str:
    """
    >>> count(1, "class has", "classes have")
    '1 class has'
    """
    return f"{number} {one if number == 1 else many}"
