"""Raw photo to make and model: detector, cut-out and classifier chained over a stream of photos."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from carclf.recognition.item import Item, batches, brief, limited, opaque
from carclf.recognition.photo import is_photo
from carclf.recognition.prediction import ERROR, NO_CAR, OK, UNKNOWN, Prediction, Predictions, Recognition, decide
from detection.common.errors import UsageError
from detection.common.machine import usable_cores
from detection.common.stream import read_ahead, try_batch
from detection.cutout.extract import detector_view, extract
from detection.detectors.car_check import WEAK_SCORE, car_view
from detection.detectors.onnx.folder import is_export
from detection.images.exposure import expose
from detection.vehicle import MainChoice, rank_vehicles

if TYPE_CHECKING:
    from carclf.classifier.contract import Classifier
    from carclf.classifier.tta.views import TtaConfig
    from carclf.recognition.photo import Photo
    from detection.detectors.car_check import CarCheck
    from detection.folder.out.detections import Detections
    from detection.vehicle import Vehicle


DETECTOR_BATCH = 8


class CarRecognizer:
    """Names the main car of a photo: `CarRecognizer()("photo.jpg").label`.

    model: `bundled`, a run folder, a .safetensors file, or a loaded `Classifier`.
    detector: a detector's name or a loaded one; None takes the one that the classifier's file names, as the
        classifier was trained on its cut-outs.
    crops: the photos are cut out already, so no detector is used.
    tta: how many views of each cut-out are averaged, see `carclf.classifier.tta.network`.
    threshold: the least confidence of an answer, 0 to 1; less is `unknown`. None takes the model's own.
    every_vehicle: names all vehicles of a photo, the main one first, each in a prediction of its own.
    detections: what a detector has found in these photos before, see `detection.folder.out.detections`; then no
        detector is used.
    check: whether what was found must look like a car to `detection.detectors.car_check`, or a loaded check. None:
        only where the compact detector found it, which knows no other kinds of vehicle.
    Raises `UsageError` when a model can't be found or loaded.
    """

    def __init__(
        self,
        model: str | os.PathLike | Classifier = "bundled",
        detector=None,
        device: str = "auto",
        top: int = 5,
        batch_size: int = 32,
        workers: int | None = None,
        crops: bool = False,
        tta: TtaConfig | str | int | bool | None = None,
        threshold: float | None = None,
        every_vehicle: bool = False,
        detections: Detections | None = None,
        check: CarCheck | bool | None = None,
    ):
        if top < 1 or batch_size < 1:
            raise UsageError("top and batch_size must be 1 or more.")
        if threshold is not None and not 0 <= threshold <= 1:
            raise UsageError(f"The threshold is a confidence from 0 to 1, not {threshold}.")
        if crops and (every_vehicle or detections):
            raise UsageError("Photos that are cut out already show one vehicle each: no detections are needed.")
        self.name = os.fspath(model) if isinstance(model, (str, os.PathLike)) else ""
        if isinstance(model, (str, os.PathLike)):
            from carclf.classifier.catalogue import load_classifier

            model = load_classifier(os.fspath(model), device)
        self.classifier = model
        self.detector = None
        self.detections = detections
        if not crops and detections is None:
            self.detector = _load_detector(detector or model.detector or "compact", device)
        # Vehicles of a lower score count only where nothing else was found, and the check agrees.
        self.sure = getattr(self.detector, "own_threshold", None) or 0.0
        self.crops = crops
        self.check = None if crops else _load_check(check, self.detector or detections, device)
        self.top = min(top, len(model.classes))
        self.batch_size = batch_size
        self.tta = _tta(tta)
        self.threshold = float(getattr(model, "threshold", 0.0) if threshold is None else threshold)
        self.every_vehicle = every_vehicle
        self.workers = workers or min(4, usable_cores())

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.classifier.classes)

    def __call__(self, photos: Photo | Iterable[Photo]) -> Prediction | Predictions:
        """Takes a path, the bytes of a file, a Pillow image or an RGB uint8 HxWx3 array, or many of them.

        One photo gives a `Prediction`, with `every_vehicle` and for many photos it is `Predictions`, in their order.
        """
        if is_photo(photos):
            found = Predictions(self.recognize([photos]))
            return found if self.every_vehicle else found[0]
        return Predictions(self.recognize(photos))

    def recognize(self, photos: Iterable[Photo]) -> Iterator[Prediction]:
        """Yields exactly one `Prediction` a photo, in order; memory stays bounded however many there are.

        With `every_vehicle` several of them, one after the other, and one for a photo without any vehicle.
        """
        for recognition in self.recognize_fully(photos):
            yield recognition.prediction

    def recognize_fully(self, photos: Iterable[Photo | Item], pictures: bool = False) -> Iterator[Recognition]:
        """As `recognize`, with the probabilities, in the order of `classes`.

        pictures: with the photo, the cut-out and the vehicle's mask, too.
        """
        items = self._read(photos, pictures)
        items = _as_crops(items) if self.crops else self._cut(items)
        for item in self._classify(items):
            yield self._recognition(item)

    def _read(self, photos: Iterable[Photo | Item], pictures: bool) -> Iterator[Item]:
        """Loads ahead in threads: decoding releases the interpreter's lock, and the models need not wait for it."""
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="carclf-read")

        def items() -> Iterator[Item]:
            for photo in photos:
                item = photo if isinstance(photo, Item) else Item.of(photo)
                item.pictures = pictures
                yield item

        try:
            yield from read_ahead(Item.read, items(), pool, self.workers, DETECTOR_BATCH)
        finally:
            pool.shutdown(cancel_futures=True)

    def _cut(self, items: Iterable[Item]) -> Iterator[Item]:
        for batch in batches(items, DETECTOR_BATCH):
            whole = [item for item in batch if item.photo is not None]
            # What is dark is looked at as bright as the models know it, by both of them.
            bright = [expose(item.photo) for item in whole]
            small = [detector_view(photo) for photo in bright]
            seen = iter(zip(bright, small, self._find(whole, small), strict=True))
            for item in batch:
                if item.photo is None:
                    yield item
                else:
                    yield from self._cut_photo(item, *next(seen))

    def _find(self, items: list[Item], small: list[np.ndarray]) -> list[list[Vehicle] | Exception]:
        if self.detections is None:
            return try_batch(self.detector.detect, small)
        return try_batch(lambda some: [item.vehicles_of(self.detections) for item in some], items)

    def _cut_photo(
        self, item: Item, bright: np.ndarray, small: np.ndarray, found: list[Vehicle] | Exception
    ) -> Iterator[Item]:
        """The item of each vehicle that is to be named, at least one."""
        if isinstance(found, Exception):
            item.fail(ERROR, f"the detector failed: {brief(found)}")
            yield item
            return
        try:
            size = found[0].mask.shape if found else small.shape[:2]
            sure = [vehicle for vehicle in found if vehicle.score >= self.sure]
            # Of unsure ones the best, not the largest; they come in the order of their scores.
            choice = rank_vehicles(sure or (found[:1] if self.check else []), size)
            item.weak = not sure
        except Exception as error:  # one odd photo costs one row, never the run
            item.fail(ERROR, f"the detector failed: {brief(error)}")
            yield item
            return
        if choice.main is None:
            item.fail(NO_CAR, "no vehicle found in the photo")
            yield item
            return
        if not self.every_vehicle:
            self._cut_vehicle(item, bright, choice.main, _tie(choice, size, item.size))
            yield item
            return
        for rank, vehicle in enumerate((choice.main, *choice.runners_up), start=1):
            one = item.sibling(rank)
            self._cut_vehicle(one, bright, vehicle, "")
            yield one

    def _cut_vehicle(self, item: Item, bright: np.ndarray, vehicle: Vehicle, note: str) -> None:
        try:
            crop, vehicle = extract(bright, vehicle, self.classifier.style)
        except Exception as error:
            item.fail(ERROR, f"the cut-out failed: {brief(error)}")
            return
        item.reason = note
        item.box = tuple(round(float(value), 1) for value in vehicle.box)
        if self.check is not None:
            item.view = car_view(bright, vehicle.box)
        item.cut(limited(opaque(crop)), vehicle)

    def _classify(self, items: Iterable[Item]) -> Iterator[Item]:
        """Pools the cut-outs of several photos, so that photos without a car leave no holes in the batches."""
        settings = {"batch_size": self.batch_size} | ({"tta": self.tta} if self.tta else {})
        for batch in batches(items, self.batch_size):
            self._check([item for item in batch if item.view is not None])
            whole = [item for item in batch if item.cutout is not None]
            rows = try_batch(
                lambda crops: self.classifier.predict(crops, **settings),
                [item.cutout for item in whole],
            )
            for item, row in zip(whole, rows, strict=True):
                if isinstance(row, Exception):
                    item.fail(ERROR, f"the classifier failed: {brief(row)}")
                else:
                    item.answer(np.asarray(row, dtype=np.float32))
            yield from batch

    def _check(self, items: list[Item]) -> None:
        """What does not look like a car is none."""
        looks = try_batch(lambda views: self.check.look(views), [item.view for item in items])
        for item, look in zip(items, looks, strict=True):
            item.view = None
            if isinstance(look, Exception):
                item.fail(ERROR, f"the check of the car failed: {brief(look)}")
            elif not look.is_car(item.weak):
                item.box = None
                item.fail(NO_CAR, f"what was found looks like something else ({look.other}), not like a car")

    def _recognition(self, item: Item) -> Recognition:
        seen = {"brightness": item.brightness}
        if item.pictures:
            seen |= {"photo": item.photo, "cutout": item.cutout, "vehicle": item.vehicle}
        common = {"file": item.name, "box": item.box, "reason": item.reason, "vehicle": item.rank}
        if item.probabilities is None:
            return Recognition(Prediction(status=item.status, **common), **seen)
        status, first = decide(item.probabilities, self.threshold)
        best = np.argsort(-item.probabilities, kind="stable")[: self.top]
        top = tuple((self.classifier.classes[i], round(float(item.probabilities[i]), 6)) for i in best)
        confidence = top[0][1]
        if status == UNKNOWN:
            unsure = f"not one of the {len(self.classes)} classes, or too unsure: {confidence:.0%} for {top[0][0]}"
            common["reason"] = "; ".join(part for part in (unsure, item.reason) if part)
        label = self.classifier.classes[first] if status == OK else None
        prediction = Prediction(status=status, label=label, confidence=confidence, top=top, **common)
        return Recognition(prediction, item.probabilities, **seen)


