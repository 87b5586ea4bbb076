"""Photos without labels to train on: those that a model is sure of, and those that a person has named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from carclf.classifier.catalogue import find_model, load_classifier
from carclf.datasets import read_manifest
from carclf.datasets.content import EXTRA, OWN, SOURCE, content_digests, known_photos, with_digests
from carclf.datasets.copies import picture_numbers
from carclf.datasets.corrections.apply import read_corrections
from carclf.datasets.corrections.decision import NO_CAR as DECIDED_NO_CAR
from carclf.datasets.corrections.journal import NAME as JOURNAL
from carclf.datasets.names import names
from carclf.runs.recipe import TrainConfig
from carclf.training.data.crops import cut_out, variant_column
from detection.common.console import say
from detection.common.errors import UsageError
from detection.common.files import escape_name, user_path, write_json, write_table
from detection.common.tally import counted
from detection.cutout.cut import CutoutStyle
from detection.detectors.check.car_check import car_view
from detection.detectors.contract import CarChecker
from detection.detectors.finder.finder import LateCheck
from detection.images.find import find_images
from detection.images.read import ImageError, load_image

ABOUT = "extra.json"
LEAST = 10  # validation photos, as sure as the threshold: fewer show nothing
_CAR = 0.5  # the check's probability from which on a photo that was not cut out shows a car
# What becomes of a photo.
PERSON, TAKEN, UNSURE, OTHER, NO_CAR, COPY, UNREADABLE = (
    "person", "taken", "unsure", "other class", "no car", "copy", "unreadable",
)  # fmt: skip


def with_extra(config: TrainConfig, run: Path, table: pd.DataFrame, style: CutoutStyle, detector: str) -> pd.DataFrame:
    """The table with the photos of `extra` that are trained on, and the column weight, 1 for photos with a label.

    table: with its split. style, detector: how its photos were cut out, as those of `extra` are. Which photos are
    taken, as what, and why others are not, is decided once, and stays in the run's extra.csv: one row per photo.
    Raises `UsageError` for a folder without photos, a model that can't name them, and photos that are gone later.
    """
    if config.extra is None:
        return table
    table = table if OWN in table else with_digests(table)
    path = run / EXTRA
    begun = path.is_file()
    files = _crops(config, run, style, detector, begun)
    if not begun:
        rows, about = _chosen(config, table, files)
        write_json(run / ABOUT, about)
        write_table(path, rows)
    rows = pd.read_csv(path, dtype={"label": str, OWN: str, SOURCE: str}, keep_default_na=False)
    rows = rows[rows["weight"] > 0].reset_index(drop=True)
    return _joined(config, table, rows, [file for file in files.values() if file])


def _joined(config: TrainConfig, table: pd.DataFrame, rows: pd.DataFrame, files: Sequence[str]) -> pd.DataFrame:
    here = dict(zip(content_digests(files), files, strict=True))
    if lost := [name for name, digest in zip(rows["file"], rows[OWN], strict=True) if digest not in here]:
        raise UsageError(
            f"Of the photos of '{config.extra}' that this run trains on, {len(lost)} are gone or have changed, for "
            f"example '{lost[0]}': put them back."
        )
    more = pd.DataFrame(
        {
            "file": [here[digest] for digest in rows[OWN]],
            "label": rows["label"],
            "split": "train",
            "weight": rows["weight"].astype(float),
            OWN: rows[OWN],
            SOURCE: rows[SOURCE],
        }
    )
    for background in config.backgrounds:  # cut out on the model's own alone
        more[variant_column(background)] = more["file"]
    return pd.concat([table.assign(weight=1.0), more], ignore_index=True)


def _crops(config: TrainConfig, run: Path, style: CutoutStyle, detector: str, begun: bool) -> dict[str, str | None]:
    """The crop of each photo, by the photo's name below the folder; None where stage 1 gave none."""
    assert config.extra is not None
    root = user_path(config.extra)
    if not root.is_dir():
        raise UsageError(f"extra='{config.extra}' is no folder: name one with photos.")
    if (root / "manifest.csv").is_file():
        made = read_manifest(root)
    elif config.crops:
        made = {path.relative_to(root).as_posix(): path for path in find_images(root)}
    else:
        folder = run / "extra"
        if not begun:
            cut_out(root, folder, config.model_copy(update={"cutout": style, "detector": detector}), style.background)
        made = read_manifest(folder)
    if not made:
        raise UsageError(f"extra='{config.extra}' holds no photos.")
    return {name: None if file is None else str(file) for name, file in made.items()}


