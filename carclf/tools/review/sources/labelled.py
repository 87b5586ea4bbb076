"""Labelled photos in any layout that `carclf train` takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from carclf.datasets import photo_root, read_table
from carclf.datasets.names import names_below
from carclf.tools.review.photos import Entry, Photos
from detection.common.console import Track, untracked


def read_labelled(path: Path, images: Path | None, track: Track = untracked) -> Photos:
    """Nothing is suspicious: the photos are sorted by class, or by vectors where there are any."""
    table = read_table(path, images, keep_missing=True)
    root = photo_root(path, images)
    names = names_below(root, table["file"].tolist())
    rows: list[dict[str, Any]] = [{str(key): one for key, one in row.items()} for row in table.to_dict("records")]
    entries = (
        Entry(
            str(row["file"]), name, str(row["label"]), group=str(row["label"]), box=row.get("box"),
            split=row.get("split") or "",
        )
        for name, row in zip(names, track(rows, len(rows)), strict=True)
    )  # fmt: skip
    return Photos.of("labelled", path.name, entries)
