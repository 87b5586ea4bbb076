"""What all addresses of the page share: the desk, likeness, and thumbnails that are made while nobody asks."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from carclf.datasets.corrections.decision import Decision
from carclf.service.web.refusal import Refused
from carclf.tools.review.desk.cache import Cache
from carclf.tools.review.desk.desk import Desk, Outcome, Wish
from carclf.tools.review.desk.likeness import Likeness
from carclf.tools.review.desk.views import CLASSES, SOURCE, SUSPICION
from carclf.tools.review.photos import Photos
from carclf.tools.review.sources.clusters import CLUSTERS
from detection.common.console import Track, untracked
from detection.common.errors import UsageError
from detection.common.places.paths import path_of
from detection.images.read import ImageError, image_size

log = logging.getLogger("carclf")
_MOST_GROUPS = 2000  # that the page can choose from: the largest ones
_PAUSE = 0.5  # seconds without a request before thumbnails are made ahead


class ReviewRoom:
    """Opens all that is needed for one source; `close` ends it. Raises `UsageError`."""

    def __init__(self, photos: Photos, folder: Path, person: str, track: Track = untracked):
        """folder: of the journal. person: how a page calls its user until that one says otherwise."""
        self.photos, self.person = photos, person
        self.cache = Cache(folder)
        self.desk = Desk(photos, folder, self.cache, track)
        self.likeness = Likeness(photos, folder)
        self.ahead = 0  # photos whose thumbnails are there
        self.asked = time.monotonic()
        self._stop = threading.Event()
        self._worker: threading.Thread | None = None

    def begin(self) -> None:
        """Makes thumbnails and vectors ready, in a thread of its own."""
        self._worker = threading.Thread(target=self._prepare, daemon=True, name="carclf-thumbnails")
        self._worker.start()

    def close(self) -> None:
        self._stop.set()
        if self._worker is not None:
            self._worker.join(20)
        self.desk.close()
        self.cache.close()

    def about(self) -> dict[str, Any]:
        """What the page has to know at its start."""
        photos = self.photos
        sizes = np.bincount(photos.group[photos.group >= 0], minlength=len(photos.groups))
        largest = np.argsort(-sizes, kind="stable")[:_MOST_GROUPS]
        return {
            "kind": photos.kind,
            "title": photos.title,
            "person": self.person,
            "classes": sorted(set(photos.classes) | {one.new for one in self.desk.decided.values() if one.new}),
            "issues": [[name, len(places)] for name, (places, _) in photos.issues.items()],
            "groups": [[photos.groups[one], int(sizes[one])] for one in largest],
            "likeness": self.likeness.there,
            "suspicion": self.order == SUSPICION,
            "order": self.order,
        } | self.progress()

    @cached_property
    def order(self) -> str:
        """In which order photos come until a person chooses another one."""
        if (self.photos.suspicion > 0).any():
            return SUSPICION
        return SOURCE if self.photos.kind == CLUSTERS else CLASSES

    def progress(self) -> dict[str, Any]:
        return {"counts": self.desk.counts(), "people": self.desk.people()}

    def size(self, number: int) -> list[int] | None:
        """Width and height of a photo; None where it can't be read."""
        width, height = (int(value) for value in self.photos.size[number])
        if width:
            return [width, height]
        try:
            return list(image_size(path_of(self.photos.files[number])))
        except (ImageError, OSError, ValueError):
            return None

    def history(self, number: int) -> Sequence[Decision]:
        """The decisions about a photo that stand, oldest first."""
        state = self.desk.state(number)
        return () if state is None else self.desk.journal.history(state.sha256).standing

    def decide(
        self, by: str, wishes: Sequence[tuple[int, str, str]], decision: str, new: str | None, batch: str
    ) -> Outcome:
        try:
            return self.desk.decide(by, [Wish(*one) for one in wishes], decision, new, batch)
        except OSError as error:
            raise Refused(507, _not_written(error)) from error

    def undo(self, by: str) -> list[int]:
        try:
            return self.desk.undo(by)
        except OSError as error:
            raise Refused(507, _not_written(error)) from error

    def _prepare(self) -> None:
        try:
            if self.likeness.there:
                self.likeness.prepare()
        except (UsageError, OSError) as error:
            log.warning("there is no likeness: %s", error)
            self.photos.vectors = None
        for number in np.argsort(-self.photos.suspicion, kind="stable"):
            while not self._stop.is_set() and time.monotonic() - self.asked < _PAUSE:
                self._stop.wait(_PAUSE / 4)  # a person's page comes first
            if self._stop.is_set():
                return
            file = self.photos.files[int(number)]
            if not self.cache.has_thumbnail(file):
                self.cache.thumbnail(file)
            self.ahead += 1


def _not_written(error: OSError) -> str:
    return f"The decision could not be written ({error.strerror or error}), and is not saved."
