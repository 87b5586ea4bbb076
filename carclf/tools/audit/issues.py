"""What seems wrong with labelled photos: one row per photo and issue, most suspicious first within each issue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from carclf.classifier.garage.folds import DOUBT, doubt
from carclf.datasets.check.check import DataCheck
from carclf.recognition.prediction import ERROR, NO_CAR
from carclf.tools.audit.looks import Look

# In this order in all that is written; what each means.
ISSUES = {
    "label": "the photo looks more like another class",
    "outlier": "no car, a lorry, a part of a car, an interior or a drawing",
    "duplicate": "the same picture in another class, on another side of the split, or twice",
    "odd file": "missing, unreadable, of an odd shape, or with a box outside the photo",
    "sideways": "the car lies on its side or on its roof",
    "cut off": "the frame cuts through the car",
    "small": "the car has few pixels",
    "dark": "even the brightest parts are dark",
    "blurred": "fine detail is missing",
    "low quality": "compressed so much that blocks show",
}
# From which on a photo has the issue; seen on photos that were blurred, darkened, shrunk, compressed and cut on purpose
# (benchmarks/audit.py prints how many of those, and of the photos as they were, are found).
OUTLIER = 0.5
SHAPE = 3.0  # times as long as high, or as high as long
CUT = 0.5  # part of the car's width or height that runs into the frame
SMALL = 96  # pixels of the car's longer side
DARK = 1.0  # see `exposure_gain`
SHARP = 2.2
BLOCKS = 1.3


@dataclass(frozen=True)
class Issue:
    """photo: its number. score: how suspicious, 0 to 1. suggestion: a sentence, or the class that it looks like."""

    photo: int
    issue: str
    score: float
    suggestion: str


def find_issues(
    check: DataCheck, looks: Sequence[Look | None], probabilities: np.ndarray, classes: Sequence[str]
) -> list[Issue]:
    """looks: one per row of `check`, None for what can't be read. probabilities: float32 [N, C] of classes that had no
    part in them, rows of zeros where nothing is known. Sorted by issue, in the order of `ISSUES`, and score."""
    found = [
        *_labels(check.rows["label"], probabilities, classes),
        *_duplicates(check.rows),
        *_odd_files(check.rows, looks),
        *photo_issues(looks),
    ]
    order = list(ISSUES)
    return sorted(found, key=lambda one: (order.index(one.issue), -one.score, one.photo))


def photo_issues(looks: Sequence[Look | None]) -> list[Issue]:
    """Those that one look at a photo tells, whatever its label and the other photos; in no order."""
    return [*_outliers(looks), *_pixels(looks)]


def _labels(labels: pd.Series, probabilities: np.ndarray, classes: Sequence[str]) -> Iterator[Issue]:
    number = {name: place for place, name in enumerate(classes)}
    doubts, best = doubt(probabilities, np.array([number[label] for label in labels], int))
    for photo in np.flatnonzero(np.nan_to_num(doubts) > DOUBT):
        yield Issue(int(photo), "label", float(doubts[photo]), classes[best[photo]])


def _outliers(looks: Sequence[Look | None]) -> Iterator[Issue]:
    for photo, look in enumerate(looks):
        if look is None or look.status == ERROR:
            continue
        score = outlier_score(look)
        if score > OUTLIER:
            what = f"looks like: {look.other}" if look.other else look.reason
            yield Issue(photo, "outlier", score, f"no car found; {what}" if look.status == NO_CAR else what)


def outlier_score(look: Look) -> float:
    """0 to 1; a photo in which no car was found has more than a half."""
    return 1 - look.car / 2 if look.status == NO_CAR else 1 - look.car


def _duplicates(rows: pd.DataFrame) -> Iterator[Issue]:
    known = rows[rows["picture"].notna()]
    for _, copies in known.groupby("picture", sort=False):
        if len(copies) < 2:
            continue
        first = copies.iloc[0]
        for photo, row in zip(copies.index, copies.to_dict("records"), strict=True):
            found = row["findings"].split()
            other = next((one for _, one in copies.iterrows() if one["label"] != row["label"]), None)
            if other is not None:
                told = f"the same picture as {other['file']} ({other['label']}): at most one label is right"
                yield Issue(int(photo), "duplicate", 1.0, told)
                continue
            across = next((one for _, one in copies.iterrows() if one["split"] != row["split"]), None)
            if "crosses_split" in found and across is not None:
                told = f"the same picture as {across['file']} ({across['split']}): take it out of one side"
                yield Issue(int(photo), "duplicate", 0.9, told)
            elif row["file"] != first["file"]:
                exact = "exact_duplicate" in found
                same = "the same bytes as" if exact else "the same picture as"
                yield Issue(int(photo), "duplicate", 0.7 if exact else 0.6, f"{same} {first['file']}: one is enough")


def _odd_files(rows: pd.DataFrame, looks: Sequence[Look | None]) -> Iterator[Issue]:
    for photo, (row, look) in enumerate(zip(rows.to_dict("records"), looks, strict=True)):
        if row["status"] != "ok":
            yield Issue(photo, "odd file", 1.0, row["reason"])
        elif look is not None and look.status == ERROR:
            yield Issue(photo, "odd file", 1.0, look.reason)
        elif row["reason"]:
            yield Issue(photo, "odd file", 0.9, row["reason"])
        elif (ratio := max(row["width"], row["height"]) / min(row["width"], row["height"])) > SHAPE:
            yield Issue(photo, "odd file", float(1 - SHAPE / ratio / 2), f"{ratio:.1f} times as long as wide")


def _pixels(looks: Sequence[Look | None]) -> Iterator[Issue]:
    for photo, look in enumerate(looks):
        if look is None or look.size is None:
            continue
        if look.turn_note:
            yield Issue(photo, "sideways", 1.0, look.turn_note)
        if look.gain > DARK:
            yield Issue(photo, "dark", 1 - 1 / look.gain, "brighten it, or take another one")
        if look.blocks is not None and look.blocks > BLOCKS:
            yield Issue(photo, "low quality", 1 - 1 / look.blocks, "take the original file")
        if look.box is None:
            continue
        if look.cut > CUT:
            yield Issue(photo, "cut off", look.cut, f"{look.cut:.0%} of a side run into the frame")
        side = max(look.box[2] - look.box[0], look.box[3] - look.box[1])
        if side < SMALL:
            yield Issue(photo, "small", float(1 - side / SMALL / 2), f"the car is {side:.0f} pixels long")
        if look.sharp is not None and look.sharp < SHARP:
            yield Issue(photo, "blurred", float(min(1.0, 1 / max(look.sharp, 1e-6))), "take a sharp one")
