"""The parts of a class's name, and what makes a tree of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from detection.common.config import StrictConfig
from detection.common.errors import UsageError
from detection.common.tally import counted

Level = Literal["class", "model", "make"]
CLASS: Final = "class"
MODEL: Final = "model"
MAKE: Final = "make"
LEVELS: tuple[Level, ...] = (CLASS, MODEL, MAKE)  # the deepest first
PARTS = (MAKE, MODEL, "body", "years", "trim")  # the columns of a table of names, beside `class`


class ClassName(StrictConfig):
    """What the name of a class is made of. model: with its make, such as `Audi S4`; years: as it is to be told."""

    make: str
    model: str
    body: str = ""
    years: str = ""
    trim: str = ""


def make_names(table: Mapping[str, Mapping[str, str]], classes: Sequence[str]) -> tuple[ClassName, ...]:
    """The parts of each class, in the order of `classes`.

    table: class -> its parts, by the names of `PARTS`; those of other classes are passed over. A model is written with
    its make where the table leaves that out; where it names no model, the class itself is the model.
    Raises `UsageError` for a class that is missing, a make that is empty, and whatever `fault` finds.
    """
    missing = [name for name in classes if name not in table]
    if missing:
        raise UsageError(
            f"The table of names lacks {counted(len(missing), 'class', 'classes')}, the first is '{missing[0]}': give "
            "each class of the model a line."
        )
    names = []
    for name in classes:
        parts = {part: str(table[name].get(part) or "").strip() for part in PARTS}
        if not parts[MAKE]:
            raise UsageError(f"The table of names gives no make for the class '{name}': each class needs one.")
        model = parts[MODEL] or name
        known = model == parts[MAKE] or model.startswith(f"{parts[MAKE]} ")
        names.append(ClassName(**parts | {MODEL: model if known or not parts[MODEL] else f"{parts[MAKE]} {model}"}))
    if wrong := fault(names, classes):
        raise UsageError(f"The table of names is no tree: {wrong}.")
    return tuple(names)


def fault(names: Sequence[ClassName], classes: Sequence[str]) -> str:
    """Why these parts, one for each class, are no tree; empty for a tree.

    In a tree every name has one place: a model is of one make, and a name that stands for several things (such as a
    class that is called as its model) stands for the same cars or a part of them, so nothing can lie above itself.
    """
    if len(names) != len(classes):
        return f"it has {len(names)} names for {len(classes)} classes"
    spelled: dict[str, str] = {}
    make_of: dict[str, str] = {}
    for one, name in zip(names, classes, strict=True):
        if not one.make.strip() or not one.model.strip():
            return f"the class '{name}' has no {MODEL if one.make.strip() else MAKE}"
        for word in (one.make, one.model):
            if spelled.setdefault(word.casefold(), word) != word:
                return f"'{spelled[word.casefold()]}' and '{word}' are one name, spelled in two ways"
        if make_of.setdefault(one.model, one.make) != one.make:
            return f"the model '{one.model}' is of two makes, '{make_of[one.model]}' and '{one.make}'"
    makes = set(make_of.values())
    for model, make in make_of.items():
        if model in makes and model != make:
            return f"'{model}' is a make, and also a model of '{make}'"
    for one, name in zip(names, classes, strict=True):
        if name in makes and name != one.make:
            return f"'{name}' is a make, and also a class of '{one.make}'"
        if name in make_of and name != one.model:
            return f"'{name}' is a model, and also a class of '{one.model}'"
    return ""
