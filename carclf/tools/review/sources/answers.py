"""What a model answered: rows of `carclf predict`, and those of an evaluation, which know the labels, too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from carclf.classifier.levels.names import MAKE, MODEL
from carclf.recognition.prediction import OK
from carclf.tools.review.photos import Entry, Issue, Photos
from carclf.tools.review.sources.rows import read_rows
from detection.common.errors import UsageError
from detection.common.places.paths import path_of

MISTAKE, NO_ANSWER, UNSURE = "mistake", "no answer", "unsure"
_SURE = 0.5  # less is told as unsure


def read_predictions(rows: Sequence[dict[str, Any]], path: Path, images: Path | None) -> Photos:
    """One photo per file, its main car's row; the label is what the model said."""
    finder = _Finder(path.parent, images)
    return Photos.of("predictions", path.name, _predicted(rows, finder))


def _predicted(rows: Sequence[dict[str, Any]], finder: _Finder) -> Iterator[Entry]:
    seen: set[str] = set()
    for row in rows:
        name = row["file"]
        if name in seen:  # another vehicle of the photo
            continue
        seen.add(name)
        status, said = row["status"], row.get("label") or ""
        # A make or model alone is what was sure, and no class that a photo could have.
        label = "" if row.get("level") in (MAKE, MODEL) else said
        confidence = _number(row.get("confidence"))
        top = [(str(one), float(value)) for one, value in row.get("top") or ()]
        box = row.get("box") or None
        issues = []
        if status != OK:
            issues.append(Issue(status.replace("_", " "), 1 - (confidence or 0) / 2, row.get("reason") or ""))
        elif said != label:
            issues.append(Issue(UNSURE, 1 - (top[0][1] if top else 0.0) / 2, f"{said}, but which is not sure"))
        elif confidence is not None and confidence < _SURE:
            issues.append(Issue(UNSURE, 1 - confidence, f"{label}, {confidence:.0%} sure"))
        suspicion = issues[0].score if issues else 1 - (1.0 if confidence is None else confidence)
        guess = label or (top[0][0] if top else "")
        kind = UNSURE if said else status.replace("_", " ")
        group = label or (f"{kind}: perhaps {guess}" if guess else kind)
        yield Entry(finder.find(name), name, label, suspicion, issues, guess, group, top, box)


def read_evaluation(table: Path, source: Path, images: Path | None) -> Photos:
    """The photos that a model was measured on; the mistakes are an issue of their own."""
    rows = read_rows(table)
    if rows is None:
        raise UsageError(f"'{table}' holds no answers of an evaluation: run carclf evaluate again.")
    return Photos.of("evaluation", source.name, _measured(rows, _Finder(table.parent, images)))


def _measured(rows: Sequence[dict[str, Any]], finder: _Finder) -> Iterator[Entry]:
    for row in rows:
        label, predicted = row["label"], row["predicted"] or ""
        confidence = _number(row.get("confidence"))
        right = predicted == label
        issues = []
        if not predicted:
            issues.append(Issue(NO_ANSWER, 0.5, row.get("reason") or row.get("status") or ""))
        elif not right:
            issues.append(Issue(MISTAKE, 0.5 + (confidence or 0) / 2, f"taken for {predicted}, {confidence or 0:.0%}"))
        suspicion = issues[0].score if issues else (1 - (confidence or 0)) / 2
        best = [one for one in (row.get("top5") or predicted).split("; ") if one]
        own = _number(row.get("label_probability"))
        shares: dict[str, float | None] = {predicted: confidence, label: own}
        top = [(one, shares.get(one)) for one in best]
        group = f"{label} → {predicted}" if predicted and not right else (f"{label}, right" if right else label)
        yield Entry(
            finder.find(row["file"]), row["file"], label, suspicion, issues, "" if right else predicted, group, top
        )


class _Finder:
    """Where photos with relative names lie: below --images, here, or beside the file that names them."""

    def __init__(self, beside: Path, images: Path | None):
        self._folders = [images] if images is not None else [Path(), beside]

    def find(self, name: str) -> str:
        """The absolute path; the first place that it may be where there is no such file."""
        if ":" in name or Path(name).is_absolute():
            return str(path_of(name))
        places = [(folder / name).absolute() for folder in self._folders]
        return str(next((one for one in places if one.is_file()), places[0]))


def _number(value: Any) -> float | None:
    return None if value in (None, "") else float(value)
