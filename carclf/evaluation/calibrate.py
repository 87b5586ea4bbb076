"""Gives a classifier's file its temperature and its threshold, from photos that it was not trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from carclf.classifier.checkpoint import load_model
from carclf.classifier.classifier import TorchClassifier
from carclf.classifier.contract import temper
from carclf.classifier.info import ModelInfo, write_info
from carclf.classifier.levels.names import LEVELS, make_names
from carclf.classifier.levels.sure import SureTable
from carclf.classifier.levels.tree import Tree
from carclf.datasets.content import OWN, with_digests
from carclf.evaluation.confidence import HIGHEST, LOST, LOWEST, calibration, fit_confidence
from carclf.evaluation.evaluate import class_numbers
from carclf.evaluation.held_out import leave_out_trained, mark_trained
from carclf.evaluation.levels.figures import level_figures
from carclf.evaluation.levels.fit import answer_level, fit_table, in_order, told_at_levels
from carclf.evaluation.metrics import auroc
from detection.common.console import Track, say, untracked
from detection.common.errors import UsageError
from detection.common.networks.device import choose_device

if TYPE_CHECKING:
    import pandas as pd


# Simulated, 90 of 100 temperatures fitted to so many photos are within 15 % of the true one; of 12 photos, within 40 %.
LEAST_PHOTOS = 50
_NEAR = 1.01  # a fit stops just before its bound


def calibrate_file(path: Path, crops: pd.DataFrame, device: str) -> tuple[TorchClassifier, np.ndarray]:
    """Fits the classifier in `path` to validation crops (columns file and label), and writes it anew.

    Returns it and its calibrated probabilities of the crops, float32 [N, C].
    """
    device = choose_device(device)
    net, info = load_model(path, device)
    info = info.model_copy(update={"temperature": 1.0, "threshold": 0.0})
    raw = TorchClassifier(net, info, device).predict_files(crops["file"].tolist())
    truth = class_numbers(crops["label"].tolist(), info.classes)
    probabilities, temperature, threshold = first_fit(raw, truth)
    confidence = {
        "temperature": temperature,
        "threshold": threshold,
        "levels": first_levels(info, probabilities, truth),
    }
    write_info(path, info.model_copy(update=confidence))
    return TorchClassifier.load(path, device), probabilities


def first_fit(raw: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, float, float]:
    """As `fit_confidence`, for a new model, which has no better values to keep; a line tells where it is a guess."""
    told, temperature, threshold = fit_confidence(raw, truth)
    if reason := doubt(raw, truth, temperature):
        say(f"{reason} So this model's confidence is a guess: `carclf calibrate` sets it from more photos.")
    return told, temperature, threshold


def first_levels(info: ModelInfo, probabilities: np.ndarray, truth: np.ndarray) -> SureTable | None:
    """The table of levels for a new model; None without names, and from fewer than 50 photos."""
    if not info.names or len(truth) < LEAST_PHOTOS:
        return None
    return fit_table(told_at_levels(Tree(info.names, info.classes), probabilities, truth))


@dataclass(frozen=True)
class Trust:
    """What a temperature and a threshold do. known, others: as in `judge`. levels: of a model with names."""

    temperature: float
    threshold: float
    figures: dict[str, float]
    others: dict[str, dict[str, float]]
    levels: SureTable | None = None


def judge(
    known: np.ndarray,
    truth: np.ndarray,
    others: Mapping[str, np.ndarray],
    lost: float = LOST,
    half: np.ndarray | None = None,
    kept: tuple[float, float] | None = None,
    tree: Tree | None = None,
) -> Trust:
    """Chooses both by photos of known classes, and tells what they do to these and to others.

    known: float [N, C], probabilities at temperature 1, rows of NaN where no car was found; truth: int [N].
    others: by name, the same of photos that show none of the classes.
    half: bool [N], which of the known photos are the first of two halves; None: every other one.
    kept: a temperature and a threshold that stay. tree: of a model with names, whose levels are chosen, too.
    figures: ece, ece_before; lost, the share of known photos that get no name; accuracy_of_named. These photos chose
        the two values. ece_held_out, lost_held_out, accuracy_of_named_held_out: the same where each half reports on
        what the other one has chosen; first_half, second_half: their photos with a vehicle.
    others: of each kind how many photos, the share found (a vehicle), the share named, and auroc of the confidence
        for known photos against these (of those with a vehicle; NaN without any).
    """
    found = np.isfinite(known).all(axis=1)
    raw, right = known[found], truth[found]
    if kept is None:
        probabilities, temperature, threshold = fit_confidence(raw, right, lost)
    else:
        temperature, threshold = kept
        probabilities = temper(raw, temperature)
    confidence = probabilities.max(axis=1)
    named = confidence >= threshold
    figures = {
        "photos": len(known),
        "ece_before": calibration(raw, right)[0].get("ece", float("nan")),
        "ece": calibration(probabilities, right)[0].get("ece", float("nan")),
        "lost": 1 - float(named.sum()) / max(1, len(known)),
        "accuracy_of_named": float((probabilities.argmax(axis=1) == right)[named].mean()) if named.any() else 0.0,
    }
    half = np.arange(len(known)) % 2 == 0 if half is None else half
    if kept is None:
        figures |= _crossed(raw, right, half[found], lost, len(known))
    table = None
    if tree is not None:
        told = told_at_levels(tree, probabilities, right)
        table = fit_table(told)
        figures |= level_figures(told, table, half[found], len(known))
    kinds = {}
    for name, rows in others.items():
        seen = rows[np.isfinite(rows).all(axis=1)]
        calibrated = temper(seen, temperature)
        sure = calibrated.max(axis=1) if len(seen) else np.zeros(0)
        kinds[name] = {
            "photos": len(rows),
            "found": len(seen) / max(1, len(rows)),
            "named": float((sure >= threshold).sum()) / max(1, len(rows)),
            "auroc": auroc(sure, confidence) if len(sure) and len(confidence) else float("nan"),
        }
        if tree is not None and table is not None:
            told = told_at_levels(tree, calibrated, np.zeros(len(seen), int))
            answered = answer_level(told.confidence, in_order(table)) < len(LEVELS)
            kinds[name]["named_at_a_level"] = float(answered.sum()) / max(1, len(rows))
    return Trust(temperature, threshold, figures, kinds, table)


def _crossed(raw: np.ndarray, truth: np.ndarray, half: np.ndarray, lost: float, total: int) -> dict[str, float]:
    """The figures of photos that temperature and threshold were not fitted to. total: known photos, found or not."""
    sizes: dict[str, float] = {"first_half": int(half.sum()), "second_half": int((~half).sum())}
    if not all(sizes.values()):
        return sizes
    told, named = np.empty_like(raw), np.empty(len(raw), bool)
    for side in (half, ~half):
        _, temperature, threshold = fit_confidence(raw[~side], truth[~side], lost)
        told[side] = temper(raw[side], temperature)
        named[side] = told[side].max(axis=1) >= threshold
    right = told.argmax(axis=1) == truth
    return {
        "ece_held_out": calibration(told, truth)[0]["ece"],
        "lost_held_out": 1 - float(named.sum()) / max(1, total),
        "accuracy_of_named_held_out": float(right[named].mean()) if named.any() else 0.0,
        **sizes,
    }


def halves(table: pd.DataFrame) -> np.ndarray:
    """Bool [N]: the first half of the photos, told by their content, so that the same bytes are in one half."""
    return np.array([int(digest or "0", 16) % 2 == 0 for digest in with_digests(table)[OWN]], dtype=bool)


def calibrate_chain(
    path: Path,
    table: pd.DataFrame,
    others: Sequence[Path],
    lost: float = LOST,
    detector: str | None = None,
    device: str = "auto",
    write: bool = True,
    track: Track = untracked,
    names: Mapping[str, Mapping[str, str]] | None = None,
    only_levels: bool = False,
) -> Trust:
    """`judge` for the file of a classifier, on raw photos; with `write` it takes temperature and threshold.

    table: columns file and label; photos that it was trained on, as far as its run knows, are left out. others: folders
    of photos without its classes. track: the photos' results go through it. names: a table of names that the file is to
    have from now on, see `make_names`; with names, the levels are chosen, too. only_levels: temperature and threshold
    stay as they are. Raises `UsageError` for labels that the
    model does not know, for folders without photos, and, with `write`, where the fit means nothing (see `doubt`): then
    the file stays as it is.
    """
    from carclf.evaluation.chain import all_probabilities, check_labels
    from carclf.recognition.recognizer import CarRecognizer
    from detection.images.find import find_images

    net, info = load_model(path, choose_device(device))
    check_labels(sorted(set(table["label"])), info.classes)
    if names is not None:
        info = info.model_copy(update={"names": make_names(names, info.classes)})
    if only_levels and not info.names:
        raise UsageError(f"'{path}' has no names with parts, so it has no levels: give a table of them with --names.")
    total = len(table)
    table = leave_out_trained(mark_trained(table, path))
    kept = f"'{path}' keeps its temperature {info.temperature:.3f} and threshold {info.threshold:.4f}"
    which = f"{len(table)} photos" if len(table) == total else f"{len(table)} photos that it was not trained on"
    few = _too_few(len(table), table["label"].nunique(), which)
    if few and (write or table.empty):
        raise UsageError(f"{few} {kept}.")
    folders = {}
    for folder in others:
        photos = find_images(folder)
        if not photos:
            raise UsageError(f"The folder '{folder}' holds no photo (.jpg, .png, .webp, ...): check the path.")
        folders[str(folder)] = photos
    plain = TorchClassifier(net, info.model_copy(update={"temperature": 1.0}), choose_device(device))
    recognizer = CarRecognizer(plain, detector=detector, device=device)
    photos = [*table["file"], *(photo for some in folders.values() for photo in some)]
    seen = recognizer.recognize_fully(photos)
    rows = all_probabilities(track(seen, len(photos)), len(info.classes))
    parts = np.split(rows, np.cumsum([len(table), *map(len, folders.values())])[:-1])
    truth = class_numbers(table["label"].tolist(), info.classes)
    tree = Tree(info.names, info.classes) if info.names else None
    stay = (info.temperature, info.threshold) if only_levels else None
    trust = judge(parts[0], truth, dict(zip(folders, parts[1:], strict=True)), lost, halves(table), stay, tree)
    if reason := doubt(parts[0], truth, trust.temperature):
        if write:
            raise UsageError(f"{reason} {kept}.")
        say(reason)
    if write:
        confidence = {"temperature": trust.temperature, "threshold": trust.threshold, "levels": trust.levels}
        write_info(path, info.model_copy(update=confidence))
    return trust


def doubt(known: np.ndarray, truth: np.ndarray, temperature: float) -> str:
    """Why a temperature fitted to these photos means nothing, a sentence; empty where it means something.

    known, truth: as in `judge`. There must be 50 photos with an answer, of two classes or more, and the temperature
    inside its bounds.
    """
    found = np.isfinite(known).all(axis=1)
    few = _too_few(int(found.sum()), len(set(truth[found])), f"{found.sum()} photos with a vehicle")
    if few or LOWEST * _NEAR < temperature < HIGHEST / _NEAR:
        return few
    return (f"The temperature runs into its bound of {LOWEST if temperature < 1 else HIGHEST:g}: these photos are all "
            "answered right, or hardly any is, and say nothing about confidence.")  # fmt: skip


def _too_few(photos: int, classes: int, which: str) -> str:
    if photos >= LEAST_PHOTOS and classes > 1:
        return ""
    told = f"There are only {which}" if photos < LEAST_PHOTOS else f"The {which} are all of one class"
    return f"{told}: temperature and threshold need {LEAST_PHOTOS} of several classes."
