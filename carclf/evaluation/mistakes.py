"""The photos that a classifier got wrong: as a table with the worst first, and as one picture for people to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from detection.common.places.paths import path_of
from detection.images.contact_page import SheetPair, draw_pair, join_page
from detection.images.write import save_image

COLUMNS = ("file", "label", "predicted", "confidence", "label_probability", "rank", "status", "reason")
_GRID = (3, 8)  # columns and rows of the sheet
_QUALITY = 88


def rank_errors(rows: Sequence[Mapping]) -> pd.DataFrame:
    """The wrong ones among the rows of predictions.csv: the most confident first, those without an answer last."""
    wrong = [row for row in rows if not row["correct"]]
    wrong.sort(key=lambda row: (row["confidence"] == "", -float(row["confidence"] or 0), str(row["file"])))
    return pd.DataFrame(
        [{name: row[name] for name in COLUMNS if name in row} for row in wrong],
        columns=[name for name in COLUMNS if not rows or name in rows[0]],
        dtype=object,  # pandas' own text can't hold a name that is not UTF-8
    )


def example_photos(rows: Sequence[Mapping]) -> dict[str, str]:
    """Class -> the file of its photo that was recognized most surely, or of any when none was."""
    best: dict[str, tuple[float, str]] = {}
    for row in rows:
        sure = float(row["confidence"] or 0) if row["correct"] else -1.0
        if sure > best.get(row["label"], (-2.0, ""))[0]:
            best[row["label"]] = (sure, row["file"])
    return {label: file for label, (_, file) in best.items()}


def save_error_sheet(rows: Sequence[Mapping], path: Path) -> None:
    """A contact sheet (JPEG) of the worst errors: left the photo, right an example of the class it was taken for.

    rows: of predictions.csv. Photos that can't be read are drawn as such. Without any error an older sheet is removed.
    """
    columns, lines = _GRID
    errors, examples = rank_errors(rows), example_photos(rows)
    if errors.empty:
        path.unlink(missing_ok=True)
        return
    pairs = []
    for error in errors.head(columns * lines).to_dict("records"):
        answered = error["confidence"] != ""
        example = examples.get(error["predicted"])
        pairs.append(
            SheetPair(
                name=str(error["file"]),
                photo=path_of(error["file"]),
                cut=path_of(example) if example else None,
                status="wrong" if answered else str(error.get("status") or "no answer"),
                score=float(error["confidence"]) if answered else None,
                reason=f"{error['label']}, taken for {error['predicted']}" if answered else str(error["label"]),
                nothing="no photo of that class here" if answered else "no answer",
            )
        )
    save_image(path, join_page([draw_pair(pair) for pair in pairs], columns, lines), _QUALITY)