def _tie(choice: MainChoice, detected: tuple[int, int], size: tuple[int, int]) -> str:
    if not choice.tie:
        return ""
    other = [round(value) for value in _scaled(choice.runners_up[0].box, detected, size)]
    return f"two vehicles are about equally prominent; the other one is at {other}"


def _scaled(box, old: tuple[int, int], new: tuple[int, int]) -> tuple[float, float, float, float]:
    """A box of a photo of one (height, width) in the same photo of another."""
    down, across = new[0] / old[0], new[1] / old[1]
    return tuple(round(float(value) * factor, 1) for value, factor in zip(box, (across, down) * 2, strict=True))


def _tta(tta: TtaConfig | str | int | bool | None) -> TtaConfig | None:
    """None for a single look: a classifier need not know of others."""
    if not tta:
        return None
    from carclf.classifier.tta.views import TtaConfig

    config = TtaConfig.of(tta)
    return config if config.passes > 1 else None


def _load_detector(detector, device: str):
    if not isinstance(detector, (str, os.PathLike)):
        return detector
    from detection.detectors.load import load_detector

    name = os.fspath(detector)
    unsure = WEAK_SCORE if name == "compact" or is_export(name) else None
    return load_detector(name, device=device, score_threshold=unsure)


def _load_check(check: CarCheck | bool | None, finder, device: str) -> CarCheck | None:
    if check is None:
        names = (getattr(finder, name, "") for name in ("name", "detector"))
        check = "compact" in names
    if check is True and hasattr(finder, "car_check"):
        return finder.car_check()
    if check is True:
        from detection.common.device import choose_device
        from detection.detectors.car_check import CarCheck

        return CarCheck(choose_device(device))
    return check or None


def _as_crops(items: Iterable[Item]) -> Iterator[Item]:
    """Photos that are cut out already."""
    for item in items:
        if item.photo is not None:
            item.cut(limited(expose(item.photo)), None)
        yield item
