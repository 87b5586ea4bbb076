"""Labels that are moved on purpose, and a scripted person who sees what a person would see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from carclf.datasets.corrections import decision as corrections
from carclf.datasets.corrections.journal import write_decisions

_WHO = "loop demo"


def plant_faults(labels: Sequence[str], share: float, seed: int) -> list[str]:
    """The labels, of which this share, drawn by chance, is moved to another class; every class keeps two of its own.

    >>> planted = plant_faults(["a"] * 6 + ["b"] * 4, 0.2, 0)
    >>> sum(now != then for now, then in zip(planted, ["a"] * 6 + ["b"] * 4))
    2
    """
    random = np.random.default_rng([seed, 1])
    classes = sorted(set(labels))
    planted, left = list(labels), {name: list(labels).count(name) for name in classes}
    wanted = round(share * len(labels))
    for row in random.permutation(len(labels)):
        if wanted and left[labels[row]] > 2 and len(classes) > 1:
            others = [name for name in classes if name != labels[row]]
            planted[row] = others[int(random.integers(len(others)))]
            left[labels[row]] -= 1
            wanted -= 1
    return planted


@dataclass(frozen=True)
class Verdict:
    """What the person decided about a photo. suspected: the class that the audit thought of; right: the true one."""

    file: str
    label: str
    suspected: str
    right: str
    score: float
    sha256: str = ""

    @property
    def corrected(self) -> bool:
        return self.label != self.right


def write_journal(decisions: Sequence[Verdict], path: Path) -> Path:
    """The decisions as a journal of `carclf review`, in their order; ids follow from the photos."""
    told = corrections.now()
    lines = [
        corrections.Decision(
            f"{one.sha256}{number:08x}",
            told,
            _WHO,
            corrections.CLASS if one.corrected else corrections.ACCEPT,
            one.file,
            one.sha256,
            old=one.label,
            new=one.right,
        )
        for number, one in enumerate(decisions)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_decisions(path, lines, {})
    return path
