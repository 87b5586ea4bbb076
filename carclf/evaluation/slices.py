"""How good a classifier is on which kind of photo: the figures slice by slice, each with its number and interval."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import cv2
import numpy as np
import pandas as pd

from carclf.datasets.layouts.lists import VIEW
from carclf.evaluation.cars import car_numbers
from carclf.evaluation.confidence import calibration
from carclf.evaluation.metrics import bootstrap_intervals
from carclf.recognition.prediction import OK, Recognition
from detection.cutout.extract import shrink_crop

SIZES = (112, 160, 224, 320)  # pixels of the longer side that cut-outs are shrunk to
QUALITIES = (30, 60, 90)  # of the JPEG files that cut-outs are made into
SMALL, LARGE = 0.25, 0.5  # shares of the photo that the car's box has
DARK = 0.3  # mean of all values, 0 to 1
BORDER = 0.01  # of the side: a box so near to a border is cut off there
COLUMNS = (
    "slice", "value", "photos", "cars", "accuracy", "accuracy_low", "accuracy_high", "as_is", "top5", "ece", "lost"
)  # fmt: skip
_BATCH = 32
_LARGEST = 1024  # classifiers look at less: a cut-out that waits needs no more

Predict = Callable[[Sequence[np.ndarray]], np.ndarray]
Change = Callable[[np.ndarray], np.ndarray]


@dataclass
class Renderings:
    """What a classifier says of the same cut-outs when they are smaller, or compressed more.

    predict: RGB uint8 crops -> float [N, C]. answers: of (slice, value), the photo's number -> its probabilities.
    """

    predict: Predict
    answers: dict[tuple[str, str], dict[int, np.ndarray]] = field(default_factory=dict)

    def through(self, results: Iterable[Recognition]) -> Iterator[Recognition]:
        """The results without their pictures. Each photo was decoded and searched once; what is seen again is its
        cut-out, where there is one."""
        waiting: list[tuple[int, np.ndarray]] = []
        for number, result in enumerate(results):
            if result.cutout is not None and result.probabilities is not None:
                waiting.append((number, shrink_crop(result.cutout, _LARGEST)))
            if len(waiting) == _BATCH:
                self._see(waiting)
                waiting = []
            yield replace(result, photo=None, cutout=None, vehicle=None)
        if waiting:
            self._see(waiting)

    def _see(self, waiting: Sequence[tuple[int, np.ndarray]]) -> None:
        for key, least, change in _changes():
            # Those that are smaller already would be the same picture again.
            large = [(number, crop) for number, crop in waiting if max(crop.shape[:2]) >= least]
            if large:
                rows = self.predict([change(crop) for _, crop in large])
                known = self.answers.setdefault(key, {})
                known |= {number: row for (number, _), row in zip(large, rows, strict=True)}


def _changes() -> Iterator[tuple[tuple[str, str], int, Change]]:
    """Slice and value, the least longer side of the cut-outs that are in it, and what becomes of them."""
    for side in SIZES:
        yield ("crop size", f"{side} px"), side, partial(shrink_crop, max_side=side)
    for quality in QUALITIES:
        yield ("JPEG quality", str(quality)), 0, partial(recompressed, quality=quality)


def recompressed(image: np.ndarray, quality: int) -> np.ndarray:
    """An RGB uint8 HxWx3 picture after it was a JPEG file of this quality (1 to 100)."""
    data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    again = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return np.ascontiguousarray(again[..., ::-1])


def slice_table(
    table: pd.DataFrame,
    rows: Sequence[Recognition],
    renderings: Renderings,
    classes: Sequence[str],
    threshold: float,
    cars: np.ndarray | None = None,
) -> pd.DataFrame:
    """One row per slice that has photos; the first is of all.

    table: columns file and label, perhaps car and view. rows: what was recognized, in the same order. cars: see
    `evaluate`.
    Columns: slice, value; photos, cars; accuracy with its 95 % interval by cars (`bootstrap_intervals`); as_is, for
    cut-outs that were changed, the accuracy of the same ones unchanged; top5; ece of the photos with an answer (empty
    without any); lost, the share that gets no name. A photo without an answer counts as wrong.
    """
    number = {name: place for place, name in enumerate(classes)}
    truth = np.array([number[label] for label in table["label"]])
    nothing = np.full(len(classes), np.nan)
    seen = np.stack([nothing if row.probabilities is None else row.probabilities for row in rows])
    named = np.array([row.prediction.status == OK for row in rows])
    cars = car_numbers(table) if cars is None else cars
    right = seen.argmax(axis=1) == truth  # a row of NaN is no answer and looked at below
    right &= np.isfinite(seen).all(axis=1)
    lines = [
        {"slice": kind, "value": value} | _figures(truth[inside], seen[inside], named[inside], cars[inside])
        for (kind, value), inside in _kinds(table, rows).items()
        if inside.any()
    ]
    for (kind, value), answers in renderings.answers.items():
        inside = np.array(sorted(answers))
        told = np.stack([answers[one] for one in inside])
        figures = _figures(truth[inside], told, told.max(axis=1) >= threshold, cars[inside])
        lines.append({"slice": kind, "value": value} | figures | {"as_is": round(float(right[inside].mean()), 6)})
    return pd.DataFrame(lines, columns=list(COLUMNS))


def _kinds(table: pd.DataFrame, rows: Sequence[Recognition]) -> dict[tuple[str, str], np.ndarray]:
    """(slice, value) -> bool [N]. A photo of which it is not known, as its car was not found, is in none."""
    kinds = {("all", ""): np.ones(len(rows), bool)}
    if VIEW in table:
        view = table[VIEW].astype(str).str.strip()
        kinds |= {("view", value): (view == value).to_numpy() for value in sorted(set(view) - {""})}
    share = np.array([_share(row) for row in rows])
    kinds["car", f"small, under {SMALL:.0%} of the photo"] = share < SMALL
    kinds["car", "middle"] = (share >= SMALL) & (share <= LARGE)
    kinds["car", f"large, over {LARGE:.0%} of the photo"] = share > LARGE
    light = np.array([np.nan if row.brightness is None else row.brightness for row in rows])
    kinds["light", "dark"] = light < DARK
    kinds["light", "other"] = light >= DARK
    cut = np.array([np.nan if row.prediction.box is None else _cut_off(row) for row in rows])
    kinds["border", "cut off"] = cut == 1
    kinds["border", "whole"] = cut == 0
    others = np.array([np.nan if row.others is None else row.others for row in rows])
    kinds["other vehicles", "near"] = others > 0
    kinds["other vehicles", "none"] = others == 0
    return kinds


def _share(row: Recognition) -> float:
    if row.prediction.box is None or row.size is None:
        return float("nan")
    x1, y1, x2, y2 = row.prediction.box
    return (x2 - x1) * (y2 - y1) / (row.size[0] * row.size[1])


def _cut_off(row: Recognition) -> float:
    if row.prediction.box is None or row.size is None:
        return float("nan")
    x1, y1, x2, y2 = row.prediction.box
    height, width = row.size
    across, down = BORDER * width, BORDER * height
    return float(x1 <= across or y1 <= down or x2 >= width - across or y2 >= height - down)


def _figures(truth: np.ndarray, seen: np.ndarray, named: np.ndarray, cars: np.ndarray) -> dict[str, float]:
    """seen: float [N, C], a row of NaN for a photo without an answer."""
    answered = np.isfinite(seen).all(axis=1)
    classes = seen.shape[1]
    ranked = np.argsort(-np.where(answered[:, None], seen, 0.0), axis=1, kind="stable")
    rank = np.where(answered, (ranked == truth[:, None]).argmax(axis=1), classes)
    top5 = rank < min(5, classes)
    low, high = bootstrap_intervals(truth, np.where(answered, ranked[:, 0], classes), top5, cars=cars)["accuracy"]
    ece = calibration(seen[answered], truth[answered])[0].get("ece", float("nan"))
    figures = {"accuracy": (rank == 0).mean(), "top5": top5.mean(), "ece": ece, "lost": 1 - named.mean()}
    rounded = {name: round(float(value), 6) for name, value in figures.items()}
    return {"photos": len(truth), "cars": len(np.unique(cars)), "accuracy_low": low, "accuracy_high": high} | rounded
