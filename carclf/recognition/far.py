"""Photos named on a cluster: each worker has a recognizer, and only predictions come back."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carclf.recognition.chain.item import Item
from carclf.recognition.prediction import ERROR, Prediction, Recognition
from detection.cluster.crew import KILLED, Crew
from detection.cluster.work import Work
from detection.common.places.address import scheme_of

if TYPE_CHECKING:
    from detection.folder.out.detections import Detections


@dataclass(frozen=True)
class Facts:
    """What the driver wants to know of the workers' recognizer: see `CarRecognizer`."""

    settings: dict[str, Any]
    found_by: tuple[str | None, tuple[str, ...]]
    every_vehicle: bool
    trained_on: str | None
    levels: bool
    tells_colour: bool


@dataclass(frozen=True, slots=True)
class FarPhoto:
    """name: in the row. path: where it is read, absolute or in a place. source: its name in a file of detections."""

    name: str
    path: str
    source: str


class NamingWork(Work):
    """What a worker does of a prediction. settings: of `CarRecognizer`. detections: the path of a file of them."""

    def __init__(self, model: str, tta: str, settings: dict[str, Any], detections: Path | None = None):
        self._model, self._tta, self._settings, self._detections = model, tta, settings, detections

    def load(self) -> Facts:
        from carclf.classifier.tta.views import TtaConfig
        from carclf.recognition.recognizer import CarRecognizer
        from detection.common.machine import threads_for_many
        from detection.folder.out.detections import read_detections

        known = None if self._detections is None else read_detections(self._detections)
        recognizer = CarRecognizer(
            self._model, tta=TtaConfig.of(self._tta), threads=threads_for_many(), detections=known, **self._settings
        )
        self._recognizer = recognizer
        self._one = threading.Lock() if recognizer.side_by_side == 1 else nullcontext()
        return Facts(
            recognizer.settings,
            recognizer.found_by,
            recognizer.every_vehicle,
            recognizer.trained_on,
            recognizer.levels,
            recognizer.tells_colour,
        )

    def begin(self, order: None) -> None:
        pass

    def do(self, items: Sequence[FarPhoto]) -> list[tuple[int, list[Prediction]]]:
        photos = [Item(photo.path, photo.name, photo.source) for photo in items]
        answers: list[list[Prediction]] = []
        with self._one:
            for prediction in (seen.prediction for seen in self._recognizer.recognize_fully(photos)):
                if prediction.vehicle in (None, 1):  # the first of a photo
                    answers.append([])
                answers[-1].append(prediction)
        return list(enumerate(answers))


class FarRecognizer:
    """As `CarRecognizer`, as far as `Naming` asks: answers come from the workers of a cluster, in order."""

    reads_here = False
    hide = None  # of pictures, which none come back of

    def __init__(self, crew: Crew, detections: Detections | None = None):
        facts: Facts = crew.load()
        self._crew, self.detections = crew, detections
        self.settings, self.found_by = facts.settings, facts.found_by
        self.every_vehicle, self.trained_on, self.levels = facts.every_vehicle, facts.trained_on, facts.levels
        self.tells_colour = facts.tells_colour

    def recognize_fully(self, photos: Iterable[Item], pictures: bool = False) -> Iterator[Recognition]:
        """As of `CarRecognizer`, without probabilities and pictures. A photo that kills its worker is an error."""
        items = (FarPhoto(item.name, _findable(str(item.given)), item.source) for item in photos)
        for _, answers in self._crew.run(items, None, _killed, ordered=True):
            for prediction in answers:
                yield Recognition(prediction)


def _killed(photo: FarPhoto) -> list[Prediction]:
    return [Prediction(photo.name, ERROR, reason=KILLED)]


def _findable(path: str) -> str:
    return path if scheme_of(path) else os.path.abspath(path)