def _chosen(
    config: TrainConfig, table: pd.DataFrame, files: dict[str, str | None]
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The rows of extra.csv, and what extra.json holds."""
    assert config.extra is not None
    there = pd.DataFrame([(name, file) for name, file in files.items() if file], columns=["photo", "file"])
    gone = [(name, None, "", "") for name, file in files.items() if not file]
    rows = with_digests(there[["file"]]).assign(photo=there["photo"])
    rows = pd.concat([rows, pd.DataFrame(gone, columns=["photo", "file", OWN, SOURCE])], ignore_index=True)
    status, reason = _unfit(table, rows["file"].tolist(), check_cars=config.crops)
    label, weight = [""] * len(rows), np.zeros(len(rows))
    confidence = np.full(len(rows), np.nan)
    classes = set(table["label"])
    folder = user_path(config.extra)
    decided = read_corrections(folder) if (folder / JOURNAL).is_file() else None
    for row, (own, source) in enumerate(zip(rows[OWN], rows[SOURCE], strict=True)):
        told = None if decided is None else decided.find(own, source)
        if status[row] in (COPY, UNREADABLE) or told is None or not told.human:
            continue
        named = told.new or ""
        if told.decision == DECIDED_NO_CAR:
            status[row], reason[row] = NO_CAR, "a person saw no car"
        elif named in classes:
            status[row], reason[row], label[row], weight[row] = PERSON, "", named, 1.0
        elif named:
            status[row], reason[row], label[row] = OTHER, "of a class that the data do not have", named
    asked = [row for row in range(len(rows)) if not status[row]]
    sure = _Sure(config, table)
    for row, (name, confident) in zip(asked, sure.answers([rows["file"][row] for row in asked]), strict=True):
        label[row], confidence[row] = name, confident
        if sure.threshold is None or confident < sure.threshold:
            status[row] = UNSURE
        elif name not in classes:
            status[row], reason[row] = OTHER, "of a class that the data do not have"
        else:
            status[row], weight[row] = TAKEN, config.extra_weight
    counts = Counter(status)
    about = {**sure.about, "photos": len(rows), "taken": counts[TAKEN], "by_person": counts[PERSON]}
    about["left_out"] = {name: counts[name] for name in (UNSURE, OTHER, NO_CAR, COPY, UNREADABLE) if counts[name]}
    _tell(config, about)
    told = pd.DataFrame(
        {
            "file": [escape_name(name) for name in rows["photo"]],
            "status": status,
            "label": label,
            "confidence": np.round(confidence, 4),
            "weight": weight,
            "reason": reason,
            OWN: rows[OWN],
            SOURCE: rows[SOURCE],
        }
    )
    return told, about


def _tell(config: TrainConfig, about: dict[str, Any]) -> None:
    parts = [f"{about['taken']} taken as the model names them", f"{about['by_person']} as a person did"]
    parts += [f"{count} left out ({name})" for name, count in about["left_out"].items()]
    say(f"{counted(about['photos'], 'extra photo')} of {config.extra}: {', '.join(parts)}; see {EXTRA}")
    if about["threshold"] is None:
        say(f"'{about['model']}' is nowhere {about['wanted']:.0%} right on the {about['validated']} validation photos "
            "that it can be judged by: none is taken on its word")  # fmt: skip


def _unfit(table: pd.DataFrame, files: Sequence[str | None], check_cars: bool) -> tuple[list[str], list[str]]:
    """Status and reason of the photos that can't be trained on; empty for the others."""
    status, reason = [""] * len(files), [""] * len(files)
    known = table["file"].tolist()
    there = [file for file in files if file is not None]
    numbers = picture_numbers([*known, *there])
    side: dict[int | None, str] = {}
    for number, part in zip(numbers, table["split"], strict=False):
        if side.get(number, "train") == "train":  # a picture that validates, too, is named by that
            side[number] = part
    sayings = {
        "train": "the same picture as a labelled photo",
        "val": "the same picture as a validation photo",
        "test": "the same picture as a photo that is held back",
        "extra": "the same picture as another one here",
    }
    check = LateCheck()
    places = iter(numbers[len(known) :])
    for row, file in enumerate(files):
        if file is None:
            status[row], reason[row] = NO_CAR, "stage 1 gave no cut-out"
            continue
        number = next(places)
        if number is None:
            status[row], reason[row] = UNREADABLE, "it can't be read"
        elif number in side:
            status[row], reason[row] = COPY, sayings[side[number]]
        elif check_cars and not _shows_car(check, file):
            status[row], reason[row] = NO_CAR, "it does not look like a car"
        else:
            side[number] = "extra"
    return status, reason


def _shows_car(check: CarChecker, file: str) -> bool:
    """Whether a photo that comes without stage 1 looks like a car as a whole."""
    try:
        photo = load_image(file)
    except ImageError:
        return False
    return check.look([car_view(photo, (0, 0, photo.shape[1], photo.shape[0]))])[0].car >= _CAR


class _Sure:
    """The model that names the photos, and how sure it must be: as is right on the validation photos.

    threshold: the least confidence, None where no threshold is right often enough. about: for extra.json.
    """

    def __init__(self, config: TrainConfig, table: pd.DataFrame):
        name = str(config.extra_model or config.init)
        found = find_model(name)
        self.classifier = load_classifier(name, device=config.device)
        if unknown := sorted(set(table["label"]) - set(self.classifier.classes)):
            raise UsageError(
                f"'{name}' can't name the photos of extra: it does not know "
                f"{counted(len(unknown), 'class', 'classes')} of the data ({names(unknown)}). Set extra_model to a "
                "run on these classes."
            )
        rows = table[table["split"] == "val"]
        known = None if found.is_export or found.is_garage else known_photos(found.path)
        if known is not None:
            rows = rows[~np.array(known.trained_on(rows["file"].tolist()), bool)]
            if rows.empty:
                raise UsageError(
                    f"'{name}' was trained on all of the validation photos, so they can't tell how sure it must be: "
                    "take a model with the same split (split_seed, or split=LIST)."
                )
        told = self.answers(rows["file"].tolist())
        right = np.array([answer == label for (answer, _), label in zip(told, rows["label"], strict=True)], bool)
        confidence = np.array([confident for _, confident in told], float)
        self.threshold = sure_from(confidence, right, config.extra_right)
        above = np.zeros(len(right), bool) if self.threshold is None else confidence >= self.threshold
        self.about = {
            "model": name,
            "wanted": config.extra_right,
            "validated": len(rows),
            "threshold": None if self.threshold is None else round(self.threshold, 4),
            "validated_above": int(above.sum()),
            "right_above": round(float(right[above].mean()), 4) if above.any() else None,
        }

    def answers(self, files: Sequence[str]) -> list[tuple[str, float]]:
        probabilities = self.classifier.predict_files(files)
        best = probabilities.argmax(axis=1) if len(files) else []
        return [(self.classifier.classes[one], float(row[one])) for one, row in zip(best, probabilities, strict=True)]


def sure_from(confidence: np.ndarray, right: np.ndarray, share: float) -> float | None:
    """The lowest confidence from which on at least this share is right; None where there is none.

    confidence: float [N]; right: bool [N]. At least `LEAST` photos must be as sure.

    >>> sure_from(np.linspace(0.5, 0.9, 41), np.arange(41) > 10, 0.98)
    0.61
    """
    order = np.argsort(-confidence, kind="stable")
    sorted_ = confidence[order]
    shares = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    last = np.append(sorted_[1:] < sorted_[:-1], True) if len(order) else np.zeros(0, bool)  # of equally sure ones
    fits = np.flatnonzero((shares >= share) & last & (np.arange(len(order)) >= LEAST - 1))
    return round(float(sorted_[fits[-1]]), 6) if len(fits) else None
