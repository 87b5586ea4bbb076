"""audit.html: the first look and the suspicious photos, with pictures, in one file that fetches nothing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from carclf.runs.report.pages import Figure, render_page, write_page
from carclf.tools.audit.audit import TABLE, Audit
from carclf.tools.audit.issues import ISSUES, Issue
from carclf.tools.audit.overview import class_rows, imbalance, spreads
from detection.common.console import Track, untracked
from detection.common.files import escape_name
from detection.common.tally import counted
from detection.images.read import ImageError, load_image

NAME = "audit.html"
PICTURES = 120  # per issue: the page of 20,000 photos stays a few megabytes, and opens at once
_EXAMPLES = 400  # classes that are shown with a picture
_HIGH = 110  # pixels of a picture


@dataclass(frozen=True, eq=False)
class Card:
    """One suspicious photo on the page. image: RGB uint8, None where it can't be read."""

    file: str
    label: str
    score: float
    suggestion: str
    image: np.ndarray | None


def write_audit_page(audit: Audit, path: Path, track: Track = untracked) -> Path:
    """By temp file and rename. track: the pictures go through it."""
    shown: dict[str, list[Issue]] = {name: [] for name in ISSUES}
    for one in audit.issues:
        if len(shown[one.issue]) < PICTURES:
            shown[one.issue].append(one)

    @lru_cache(maxsize=64)
    def image(photo: int) -> np.ndarray | None:
        try:
            return load_image(audit.file(photo), max_side=3 * _HIGH)
        except (ImageError, OSError):
            return None

    total = sum(map(len, shown.values()))
    rows = audit.check.rows
    cards: dict[str, list[Card]] = {name: [] for name in ISSUES}
    for one in track([one for issues in shown.values() for one in issues], total):
        name, label = escape_name(rows["file"][one.photo]), rows["label"][one.photo]
        cards[one.issue].append(Card(name, label, one.score, one.suggestion, image(one.photo)))
    sections = [
        {
            "name": name,
            "about": about,
            "count": audit.counts[name],
            "cards": cards[name],
            "note": _note(audit.counts[name], len(cards[name])),
        }
        for name, about in ISSUES.items()
        if cards[name]
    ]
    classes = class_rows(audit)
    for row in classes[:_EXAMPLES]:
        row["image"] = None if row["example"] is None else image(row["example"])
    return write_page(
        render_page(
            "audit.html.j2",
            title="Audit of labelled photos",
            lead=_lead(audit),
            figures=_figures(audit),
            notes=[imbalance(classes), *audit.check.problems, *audit.notes],
            clean=[name for name in ISSUES if not cards[name]],
            sections=sections,
            spreads={title: values for title, values in spreads(audit).items() if values},
            classes=classes,
            splits=[name for name in ("train", "val", "test") if name in audit.check.classes],
            table=TABLE,
            high=_HIGH,
        ),
        path,
    )


def _note(count: int, shown: int) -> str:
    if count <= shown:
        return counted(count, "photo") + ", the most suspicious first."
    return f"{count} photos; the {shown} most suspicious are shown, all are in {TABLE}."


def _lead(audit: Audit) -> str:
    photos = counted(len(audit.check.rows), "photo")
    classes = counted(len(audit.check.classes), "class", "classes")
    return f"{photos} of {classes} in {escape_name(audit.check.root.name)}: what seems wrong, and how they spread."


def _figures(audit: Audit) -> list[Figure]:
    photos = len(audit.check.rows)
    touched = len({one.photo for one in audit.issues})
    figures = [
        Figure(f"{photos:,}", "photos", f"{len(audit.check.classes)} classes"),
        Figure(f"{touched:,}", "photos to look at", f"{touched / max(photos, 1):.1%} of all"),
    ]
    for name in ("label", "outlier", "duplicate"):
        figures.append(Figure(f"{audit.counts[name]:,}", name, ISSUES[name]))
    return figures
