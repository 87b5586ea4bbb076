"""Raw photo to make and model: detector, cut-out and classifier chained over a stream of photos."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from detection.batches import try_batch
from detection.errors import UsageError
from detection.extract import detector_view, extract, shrink_crop
from detection.images import ImageError, load_image
from detection.vehicle import MainChoice, rank_vehicles

if TYPE_CHECKING:
    import pandas

    from carclf.classifier import Classifier
    from carclf.tta import TtaConfig

Photo = str | os.PathLike | np.ndarray

DETECTOR_BATCH = 8
BATCH_PIXELS = 24_000_000  # a batch is closed early at this size, so memory does not grow with the photos
# Photos are read ahead as far as this many pixels hold them: they are cut at full size, as the crops for training are.
READ_PIXELS = 64_000_000
# The classifier looks at a few hundred pixels a side: what a larger crop holds beyond this is lost on it anyway, but
# one of 60 megapixels would keep 180 MB while it waits for its batch.
CROP_PIXELS = 8_000_000


@dataclass(frozen=True)
class Prediction:
    """What is known of one photo.

    `status` is `ok`, `no_car`, `unreadable` or `error`; `label` and `confidence` are None unless it is `ok`.
    `top` holds (label, probability), best first. `box` is x1, y1, x2, y2 in pixels of the photo as it is seen,
    EXIF turned. `reason` says why a photo has no label, or that two vehicles were equally prominent.
    """

    file: str
    status: str
    label: str | None = None
    confidence: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    box: tuple[float, float, float, float] | None = None
    reason: str = ""

    def row(self) -> dict:
        """The same as plain lists and numbers: file, status, label, confidence, top, box, reason."""
        plain = asdict(self)
        return plain | {
            "top": [list(pair) for pair in self.top],
            "box": None if self.box is None else list(self.box),
        }


@dataclass(slots=True)
class _Item:
    """One photo on its way; `pixels` (RGB uint8) is the photo, later its cut-out, and None once it has failed.

    `size` is (height, width) of the photo as it was loaded.
    """

    file: str
    pixels: np.ndarray | None = None
    size: tuple[int, int] = (0, 0)
    status: str = "ok"
    reason: str = ""
    box: tuple[float, float, float, float] | None = None
    probabilities: np.ndarray | None = None

    def fail(self, status: str, reason: str) -> None:
        self.pixels, self.status, self.reason = None, status, reason


class CarRecognizer:
    """Names the main car of a photo: `CarRecognizer()("photo.jpg").label`.

    model: `bundled`, a run folder, a .safetensors file, or a loaded `Classifier`.
    detector: a detector's name or a loaded one; None takes the one that the classifier's file names, as the
        classifier was trained on its cut-outs.
    crops: the photos are cut out already, so no detector is used.
    tta: how many views of each cut-out are averaged, see `carclf.tta`.
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
    ):
        if top < 1 or batch_size < 1:
            raise UsageError("top and batch_size must be 1 or more.")
        self.name = os.fspath(model) if isinstance(model, (str, os.PathLike)) else ""
        if isinstance(model, (str, os.PathLike)):
            from carclf.models import load_classifier

            model = load_classifier(os.fspath(model), device)
        self.classifier = model
        self.detector = None
        if not crops:
            self.detector = _load_detector(detector or model.detector or "compact", device)
        self.top = min(top, len(model.classes))
        self.batch_size = batch_size
        self.tta = _tta(tta)
        self.workers = workers or min(4, os.cpu_count() or 1)

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.classifier.classes)

    def __call__(self, photos: Photo | Sequence[Photo]) -> Prediction | list[Prediction]:
        """Takes a path, an RGB uint8 HxWx3 array, or a list of them; a list gives a list in the same order."""
        if isinstance(photos, (str, os.PathLike, np.ndarray)):
            return next(self.recognize([photos]))
        return list(self.recognize(photos))

    def recognize(self, photos: Iterable[Photo]) -> Iterator[Prediction]:
        """Yields exactly one `Prediction` a photo, in order; memory stays bounded however many there are."""
        for prediction, _ in self.recognize_fully(photos):
            yield prediction

    def recognize_fully(self, photos: Iterable[Photo]) -> Iterator[tuple[Prediction, np.ndarray | None]]:
        """As `recognize`, with the probabilities (float32, one a class in the order of `classes`) or None."""
        items = self._read(photos)
        items = _as_crops(items) if self.detector is None else self._cut(items)
        for item in self._classify(items):
            yield self._prediction(item), item.probabilities

    def _read(self, photos: Iterable[Photo]) -> Iterator[_Item]:
        """Loads ahead in threads: decoding releases the interpreter's lock, and the models need not wait for it."""
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="carclf-read")
        waiting = deque()
        largest = 1
        try:
            for photo in photos:
                waiting.append(pool.submit(_load, photo))
                # As many as fit if all are as large as the largest so far: a photo's size is known too late.
                while len(waiting) > max(self.workers, min(DETECTOR_BATCH, READ_PIXELS // largest)):
                    item = waiting.popleft().result()
                    largest = max(largest, item.size[0] * item.size[1])
                    yield item
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _cut(self, items: Iterable[_Item]) -> Iterator[_Item]:
        for batch in _batches(items, DETECTOR_BATCH):
            whole = [item for item in batch if item.pixels is not None]
            small = [detector_view(item.pixels) for item in whole]
            found = try_batch(self.detector.detect, small)
            for item, image, vehicles in zip(whole, small, found, strict=True):
                if isinstance(vehicles, Exception):
                    item.fail("error", f"the detector failed: {_brief(vehicles)}")
                    continue
                try:
                    self._cut_one(item, rank_vehicles(vehicles, image.shape[:2]), image.shape[:2])
                except Exception as error:  # one odd photo costs one row, never the run
                    item.fail("error", f"the cut-out failed: {_brief(error)}")
            yield from batch

    def _cut_one(self, item: _Item, choice: MainChoice, detected: tuple[int, int]) -> None:
        """`choice` is in pixels of the photo as it was detected, at the size `detected` (height, width)."""
        if choice.main is None:
            item.fail("no_car", "no vehicle found in the photo")
            return
        if choice.tie:
            other = [round(value) for value in _scaled(choice.runners_up[0].box, detected, item.size)]
            item.reason = f"two vehicles are about equally prominent; the other one is at {other}"
        crop, vehicle = extract(item.pixels, choice.main, self.classifier.style)
        item.box = tuple(round(float(value), 1) for value in vehicle.box)
        item.pixels = _opaque(_limited(crop))

    def _classify(self, items: Iterable[_Item]) -> Iterator[_Item]:
        """Pools the cut-outs of several photos, so that photos without a car leave no holes in the batches."""
        settings = {"batch_size": self.batch_size} | ({"tta": self.tta} if self.tta else {})
        for batch in _batches(items, self.batch_size):
            whole = [item for item in batch if item.pixels is not None]
            rows = try_batch(
                lambda crops: self.classifier.predict(crops, **settings),
                [item.pixels for item in whole],
            )
            for item, row in zip(whole, rows, strict=True):
                if isinstance(row, Exception):
                    item.fail("error", f"the classifier failed: {_brief(row)}")
                else:
                    item.pixels, item.probabilities = None, np.asarray(row, dtype=np.float32)
            yield from batch

    def _prediction(self, item: _Item) -> Prediction:
        if item.probabilities is None:
            return Prediction(item.file, item.status, box=item.box, reason=item.reason)
        best = np.argsort(-item.probabilities, kind="stable")[: self.top]
        top = tuple((self.classifier.classes[i], round(float(item.probabilities[i]), 6)) for i in best)
        return Prediction(item.file, "ok", top[0][0], top[0][1], top, item.box, item.reason)


def evaluate_chain(recognizer: CarRecognizer, table: pandas.DataFrame, output: Path, track=None) -> dict:
    """Recognizes every file of a table (file, label) and writes `carclf.evaluation`'s figures into a folder.

    A report.html shows them; the model and the time that it took are in metrics.json too. It is the very chain of
    prediction. Photos without an answer count as wrong. `track` wraps the stream of results, for a progress bar.
    Raises `UsageError` for labels that the model does not know.
    """
    from carclf.evaluation.evaluate import evaluate
    from carclf.report.run_report import write_run_report

    check_labels(sorted(set(table["label"])), recognizer.classes)
    started = time.perf_counter()
    results = recognizer.recognize_fully(list(table["file"]))
    rows = list(track(results) if track else results)
    seconds = time.perf_counter() - started
    nothing = np.full(len(recognizer.classes), np.nan, dtype=np.float32)
    probabilities = np.stack([nothing if row is None else row for _, row in rows])
    answered = table.assign(
        status=[prediction.status for prediction, _ in rows],
        reason=[prediction.reason for prediction, _ in rows],
    )
    about = {
        "model": _about(recognizer),
        "seconds": round(seconds, 2),
        "photos_per_second": round(len(rows) / seconds, 2),
    }
    metrics = evaluate(answered, probabilities, recognizer.classes, Path(output), about)
    write_run_report(Path(output))
    return metrics


def _about(recognizer: CarRecognizer) -> dict:
    """Which model it was, for metrics.json; what a classifier does not say about itself is left out."""
    classifier = recognizer.classifier
    facts = {name: getattr(classifier, name, None) for name in ("architecture", "image_size", "fingerprint")}
    style = getattr(classifier, "style", None)
    facts |= {"background": getattr(style, "background", None), "detector": getattr(recognizer.detector, "name", None)}
    facts["tta"] = recognizer.tta.passes if recognizer.tta else None
    return {"name": recognizer.name or "a loaded model"} | {name: fact for name, fact in facts.items() if fact}


def check_labels(labels: Sequence[str], classes: Sequence[str]) -> None:
    """Raises `UsageError` when the data has labels that the model was not trained on."""
    unknown = [label for label in labels if label not in set(classes)]
    if not unknown:
        return
    some = ", ".join(f"'{label}'" for label in unknown[:5]) + (", ..." if len(unknown) > 5 else "")
    raise UsageError(
        f"{len(unknown)} of the data's {len(labels)} labels are unknown to the model ({some}): its {len(classes)} "
        f"classes are named like '{classes[0]}'; rename the labels, leave them out, or choose another model."
    )


def _tta(tta: TtaConfig | str | int | bool | None) -> TtaConfig | None:
    """None for a single look: a classifier need not know of others."""
    if not tta:
        return None
    from carclf.views import TtaConfig

    config = TtaConfig.of(tta)
    return config if config.passes > 1 else None


def _load_detector(detector, device: str):
    if not isinstance(detector, (str, os.PathLike)):
        return detector
    from detection.loading import load_detector

    return load_detector(os.fspath(detector), device=device)


def _load(photo: Photo) -> _Item:
    if isinstance(photo, np.ndarray):
        if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or photo.size == 0:
            raise UsageError(
                f"A photo given as an array must be RGB uint8 of height x width x 3, "
                f"not {photo.dtype} of {' x '.join(map(str, photo.shape))}."
            )
        item = _Item("<array>", photo)
    else:
        item = _Item(os.fspath(photo))
        path = Path(photo)
        try:
            if not path.exists():
                raise ImageError("no such file")
            item.pixels = load_image(path)
        except ImageError as error:
            item.fail("unreadable", str(error))
        except Exception as error:
            item.fail("unreadable", _brief(error))
    if item.pixels is not None:
        item.size = item.pixels.shape[:2]
    return item


def _as_crops(items: Iterable[_Item]) -> Iterator[_Item]:
    """Photos that are cut out already."""
    for item in items:
        if item.pixels is not None:
            item.pixels = _limited(item.pixels)
        yield item


def _limited(crop: np.ndarray) -> np.ndarray:
    """A crop of at most `CROP_PIXELS`."""
    height, width = crop.shape[:2]
    if height * width <= CROP_PIXELS:
        return crop
    return shrink_crop(crop, round(max(height, width) * (CROP_PIXELS / (height * width)) ** 0.5))


def _scaled(box: Sequence[float], old: tuple[int, int], new: tuple[int, int]) -> tuple[float, float, float, float]:
    """A box of a photo of one (height, width) in the same photo of another."""
    down, across = new[0] / old[0], new[1] / old[1]
    return tuple(round(float(value) * factor, 1) for value, factor in zip(box, (across, down) * 2, strict=True))


def _opaque(crop: np.ndarray) -> np.ndarray:
    """RGB of a cut-out; what is transparent becomes white, as when its PNG is loaded for training."""
    if crop.shape[2] == 3:
        return crop
    alpha = crop[..., 3:].astype(np.float32) / 255
    return np.round(crop[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)


def _batches(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Closes a batch at `size` photos that are still alive, at `BATCH_PIXELS`, or when failed ones pile up."""
    batch, alive, pixels = [], 0, 0
    for item in items:
        batch.append(item)
        if item.pixels is not None:
            alive += 1
            pixels += item.pixels.shape[0] * item.pixels.shape[1]
        if alive >= size or pixels >= BATCH_PIXELS or len(batch) >= 8 * size:
            yield batch
            batch, alive, pixels = [], 0, 0
    if batch:
        yield batch


def _brief(error: Exception) -> str:
    """The first line of an error, short enough for a row."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
