"""Where number plates are in photos that came without such labels: `data/plate_labels.csv`, by content hash.

A network found them, and a person looked at the finds. A line is a plate, or something that may be one (`unsure`), with
its corners in pixels; a photo without any has one line, `none`. A photo that is not listed was not looked at.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from detection.common.errors import UsageError
from detection.common.files import replace_file

Quads = list[tuple[str, np.ndarray]]
PLATE, UNSURE, NONE = KINDS = ("plate", "unsure", "none")
_CORNERS = ("x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4")
_COLUMNS = ("sha256", "kind", *_CORNERS)


def read_labels(path: Path) -> dict[str, Quads]:
    """Digest -> kind (quad or unsure) and corners (float 4x2) of each. Raises `UsageError` for anything else."""
    labels: dict[str, Quads] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file, strict=True):
                quads = labels.setdefault(row["sha256"], [])
                if row["kind"] not in KINDS:
                    raise ValueError(f"the kind '{row['kind']}' is none of {', '.join(KINDS)}")
                if row["kind"] != NONE:
                    corners = np.array([float(row[name]) for name in _CORNERS]).reshape(4, 2)
                    quads.append(("quad" if row["kind"] == PLATE else "unsure", corners))
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise UsageError(f"'{path}' is no list of plates ({error}): take the one of the repository.") from error
    return labels


def write_labels(path: Path, labels: Mapping[str, Sequence[tuple[str, np.ndarray]]]) -> None:
    lines = [",".join(_COLUMNS)]
    for digest, quads in sorted(labels.items()):
        for kind, corners in quads:
            numbers = ",".join(str(round(value)) for value in np.ravel(corners))
            lines.append(f"{digest},{PLATE if kind == 'quad' else UNSURE},{numbers}")
        if not quads:
            lines.append(f"{digest},{NONE}" + "," * len(_CORNERS))
    replace_file(path, ("\n".join(lines) + "\n").encode())
