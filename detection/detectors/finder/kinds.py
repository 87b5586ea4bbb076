"""Which kinds of vehicle count: cars by default, where a detector knows others, too."""

from __future__ import annotations

from collections.abc import Sequence

from detection.common.errors import UsageError

CAR, ALL = "car", "all"  # what counts by default, and the word for every kind


def split_kinds(kinds: Sequence[str] | str | None) -> tuple[str, ...] | None:
    """`car,truck` as typed on a command line, too; sorted, each once. Raises `UsageError` for an empty name."""
    if kinds is None:
        return None
    names = [kind.strip() for kind in (kinds.split(",") if isinstance(kinds, str) else kinds)]
    if not all(names):
        raise UsageError("A kind of vehicle is empty: write car,truck.")
    return tuple(sorted(set(names)))


def wanted_kinds(kinds: Sequence[str] | None, name: str, known: Sequence[str]) -> tuple[str, ...]:
    """The kinds of vehicle that count, () for all that the detector `name` knows; None stands for cars.

    A detector that knows no cars, or can't say what it knows, is taken with all its kinds. known: () if it can't say.
    Raises `UsageError` for a kind that it does not know.
    """
    if kinds is None:
        return (CAR,) if CAR in known and set(known) != {CAR} else ()
    if tuple(kinds) == (ALL,):
        return ()
    check_kinds(kinds, name, known)
    return tuple(kinds)


def check_kinds(only: Sequence[str], name: str, known: Sequence[str]) -> None:
    """Raises `UsageError` for a kind of vehicle that the detector `name` does not know. known: () if it can't say."""
    unknown = [kind for kind in only if known and kind not in known]
    if unknown:
        raise UsageError(
            f"The detector '{name}' knows no '{unknown[0]}': its kinds are {', '.join(sorted(set(known)))}."
        )
