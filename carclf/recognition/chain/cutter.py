"""From photos to cut-outs: what counts in each photo, and the part of it that the classifier sees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from carclf.recognition.chain.hidden import hidden_cutout, hidden_view, look_for_private
from carclf.recognition.chain.item import Item, batches, limited, opaque
from carclf.recognition.prediction import ERROR, NO_CAR
from detection.common.errors import brief
from detection.cutout.extract import detector_view, extract
from detection.detectors.finder import CheckError, Finding, VehicleFinder, apply_rule
from detection.images.exposure import expose
from detection.vehicle import MainChoice

if TYPE_CHECKING:
    from carclf.classifier.colour.reader import ColourReader
    from detection.cutout.cut import CutoutStyle
    from detection.detectors.contract import CarChecker
    from detection.folder.out.detections import Detections
    from detection.vehicle import Vehicle


DETECTOR_BATCH = 8


@dataclass(frozen=True)
class Cutter:
    """Cuts the vehicles out of photos, in a style.

    finder: what finds them; None takes them from `detections`, where `check` is asked about those that it has not seen;
    without both, the photos are cut out already. kinds, every_vehicle: which of them are wanted. paint: tells their
    colour.
    """

    style: CutoutStyle
    finder: VehicleFinder | None = None
    detections: Detections | None = None
    check: CarChecker | None = None
    kinds: tuple[str, ...] = ()
    every_vehicle: bool = False
    paint: ColourReader | None = None

    def __call__(self, items: Iterable[Item]) -> Iterator[Item]:
        """The item of each vehicle that is to be named, at least one per photo, in order."""
        return _as_crops(items) if self.finder is None and self.detections is None else self._cut(items)

    def _cut(self, items: Iterable[Item]) -> Iterator[Item]:
        for batch in batches(items, DETECTOR_BATCH):
            whole = [item for item in batch if item.photo is not None]
            seen = iter(self._find(whole))
            for item in batch:
                if item.photo is None:
                    yield item
                else:
                    yield from self._cut_photo(item, next(seen))

    def _find(self, items: list[Item]) -> list[Finding | Exception]:
        """What counts in each photo."""
        if self.finder is not None:
            seen = [_view(item) for item in items]
            # What is private may be on any vehicle.
            whole = self.every_vehicle or any(item.hide is not None for item in items)
            found = self.finder.find(seen, whole=whole)
            views = [partial(_same, view) for view in seen]
            return self.finder.decide(views, found, self.kinds, self.every_vehicle)
        assert self.detections is not None
        views = [partial(_view, item) for item in items]
        known = [_known(self.detections, item) for item in items]
        look = None if self.check is None else self.check.look
        return apply_rule(views, known, self.detections.threshold, look, self.kinds, self.every_vehicle)

    def _cut_photo(self, item: Item, finding: Finding | Exception) -> Iterator[Item]:
        look_for_private(item, finding)
        if not item.alive:
            yield item
            return
        if isinstance(finding, Exception):
            checking = isinstance(finding, CheckError)
            item.fail(ERROR, str(finding) if checking else f"the detector failed: {brief(finding)}")
            yield item
            return
        choice = finding.choice
        if choice.main is None:
            told = finding.other or finding.passed
            item.fail(NO_CAR, finding.why_none if told else f"{finding.why_none} in the photo")
            yield item
            return
        assert item.photo is not None  # it was found in it
        bright = expose(item.photo)
        shown = hidden_view(item, bright)
        item.others = len(choice.runners_up)
        if not self.every_vehicle:
            self._cut_vehicle(item, bright, shown, choice.main, _tie(choice, item.size))
            yield item
            return
        for rank, vehicle in enumerate((choice.main, *choice.runners_up), start=1):
            one = item.sibling(rank)
            self._cut_vehicle(one, bright, shown, vehicle, "")
            yield one

    def _cut_vehicle(
        self, item: Item, bright: np.ndarray, shown: np.ndarray | None, vehicle: Vehicle, note: str
    ) -> None:
        """bright, shown: the photo as the classifier is to see it, and as pictures may show it where that differs."""
        try:
            crop, vehicle = extract(bright, vehicle, self.style)
            if shown is not None:
                item.shown = hidden_cutout(shown, vehicle, self.style)
        except Exception as error:
            item.fail(ERROR, f"the cut-out failed: {brief(error)}")
            return
        item.reason = "; ".join(part for part in (vehicle.turn_note, note) if part)
        x1, y1, x2, y2 = (round(float(value), 1) for value in vehicle.box)
        item.box, item.kind = (x1, y1, x2, y2), vehicle.kind
        item.colour = None if self.paint is None else self.paint(bright, vehicle)
        item.cut(limited(opaque(crop)), vehicle)


def _as_crops(items: Iterable[Item]) -> Iterator[Item]:
    """Photos that are cut out already."""
    for item in items:
        look_for_private(item, None)
        if item.photo is not None and item.alive:
            bright = limited(expose(item.photo))
            shown = hidden_view(item, item.photo)
            item.shown = None if shown is None else limited(expose(shown))
            item.cut(bright, None)
        yield item


def _tie(choice: MainChoice, size: tuple[int, int]) -> str:
    if not choice.tie:
        return ""
    runner_up = choice.runners_up[0]
    other = [round(value) for value in _scaled(runner_up.box, runner_up.mask.shape, size)]
    return f"two vehicles are about equally prominent; the other one is at {other}"


def _scaled(box, old: tuple[int, ...], new: tuple[int, int]) -> tuple[float, float, float, float]:
    """A box of a photo of one (height, width) in the same photo of another."""
    down, across = new[0] / old[0], new[1] / old[1]
    x1, y1, x2, y2 = (round(float(value) * factor, 1) for value, factor in zip(box, (across, down) * 2, strict=True))
    return x1, y1, x2, y2


def _known(detections: Detections, item: Item) -> list[Vehicle] | Exception:
    try:
        return detections.find(item.source, item.stamp)
    except Exception as error:
        return error


def _view(item: Item) -> np.ndarray:
    assert item.photo is not None  # photos that could not be read do not come here
    return detector_view(item.photo)


def _same(view: np.ndarray) -> np.ndarray:
    return view
