"""What is odd about the classes of labelled photos: names that look alike, and classes that lose all their photos."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable

from carclf.datasets.names import names
from detection.common.tally import counted

# Letters of Cyrillic and Greek that are drawn like Latin ones, in lower case.
_TWINS = str.maketrans("авекмнорстухіјѕαεικορτυχ", "abekmhopctyxijsaeikoptux")


def _compatible(name: str) -> str:
    return unicodedata.normalize("NFKC", name)


def _spaced(name: str) -> str:
    visible = "".join(one for one in name if unicodedata.category(one) != "Cf")
    return re.sub(r"\s+", " ", visible).strip()


def _latin(name: str) -> str:
    return name.translate(_TWINS)


# In the order in which they are applied: what names may differ in without looking different.
_ALIKE: dict[str, Callable[[str], str]] = {
    "Unicode form": _compatible,
    "spaces": _spaced,
    "case": str.casefold,
    "letters of another script": _latin,
}


def look_alike(labels: Iterable[str]) -> list[tuple[str, ...]]:
    """Groups of different labels that a person takes for one, sorted.

    >>> look_alike(["Audi A3", "audi a3 ", "Audi A4"])
    [('Audi A3', 'audi a3 ')]
    """
    groups = defaultdict(list)
    for label in sorted(set(labels)):
        groups[_key(label)].append(label)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def alike_note(labels: Iterable[str]) -> str:
    """A sentence about the labels that look alike; empty where none do.

    >>> alike_note(["Audi A3", "audi a3", "Opel", "Opel "])
    "4 classes look like 2: 'Audi A3' and 'audi a3' (case), 'Opel' and 'Opel ' (spaces). Give each class one name."
    """
    groups = look_alike(labels)
    told = [f"{_listed(group)} ({', '.join(_differences(group))})" for group in groups]
    many = sum(map(len, groups))
    return f"{many} classes look like {len(groups)}: {names(told)}. Give each class one name." if groups else ""


def lost_note(before: Iterable[str], after: Iterable[str], why: str) -> str:
    """A sentence about the classes of which nothing is left; empty where there is none. why: ends it.

    >>> lost_note(["a", "b"], ["a"], "no photo of them can be read")
    '1 class is left out (b): no photo of them can be read.'
    """
    lost = sorted(set(before) - set(after))
    return f"{counted(len(lost), 'class is', 'classes are')} left out ({names(lost)}): {why}." if lost else ""


def _key(label: str, without: str = "") -> str:
    for difference, alike in _ALIKE.items():
        if difference != without:
            label = alike(label)
    return label


def _differences(group: tuple[str, ...]) -> list[str]:
    return [difference for difference in _ALIKE if len({_key(label, difference) for label in group}) > 1]


def _listed(group: tuple[str, ...]) -> str:
    quoted = [f"'{label}'" for label in group]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]])
