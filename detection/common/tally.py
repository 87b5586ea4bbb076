"""What became of the photos of a run, counted by status."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

SOME_FAILED = 3  # the exit code of a run that did its work, but could not do some of its photos


def counted(number: int, one: str, many: str | None = None) -> str:
    """
    >>> counted(1, "class has", "classes have"), counted(2, "photo")
    ('1 class has', '2 photos')
    """
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def exit_code(failed: object) -> int:
    """0, or 3 when something failed (a number, or whether)."""
    return SOME_FAILED if failed else 0


@dataclass(frozen=True)
class StatusCounts:
    """counts: how many by status. statuses: those that are told, in this order. failed: those that are failures; a
    photo without a car is an answer, and none of them.
    """

    counts: Mapping[str, int]
    statuses: Sequence[str]
    failed: Collection[str] = ()

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def failures(self) -> int:
        return sum(self.counts.get(status, 0) for status in self.failed)

    @property
    def exit_code(self) -> int:
        """0, or 3 when some failed."""
        return exit_code(self.failures)

    def __str__(self) -> str:
        """
        >>> str(StatusCounts({"unreadable": 1, "ok": 10, "error": 0}, ("ok", "unreadable", "error")))
        '10 ok, 1 unreadable'
        """
        return ", ".join(f"{self.counts[status]} {status}" for status in self.statuses if self.counts.get(status))
