"""The groups of `carclf cluster`: a group is named at once."""

from __future__ import annotations

import csv
from pathlib import Path

from carclf.datasets.layouts.csv_file import read_csv_text
from carclf.tools.review.photos import Entry, Photos
from detection.common.files import read_name

_COLUMNS = ("group", "class", "file")
CLUSTERS, ALONE = "clusters", "alone"


def is_clusters(path: Path) -> bool:
    """Whether it is a list that `carclf cluster` wrote."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            head = file.readline(4096).lower()
    except OSError:
        return False
    return all(name in head for name in _COLUMNS)


def read_clusters(path: Path, source: Path) -> Photos:
    """The cars of each group, the most typical first; a name that a person wrote into the list is their label."""
    text, delimiter = read_csv_text(path, _COLUMNS)
    rows = list(csv.DictReader(text.splitlines(), delimiter=delimiter))
    of_group: dict[str, str] = {}
    for row in rows:
        if row["group"] and (row["class"] or "").strip():
            of_group.setdefault(row["group"], row["class"].strip())
    entries = []
    for row in rows:
        label = (row["class"] or "").strip() or of_group.get(row["group"], "")
        file = read_name(row["file"])
        group = f"group {row['group']}" if row["group"] else ALONE
        entries.append(Entry(str(Path(file).absolute()), file, label, group=group))
    return Photos.of(CLUSTERS, source.name, entries)
