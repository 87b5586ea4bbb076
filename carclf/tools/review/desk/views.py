"""Which photos are shown, and in which order: numbers in an array, so that a filter over 50,000 takes milliseconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from carclf.datasets.corrections.decision import CLASS, LATER, NO_CAR
from carclf.tools.review.desk.desk import Desk
from carclf.tools.review.desk.likeness import Likeness

SHOWS = ("todo", "all", "decided", "changed", "no_car", "later")
SUSPICION, LIKENESS, NAME, CLASSES, SOURCE = ORDERS = ("suspicion", "likeness", "name", "class", "source")


@dataclass(frozen=True)
class Query:
    """show: one of `SHOWS`. issue, group, label: names, empty for all; label is the one in force. text: a part of the
    file's name. order: one of `ORDERS`. like: a photo whose likes come first, whatever the order says."""

    show: str = "todo"
    issue: str = ""
    group: str = ""
    label: str = ""
    text: str = ""
    order: str = SUSPICION
    like: int | None = None


def find(query: Query, desk: Desk, likeness: Likeness) -> np.ndarray:
    """The numbers of the photos, int32, in their order."""
    wanted = _shown(query.show, desk)
    photos = desk.photos
    score = photos.suspicion
    if query.issue:
        places, scores = photos.issues.get(query.issue, (np.empty(0, np.int32), np.empty(0, np.float32)))
        score = np.full(len(photos), -1, np.float32)
        np.maximum.at(score, places, scores)
        wanted &= score >= 0
    if query.group:
        wanted &= photos.group == (photos.groups.index(query.group) if query.group in photos.groups else -2)
    if query.label:
        wanted &= _labelled(query.label, desk)
    if query.text:
        part = query.text.casefold()
        for number in np.flatnonzero(wanted):
            wanted[number] = part in photos.names[number].casefold()
    order = _order(query, desk, likeness, score)
    return order[wanted[order]].astype(np.int32)


def _shown(show: str, desk: Desk) -> np.ndarray:
    count = len(desk.photos)
    decided = {number: one.decision for number, one in list(desk.decided.items())}
    if show == "all":
        return np.ones(count, bool)
    wanted = np.zeros(count, bool)
    if show == "todo":
        wanted[[number for number, one in decided.items()]] = True
        return ~wanted
    kinds = {"changed": (CLASS,), "no_car": (NO_CAR,), "later": (LATER,)}.get(show)
    wanted[[number for number, one in decided.items() if kinds is None or one in kinds]] = True
    return wanted


def _labelled(label: str, desk: Desk) -> np.ndarray:
    photos = desk.photos
    wanted = photos.label == (photos.classes.index(label) if label in photos.classes else -2)
    for number in list(desk.decided):
        wanted[number] = desk.label(number) == label
    return wanted


def _order(query: Query, desk: Desk, likeness: Likeness, score: np.ndarray) -> np.ndarray:
    photos = desk.photos
    if query.like is not None and likeness.there:
        likes = likeness.to(query.like)
        if likes is not None:
            return np.argsort(-likes, kind="stable")
    if query.order == LIKENESS and likeness.there:
        return likeness.order()
    if query.order == NAME:
        return np.array(sorted(range(len(photos)), key=photos.names.__getitem__), np.int64)
    if query.order == CLASSES:
        rank = {name: place for place, name in enumerate(sorted(photos.classes))}
        ranks = np.array([rank[name] for name in photos.classes] + [len(rank)], np.int64)
        return np.lexsort((-score, ranks[photos.label]))
    if query.order == SOURCE:
        return np.arange(len(photos))
    return np.argsort(-score, kind="stable")
