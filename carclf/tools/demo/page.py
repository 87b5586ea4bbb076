"""What the demo's results say, picked and counted for its HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from carclf.recognition.prediction import Prediction
from carclf.runs.report.pages import Figure, duration
from carclf.tools.demo.html import Answer, Page, Pair
from detection.common.machine import usable_cores
from detection.images.read import load_image
from detection.vehicle import box_iou

Box = Sequence[float]
FOUND = 0.5  # a car counts as found when the boxes' intersection over union is at least this
PAIRS, ANSWERS = 8, 12
NO_CAR = "no car"


@dataclass(frozen=True, eq=False)
class Results:
    """Everything that the page is made of.

    manifest: the rows of stage 1 on the training scenes. train_boxes and test_boxes: file -> box of the drawn car.
    epochs: rows of the run's epochs.csv. predictions: for every test photo, also those without a car.
    """

    root: Path
    classes: tuple[str, ...]
    detector: str
    metrics: dict
    manifest: list[dict]
    train_boxes: Mapping[str, Box]
    test_boxes: Mapping[str, Box]
    epochs: list[dict]
    predictions: list[Prediction]
    seconds: dict[str, float]


def make_page(results: Results) -> Page:
    """The page of a demo; its figures are counted here from the rows, none is written in by hand."""
    answers = [_answer(results, prediction) for prediction in results.predictions]
    cars = [answer for answer in answers if answer.truth != NO_CAR]
    empty = [answer for answer in answers if answer.truth == NO_CAR]
    right = sum(answer.right for answer in cars)
    overlaps = _overlaps(results)
    found = sum(overlap >= FOUND for overlap in overlaps)
    total = sum(results.seconds.values())
    refused = sum(answer.right for answer in empty)
    work = f"{usable_cores()} CPU cores; training {duration(results.seconds['train'])}"
    figures = [
        Figure(f"{right / max(1, len(cars)):.1%}", "top-1 accuracy", f"{right} of {len(cars)} raw test photos"),
        Figure(f"{found} of {len(overlaps)}", "cars found", f"mean box overlap (IoU) {np.mean(overlaps):.2f}"),
        Figure(f"{refused} of {len(empty)}", "empty streets left unnamed", "drawn without a car"),
        Figure(duration(total), "from nothing to here", work),
    ]
    return Page(
        title="carclf demo: from a street scene to the shape of its car",
        lead=(
            f"{len(overlaps) + len(empty)} drawn street scenes went through the whole chain: a Detectron2 Mask R-CNN "
            f"('{results.detector}') finds the car, the background is removed, and an EfficientNet learns "
            f"{len(results.classes)} shapes in stages."
        ),
        figures=figures,
        remarks=_remarks(len(overlaps) - found, len(overlaps), len(empty) - refused, len(empty)),
        pairs=_pairs(results),
        epochs=results.epochs,
        classes=results.classes,
        confusion=_confusion(cars, results.classes),
        answers=_pick(cars, empty),
        places=_places(results.root),
        commands=_commands(results.root),
    )


def overlap(a: Box | None, b: Box) -> float:
    """Intersection over union of two boxes x1, y1, x2, y2; 0 for None.

    >>> overlap((0, 0, 2, 2), (1, 0, 3, 2))
    0.3333333333333333
    """
    return 0.0 if a is None else box_iou(a, b)


def _overlaps(results: Results) -> list[float]:
    """Of every drawn car, how well stage 1 found it."""
    boxes = {row["source"]: _box(row) for row in results.manifest}
    train = [overlap(boxes.get(name), box) for name, box in results.train_boxes.items()]
    boxes = {_name(prediction): prediction.box for prediction in results.predictions}
    return train + [overlap(boxes.get(name), box) for name, box in results.test_boxes.items()]


def _box(row: dict) -> Box | None:
    return tuple(float(row[key]) for key in ("x1", "y1", "x2", "y2")) if row["status"] == "ok" else None


def _name(prediction: Prediction) -> str:
    """`<class>/<file>`, as the annotations name it."""
    return "/".join(Path(prediction.file).parts[-2:])


def _answer(results: Results, prediction: Prediction) -> Answer:
    name = _name(prediction)
    truth = name.split("/")[0] if name in results.test_boxes else NO_CAR
    return Answer(load_image(prediction.file), truth, prediction)


def _pick(cars: list[Answer], empty: list[Answer]) -> list[Answer]:
    """Mistakes first (up to a half), then right answers of ever other classes, one street without a car last."""
    wrong = [answer for answer in cars if not answer.right][: ANSWERS // 2]
    wrong += [answer for answer in empty if not answer.right][:1]
    seen: dict[str, int] = {}
    ranked = []
    for answer in cars:
        if answer.right:
            seen[answer.truth] = seen.get(answer.truth, 0) + 1
            ranked.append((seen[answer.truth], answer))
    right = [answer for _, answer in sorted(ranked, key=lambda pair: pair[0])]
    last = [answer for answer in empty if answer.right][:1]
    return [*wrong, *right[: max(0, ANSWERS - len(wrong) - len(last))], *last]


def _pairs(results: Results) -> list[Pair]:
    """One car per class, then those that were missed, then more."""
    images, cleaned = results.root / "scenes" / "train" / "images", results.root / "cleaned"
    rows = sorted(results.manifest, key=lambda row: (row["source"].split("/")[1], row["source"]))
    good = [row for row in rows if row["status"] == "ok"]
    bad = [row for row in rows if row["status"] != "ok"][:2]
    pairs = []
    for row in [*good[: PAIRS - len(bad)], *bad]:
        after = load_image(cleaned / row["output"]) if row["status"] == "ok" else None
        note = f"score {float(row['score']):.2f}" if row["status"] == "ok" else row["reason"]
        pairs.append(Pair(load_image(images / row["source"]), after, f"{row['source'].split('/')[0]}, {note}"))
    return pairs


def _confusion(cars: list[Answer], classes: Sequence[str]) -> np.ndarray:
    counts = np.zeros((len(classes), len(classes) + 1), int)
    for answer in cars:
        label = answer.prediction.label
        counts[classes.index(answer.truth), len(classes) if label is None else classes.index(label)] += 1
    return counts


def _remarks(missed: int, cars: int, false: int, empty: int) -> list[str]:
    remarks = []
    if missed:
        remarks.append(
            f"The detector missed {missed} of the {cars} drawn cars, or boxed something else. "
            "A missed test car counts as wrong in the accuracy."
        )
    if false:
        remarks.append(f"In {false} of the {empty} streets without a car it took something else for one.")
    return remarks


def _places(root: Path) -> list[tuple[str, str]]:
    return [
        ("Drawn scenes, with labels and masks", f"{root}/scenes"),
        ("Cut-outs and their manifest.csv", f"{root}/cleaned"),
        ("The run: config, split, curves, best model", f"{root}/run"),
        ("Figures, report, confusion matrix", f"{root}/evaluation"),
        ("A row for every test photo", f"{root}/predictions.json"),
    ]


def _commands(root: Path) -> list[tuple[str, str]]:
    return [
        ("Name the cars on your photos with the bundled model (196 makes, models and years)", "carclf predict PHOTOS"),
        ("Remove the backgrounds of a folder", "carclf clean PHOTOS CUTOUTS"),
        ("Train on your own: a folder of photos for each class", "carclf train configs/train/quick.yaml data=PHOTOS"),
        ("Measure that run on photos kept apart", "carclf evaluate RUN --data TEST_PHOTOS --output EVALUATION"),
        ("The model of this demo again", f"carclf predict {root}/scenes/test/images --model {root}/run --format csv"),
    ]  # fmt: skip
