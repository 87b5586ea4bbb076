"""The first look at labelled photos: how many, how large, how bright, and what their imbalance will cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from carclf.tools.audit.audit import Audit
from carclf.tools.audit.looks import Look, vectors_of
from detection.common.tally import counted

_FEW = 4  # parts of the classes, of which the smallest one is compared with the largest


def class_rows(audit: Audit) -> list[dict]:
    """One per class, largest first: class, photos, the counts of each side of the split, label (how many seem to have
    a wrong one), issues (photos with any other), right (share of the photos that are named right without having been
    learnt from, None where that is not known), example (the number of its most typical photo, or None)."""
    labels = audit.check.rows["label"].to_numpy()
    wrong = Counter(labels[one.photo] for one in audit.issues if one.issue == "label")
    others = Counter(labels[photo] for photo in {one.photo for one in audit.issues if one.issue != "label"})
    rows = []
    for row in audit.check.classes.to_dict("records"):
        name = row["class"]
        photos = np.flatnonzero(labels == name)
        told = photos[audit.probabilities[photos].any(axis=1)]
        right = None
        if len(told):
            named = np.array(audit.classes, object)[audit.probabilities[told].argmax(axis=1)]
            right = float((named == name).mean())
        rows.append(
            row
            | {
                "label": wrong[name],
                "issues": others[name],
                "right": right,
                "example": _typical(photos, audit.looks),
            }
        )
    return rows


def _typical(photos: np.ndarray, looks: Sequence[Look | None]) -> int | None:
    seen, vectors = vectors_of([looks[photo] for photo in photos])
    return int(photos[seen[(vectors @ vectors.mean(axis=0)).argmax()]]) if len(seen) else None


def imbalance(rows: Sequence[dict]) -> str:
    """A sentence on what the difference between large and small classes costs, by what was measured; rows: those of
    `class_rows`."""
    known = [row for row in rows if row["right"] is not None and row["photos"]]
    if len(known) < 2:
        return ""
    part = max(1, len(known) // _FEW)
    large, small = known[:part], known[-part:]
    ratio = known[0]["photos"] / known[-1]["photos"]
    if ratio < 1.5:
        return f"The classes are even: the largest has {ratio:.1f} times as many photos as the smallest."
    shares = [_mean(part) for part in (small, large)]
    cost = 100 * (shares[1] - shares[0])
    smallest = "smallest class" if part == 1 else f"{part} smallest classes"
    largest = "largest class" if part == 1 else f"{part} largest"
    lead = (
        f"The largest class has {ratio:.1f} times as many photos as the smallest. Of the {smallest} (at most "
        f"{small[0]['photos']} photos), {shares[0]:.0%} of the photos are named right by what other photos say; of the "
        f"{largest}, {shares[1]:.0%}"
    )
    if cost < 1:
        return f"{lead}: the imbalance costs little here."
    return f"{lead}: expect small classes to be about {cost:.0f} points worse, and add photos to those first."


def _mean(rows: Sequence[dict]) -> float:
    return float(np.mean([row["right"] for row in rows]))


def spreads(audit: Audit) -> dict[str, list[tuple[str, float]]]:
    """Of the photos that could be looked at, how they spread: title -> (value, share), shares summing to 1."""
    seen = [look for look in audit.looks if look is not None and look.size is not None]
    sizes = [max(look.size) for look in seen if look.size]
    ratios = [look.size[0] / look.size[1] for look in seen if look.size]
    parts = [_part(look) for look in seen if look.box]
    return {
        "Size: pixels of the longer side": _buckets(sizes, (160, 320, 640, 1280, 2560), "{} px"),
        "Shape": _named([("high" if r < 0.95 else "square" if r < 1.05 else "wide") for r in ratios]),
        "Brightness: mean of all values": _buckets(
            [round(100 * look.brightness) for look in seen], (20, 35, 50, 65, 80), "{} %"
        ),
        "The car's box: part of the photo": _buckets(parts, (10, 25, 50, 75, 90), "{} %"),
    }


def _part(look: Look) -> int:
    assert look.box is not None and look.size is not None
    x1, y1, x2, y2 = look.box
    return round(100 * (x2 - x1) * (y2 - y1) / (look.size[0] * look.size[1]))


def _buckets(values: Sequence[float], borders: Sequence[int], unit: str) -> list[tuple[str, float]]:
    places = np.searchsorted(borders, values, side="right")
    names = [f"below {unit.format(borders[0])}"]
    names += [f"{low} to {unit.format(high)}" for low, high in pairwise(borders)]
    names.append(f"{unit.format(borders[-1])} and more")
    return [(name, float((places == place).mean())) for place, name in enumerate(names)] if len(values) else []


def _named(values: Sequence[str]) -> list[tuple[str, float]]:
    return [(name, count / len(values)) for name, count in Counter(values).most_common()]


def summary(audit: Audit) -> list[str]:
    """Lines for the terminal."""
    check = audit.check
    ends = check.balance
    lines = [
        f"{counted(len(check.rows), 'photo')} of {counted(len(check.classes), 'class', 'classes')}; largest: "
        f"{ends['largest']['class']} ({ends['largest']['photos']}), smallest: {ends['smallest']['class']} "
        f"({ends['smallest']['photos']})."
    ]
    cost = imbalance(class_rows(audit))
    lines += [cost] if cost else []
    width = max(map(len, audit.counts))
    lines += [f"  {name:<{width}}  {count}" for name, count in audit.counts.items()]
    return [*lines, *check.problems, *audit.notes]
