"""Raw photo to make and model: detector, cut-out and classifier chained over a stream of photos."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from carclf.classifier.colour.reader import ColourReader
from carclf.classifier.contract import Classifier
from carclf.recognition.answers import Answers
from carclf.recognition.chain.cutter import DETECTOR_BATCH, Cutter
from carclf.recognition.chain.hidden import shown_pictures
from carclf.recognition.chain.item import Item, batches
from carclf.recognition.loading import load_models
from carclf.recognition.photo import is_photo
from carclf.recognition.prediction import ERROR, Prediction, Predictions, Recognition
from detection.common.errors import UsageError, brief
from detection.common.machine import MOST_SIDE_BY_SIDE, opencv_in_one_thread, usable_cores
from detection.common.places.address import without_secrets
from detection.common.places.ahead import fetched_ahead
from detection.common.places.paths import path_of
from detection.common.stream import read_ahead, side_by_side, try_batch
from detection.detectors.contract import CarChecker, Detector
from detection.detectors.finder import VehicleFinder, check_of, split_kinds, wanted_kinds, with_rule

if TYPE_CHECKING:
    from carclf.classifier.tta.views import TtaConfig
    from carclf.recognition.photo import Photo
    from detection.folder.out.detections import Detections
    from detection.publishing.hiding.cover import HideStyle


class CarRecognizer:
    """Names the main car of a photo: `CarRecognizer()("photo.jpg").label`.

    model: `bundled`, a run folder, a .safetensors file, or a loaded `Classifier`.
    detector: a detector's name or a loaded one; None takes the one that the classifier's file names, as the
        classifier was trained on its cut-outs.
    crops: the photos are cut out already, so no detector is used.
    tta: how many views of each cut-out are averaged, see `carclf.classifier.tta.network`.
    threshold: the least confidence of a class, 0 to 1; less is `unknown`. None takes the model's own, or its levels.
    levels: whether the answer is the deepest level (class, model, make) that is sure; None: where the model knows
        levels, and no threshold is given. sure: the share of right answers that is asked for then; None: 0.98.
    only: the classes, models and makes that there can be, as a list, a text with commas or a file; None: all.
    colour: whether the colour of the paint is told, too; not of photos that are cut out already, which have no mask.
    hide: what is hidden in pictures of the photos, such as `plates`, or a `HideStyle`; what was found is `private` of
        each prediction. The classifier sees the cars as they are.
    every_vehicle: names all vehicles of a photo, the main one first, each in a prediction of its own.
    detections: what a detector has found in these photos before, see `detection.folder.out.detections`; then no
        detector is used.
    check: whether what was found must look like a car to `detection.detectors.check.car_check`, or a loaded check.
        None: only where the compact detector found it.
    turned: with a check, photos in which nothing sure stands upright are looked at turned, too; not with `detections`.
    small: whether parts of each photo are looked at, too, for small vehicles, which takes five times as long; None:
        with `every_vehicle`.
    kinds: of vehicle, such as `car,truck`; others are passed over. None takes cars, `all` every kind that is known.
    runtime: the engine, `auto`, `onnx` or `torch`, of what is loaded here: see `detection.detectors.load`.
    threads: that each network computes in where ONNX Runtime runs it; None: one per core, which is best for one photo
        at a time. With fewer, as many photos as keep all cores busy are looked at side by side: 1 is best for many.
    Raises `UsageError` when a model can't be found or loaded.
    """

    reads_here = True  # and not on another machine

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
        check: CarChecker | bool | None = None,
        turned: bool = True,
        kinds: Sequence[str] | str | None = None,
        runtime: str = "auto",
        threads: int | None = None,
        small: bool | None = None,
        levels: bool | None = None,
        sure: float | None = None,
        only: Sequence[str] | str | None = None,
        colour: bool = True,
        hide: HideStyle | str | None = None,
    ):
        if batch_size < 1:
            raise UsageError("top and batch_size must be 1 or more.")
        if crops and (every_vehicle or detections):
            raise UsageError("Photos that are cut out already show one vehicle each: no detections are needed.")
        self.name = without_secrets(os.fspath(model)) if isinstance(model, (str, os.PathLike)) else ""
        self.detections = detections

        def make_finder(detector: Detector) -> VehicleFinder:
            return VehicleFinder(detector, check, turned=turned, closer=every_vehicle if small is None else small)

        finds = not crops and detections is None
        model, self.finder = load_models(model, detector, make_finder if finds else None, device, runtime, threads)
        self.classifier = model
        self.answers = Answers(model, top, threshold, levels, sure, only)
        self.tells_colour = colour and not crops  # of each vehicle's paint
        self.kinds: tuple[str, ...] = ()
        if self.finder is not None:
            self.kinds = wanted_kinds(split_kinds(kinds), self.finder.name, self.finder.kinds)
        elif detections is not None:
            self.kinds = wanted_kinds(split_kinds(kinds), detections.detector, detections.kinds)
        self._cut = Cutter(
            model.style,
            self.finder,
            detections,
            None if detections is None else check_of(detections.detector, check),
            self.kinds,
            every_vehicle,
            ColourReader.load() if self.tells_colour else None,
        )
        self.crops = crops
        if isinstance(hide, str):
            from detection.publishing.hiding.cover import hide_style

            hide = hide_style(hide)
        self.hide = hide
        self.top = self.answers.top
        self.batch_size = batch_size
        self.tta = _tta(tta)
        self.every_vehicle = every_vehicle
        self.workers = workers or min(4, usable_cores())
        # How many photos are looked at at a time, each in a thread; of 1, they go in batches. A check of one's own is
        # asked by one thread.
        own = self.finder is None and check is not None and not isinstance(check, bool)
        self.side_by_side = min(
            model.side_by_side, 1 if own else MOST_SIDE_BY_SIDE if self.finder is None else self.finder.side_by_side
        )

    @property
    def detector(self) -> Detector | None:
        """What finds the vehicles; None where the photos are cut out already, or were looked at before."""
        return None if self.finder is None else self.finder.detector

    @property
    def threshold(self) -> float:
        """The least confidence of a class; with levels each level has its own."""
        return self.answers.threshold

    @property
    def levels(self) -> bool:
        """Whether answers may be models and makes, too, and rows say so."""
        return bool(self.answers.levels)

    @property
    def trained_on(self) -> str | None:
        """The detector whose cut-outs the classifier was trained on; None where its file does not say."""
        return self.classifier.detector

    @property
    def found_by(self) -> tuple[str | None, tuple[str, ...]]:
        """The fingerprint of what finds the vehicles, None where nothing does; and what version 0.4.0 called it."""
        if self.finder is not None:
            # Whether it looks closer stands in the settings under the name that a user knows.
            whole = with_rule(self.finder.fingerprint, self.finder.check is not None, closer=False)
            return whole, self.finder.older_fingerprints
        return (None, ()) if self.detections is None else (self.detections.fingerprint, ())

    @property
    def settings(self) -> dict[str, Any]:
        """What answers depend on, by the names that a user knows it by."""
        settings: dict[str, Any] = {
            "model": self.classifier.fingerprint,
            "detector": self.found_by[0],
            "threshold": self.threshold,
            "tta": self.tta.model_dump() if self.tta else None,
            "top": self.top,
            "every-vehicle": self.every_vehicle,
            **self.answers.settings,
            "hide": self._hide_settings(),
        }
        if self.kinds:
            settings["kinds"] = list(self.kinds)
        if self.finder is not None and self.finder.closer != self.every_vehicle:
            settings["small"] = self.finder.closer
        return settings

    @property
    def check(self) -> CarChecker | None:
        """What must take them for cars, too; None where nothing does."""
        return self._cut.check if self.finder is None else self.finder.check

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
        """Yields exactly one `Prediction` per photo, in order; memory stays bounded however many there are.

        With `every_vehicle` several of them, one after the other, and one for a photo without any vehicle.
        """
        for recognition in self.recognize_fully(photos):
            yield recognition.prediction

    def embed(self, photos: Photo | Iterable[Photo]) -> np.ndarray:
        """A vector of each photo's car, near each other for cars that look alike: see `Classifier.predict_and_embed`.

        One photo gives float32 [F], of length 1. Many give float32 [N, F], in their order (with `every_vehicle` a row
        per vehicle). Where no car was found or the photo can't be read, all values are NaN. Raises `UsageError` for a
        classifier that gives no vectors.
        """
        one = is_photo(photos)
        given = [photos] if is_photo(photos) else photos
        seen = [found.vector for found in self.recognize_fully(given, vectors=True)]
        nothing = np.full(self.classifier.predict_and_embed([])[1].shape[1], np.nan, np.float32)
        rows = [nothing if vector is None else vector for vector in seen]
        table = np.stack(rows) if rows else np.empty((0, len(nothing)), np.float32)
        return table[0] if one and not self.every_vehicle else table

    def recognize_fully(
        self, photos: Iterable[Photo | Item], pictures: bool = False, vectors: bool = False
    ) -> Iterator[Recognition]:
        """As `recognize`, with the probabilities, in the order of `classes`.

        pictures: with the photo, the cut-out and the vehicle's mask, too. vectors: with a vector of each, too; raises
        `UsageError` for a classifier that gives none.
        """
        if vectors:
            self.classifier.predict_and_embed([])
        items = self._read(photos, pictures, vectors)
        for item in self._name(items) if self.side_by_side == 1 else self._name_side_by_side(items):
            yield self._recognition(item)

    def _name(self, items: Iterable[Item]) -> Iterator[Item]:
        return self._classify(self._cut(items))

    def _name_side_by_side(self, items: Iterator[Item]) -> Iterator[Item]:
        """Several photos at a time, each by itself through the whole chain; in their order, and in bounded memory."""
        first = list(islice(items, 2))
        if len(first) < 2:  # as the service asks
            yield from self._name(first)
            return
        with opencv_in_one_thread():
            for named in side_by_side(lambda item: list(self._name([item])), chain(first, items), self.side_by_side):
                yield from named

    def _read(self, photos: Iterable[Photo | Item], pictures: bool, vectors: bool) -> Iterator[Item]:
        """Loads ahead in threads: decoding releases the interpreter's lock, and the models need not wait for it."""
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="carclf-read")

        def items() -> Iterator[Item]:
            known = isinstance(photos, Sequence) and any(isinstance(photo, str) for photo in photos)
            for photo in fetched_ahead(photos, _path) if known else photos:
                item = photo if isinstance(photo, Item) else Item.of(photo)
                item.pictures, item.embed = pictures, vectors
                item.hide = item.hide or self.hide
                yield item

        try:
            yield from read_ahead(Item.read, items(), pool, self.workers, DETECTOR_BATCH)
        finally:
            pool.shutdown(cancel_futures=True)

    def _classify(self, items: Iterable[Item]) -> Iterator[Item]:
        """Pools the cut-outs of several photos, so that photos without a car leave no holes in the batches."""
        for batch in batches(items, self.batch_size):
            whole = [item for item in batch if item.cutout is not None]
            embed = any(item.embed for item in whole)
            rows = try_batch(
                partial(self._look, embed=embed), [item.cutout for item in batch if item.cutout is not None]
            )
            for item, row in zip(whole, rows, strict=True):
                if isinstance(row, Exception):
                    item.fail(ERROR, f"the classifier failed: {brief(row)}")
                else:
                    item.answer(*(np.asarray(part, dtype=np.float32) for part in row))
            yield from batch

    def _look(self, crops: Sequence[np.ndarray], embed: bool) -> list[tuple[np.ndarray, ...]]:
        """Of each crop the probabilities, and the vector where it is wanted."""
        look = self.classifier.predict_and_embed if embed else self.classifier.predict
        found = look(crops, batch_size=self.batch_size, tta=self.tta)
        return list(zip(*found, strict=True)) if isinstance(found, tuple) else [(row,) for row in found]

    def _hide_settings(self) -> dict[str, Any] | None:
        if self.hide is None:
            return None
        from detection.publishing.hiding.private import hide_settings  # most runs hide nothing

        return hide_settings(self.hide)

    def _recognition(self, item: Item) -> Recognition:
        photo, cutout = shown_pictures(item)
        return Recognition(
            self._prediction(item),
            self.answers.limited(item.probabilities),
            item.brightness,
            item.size if any(item.size) else None,
            item.others,
            item.vector,
            photo=photo,
            cutout=cutout,
            vehicle=item.vehicle if item.pictures else None,
        )

    def _prediction(self, item: Item) -> Prediction:
        plain = Prediction(
            item.name,
            item.status,
            box=item.box,
            reason=item.reason,
            vehicle=item.rank,
            kind=item.kind,
            private=item.private,
        )
        if item.colour is not None:
            plain = replace(plain, colour=item.colour.word, colour_confidence=item.colour.confidence)
        return plain if item.probabilities is None else self.answers.complete(plain, item.probabilities)


def _tta(tta: TtaConfig | str | int | bool | None) -> TtaConfig | None:
    """None for a single look: a classifier need not know of others."""
    if not tta:
        return None
    from carclf.classifier.tta.views import TtaConfig

    config = TtaConfig.of(tta)
    return config if config.passes > 1 else None


def _path(photo: Photo | Item) -> Path:
    return path_of(photo) if isinstance(photo, str) else Path()
