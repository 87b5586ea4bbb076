"""Labels that are moved on purpose, and a scripted person who sees what a person would see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from detection.common.files import replace_file, written_by
from detection.common.rows import json_line

JOURNAL = "corrections.jsonl"
_FORMAT = 1
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
class Decision:
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


def write_journal(decisions: Sequence[Decision], path: Path) -> Path:
    """The decisions in the format of `carclf review`, in their order; ids follow from the photos."""
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    lines = [json_line({"corrections": _FORMAT, **written_by(_FORMAT)})]
    for number, one in enumerate(decisions):
        lines.append(
            json_line(
                {
                    "id": f"{one.sha256}{number:08x}",
                    "time": now,
                    "by": _WHO,
                    "decision": "class" if one.corrected else "accept",
                    "file": one.file,
                    "sha256": one.sha256,
                    "old": one.label,
                    "new": one.right,
                }
            )
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, b"".join(lines))
    return path
