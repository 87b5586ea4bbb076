"""`--only`: which classes a list of names means, and probabilities among them alone."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from carclf.classifier.levels.names import PARTS, ClassName
from detection.common.errors import UsageError
from detection.common.files import user_path

EVERYTHING = "everything"
# What the listed classes must have had together of all probability. Less says that the car is none of them: shared out
# among the listed ones, it would still make a sure answer of one.
LEAST_LISTED = 0.05


def split_only(text: str) -> list[str]:
    """The names in a text with commas, or in a file, one per line.

    A file whose first line has several columns is a csv with the column `class`, `model` or `make`; lines with a # at
    their start are passed over. Raises `UsageError` for a file that can't be read, and where nothing is named.
    """
    path = user_path(text)
    try:
        given = path.is_file()
    except (OSError, ValueError):  # a long list is no path
        given = False
    found = _in_file(path) if given else [part.strip() for part in text.split(",")]
    found = [name for name in found if name]
    if not found:
        raise UsageError(f"--only names nothing{f' in {text!r}' if given else ''}: give classes, models or makes.")
    return found


def _in_file(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"'{path}' can't be read as a list of names: it must be a text file, in UTF-8.") from error
    lines = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    header = next(csv.reader(lines[:1]), [])
    column = next((name for name in ("class", *PARTS[1::-1]) if name in header), None)
    if column is None:
        return lines
    return [row[column].strip() for row in csv.DictReader(lines) if row.get(column)]


def listed_classes(
    wanted: str | Sequence[str] | None, classes: Sequence[str], names: Sequence[ClassName] = ()
) -> np.ndarray | None:
    """Which classes are meant, bool [C]; None for all of them, as `everything` and no list mean.

    wanted: names of any level, upper or lower case, as a list or as `split_only` takes them. Raises `UsageError` for a
    name that does not exist, with the nearest ones.
    """
    if wanted is None:
        return None
    wanted = split_only(wanted) if isinstance(wanted, str) else list(wanted)
    if not wanted:
        raise UsageError("--only names nothing: give classes, models or makes.")
    meant = np.zeros(len(classes), bool)
    known: dict[str, list[int]] = {}
    spelled: dict[str, str] = {}
    for number, name in enumerate(classes):
        parts = (name, names[number].model, names[number].make) if names else (name,)
        for part in dict.fromkeys(part.casefold() for part in parts):
            known.setdefault(part, []).append(number)
        spelled |= {part.casefold(): part for part in parts}
    for name in wanted:
        numbers = known.get(name.casefold())
        if numbers is None and name.casefold() == EVERYTHING:
            return None
        if numbers is None:
            near = [spelled[one] for one in difflib.get_close_matches(name.casefold(), known, 3, 0.5)]
            close = f"the nearest are {', '.join(map(repr, near))}" if near else "`carclf models --classes` lists them"
            levels = "class, model or make" if names else "class"
            raise UsageError(f"--only names '{name}', which is no {levels} of this model: {close}.")
        meant[numbers] = True
    return None if meant.all() else meant


def among(probabilities: np.ndarray, listed: np.ndarray | None) -> np.ndarray:
    """Probabilities of the listed classes alone, float32 [C], which sum to one again; of all others 0.

    probabilities: float [C], calibrated; listed: bool [C], None for all classes, which changes nothing. The temperature
    needs no new fit: tempering the listed classes alone gives the same numbers.
    """
    if listed is None:
        return probabilities
    kept = np.where(listed, np.asarray(probabilities, np.float64), 0.0)
    total = kept.sum()
    if total <= 0:
        kept, total = listed.astype(np.float64), listed.sum()
    return (kept / total).astype(np.float32)


def share_listed(probabilities: np.ndarray, listed: np.ndarray | None) -> float:
    """How much of all probability the listed classes had, 0 to 1."""
    return 1.0 if listed is None else float(np.asarray(probabilities, np.float64)[listed].sum())
