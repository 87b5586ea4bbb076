"""What a garage's classes are called, beside those of its base: its place among makes and models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from carclf.classifier.garage.file import GarageInfo
from carclf.classifier.info import ModelInfo
from carclf.classifier.levels.names import ClassName, fault


def joined_info(base: ModelInfo, garage: GarageInfo) -> ModelInfo:
    """What the base says of itself, with the learnt classes behind its own; its figures no longer hold. Its levels hold
    where all of them have a place among makes and models."""
    classes = (*base.classes, *garage.classes)
    names = (*base.names, *place_names(garage.classes, base.names)) if base.names else ()
    fits = bool(names) and not fault(names, classes)
    changes: dict[str, Any] = {
        "classes": classes,
        "metrics": {},
        "names": names if fits else (),
        "levels": base.levels if fits else None,
    }
    return base.model_copy(update=changes)


def place_names(classes: Sequence[str], known: Sequence[ClassName]) -> tuple[ClassName, ...]:
    """The make and the model of new classes, by the words that their names begin with.

    The make is a known one, else the first word. The model is a known one, else make and next word where several
    classes begin with them, else the class itself.

    >>> base = [ClassName(make="Aston Martin", model="Aston Martin DB9")]
    >>> names = ["Aston Martin DB9 2013", "Saab 9-5 I", "Saab 9-5 II", "Saab 900"]
    >>> [(one.make, one.model) for one in place_names(names, base)]  # doctest: +NORMALIZE_WHITESPACE
    [('Aston Martin', 'Aston Martin DB9'), ('Saab', 'Saab 9-5'), ('Saab', 'Saab 9-5'), ('Saab', 'Saab 900')]
    """
    makes, models = {one.make for one in known}, {one.model: one.make for one in known}
    placed = []
    for name in classes:
        make = _longest(name, makes) or name.split(" ")[0]
        model = _longest(name, models)
        placed.append((name, models[model] if model else make, model, _with_next(name, make)))
    shared = Counter(stem for *_, stem in placed)
    return tuple(
        ClassName(make=make, model=model or (stem if shared[stem] > 1 else name)) for name, make, model, stem in placed
    )


def _longest(name: str, starts) -> str:
    """The longest of these that a name begins with, in whole words; empty for none."""
    return max((one for one in starts if f"{name} ".startswith(f"{one} ")), key=len, default="")


def _with_next(name: str, make: str) -> str:
    return " ".join([make, *name[len(make) :].split()[:1]])
