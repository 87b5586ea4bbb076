"""`carclf combine`: trained classifiers become one file that averages their answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from carclf.classifier.catalogue import find_model
from carclf.classifier.checkpoint import load_model, save_model
from carclf.classifier.classifier import TorchClassifier
from carclf.classifier.info import ModelInfo, pair
from carclf.classifier.network import Ensemble
from carclf.datasets import read_split
from carclf.datasets.content import OWN, SOURCE, run_split
from carclf.evaluation.calibrate import first_fit, first_levels
from carclf.evaluation.cars import car_numbers
from carclf.evaluation.evaluate import class_numbers, evaluate
from carclf.runs.folder import git_state
from carclf.weights import BEST
from detection.common.errors import UsageError
from detection.common.files import write_json, write_table

# All that prediction does before and after the networks; these must be the same for all of them.
_SHARED = {
    "classes": "classes",
    "head": "head",
    "mean": "normalisation",
    "std": "normalisation",
    "style": "cut-out style",
    "detector": "detector",
}
_KEPT = ("accuracy", "top5", "macro_f1")  # of the metrics, in the file


def combine(names: Sequence[str], output: Path) -> dict:
    """Writes output/best.safetensors, and what it and each member make of the photos that all of them held out.

    names: at least two run folders, files or bundled names. Only run folders say which photos they held out; with any
        other among them, or none in common, nothing is measured, and the answers are not calibrated.
    Returns the metrics of the combination, with `members` (their accuracy and top5), or an empty dict.
    Raises `UsageError` for members that do not fit together, and for an output that exists.
    """
    if len(names) < 2:
        raise UsageError("An ensemble has at least two members: name two runs or files.")
    output = Path(output)
    if output.exists():
        raise UsageError(f"'{output}' exists already: name another folder.")
    files = [find_model(name).weights for name in names]
    nets, infos = zip(*(load_model(file) for file in files), strict=True)
    info = _common(names, infos)
    photos = _held_out(names)
    members = [TorchClassifier(net, own) for net, own in zip(nets, infos, strict=True)]
    whole = TorchClassifier(Ensemble(nets, info.member_sizes).eval(), info)
    metrics: dict = {}
    if len(photos):
        rows, cars = photos.assign(status="ok"), car_numbers(photos)
        measured: list[dict] = []
        for name, member in zip(names, members, strict=True):
            probabilities = member.predict_files(photos["file"].tolist())
            seen = evaluate(rows, probabilities, info.classes, output / "members" / str(len(measured) + 1), cars=cars)
            measured.append({"model": name} | {key: seen[key] for key in _KEPT})
        raw = whole.predict_files(photos["file"].tolist())
        truth = class_numbers(photos["label"].tolist(), info.classes)
        together, temperature, threshold = first_fit(raw, truth)
        levels = first_levels(info, together, truth)
        info = info.model_copy(update={"temperature": temperature, "threshold": threshold, "levels": levels})
        metrics = evaluate(rows, together, info.classes, output / "validation", cars=cars)
        metrics |= {"members": measured, "git": git_state()}
        write_json(output / "metrics.json", metrics)
    info = info.model_copy(update={"metrics": {key: metrics[key] for key in _KEPT if key in metrics}})
    save_model(whole.net, info, output / BEST)
    splits = [run_split(file) for file in files]
    if all(split is not None for split in splits):
        write_table(output / "split.csv", _joined(splits))
    return metrics


def _joined(splits: Sequence[pd.DataFrame | None]) -> pd.DataFrame:
    """The photos of all members; one that any was trained on is of train."""
    photos = pd.concat([split[["file", "label", "split", OWN, SOURCE]] for split in splits if split is not None])
    first = photos.sort_values("split", key=lambda side: side != "train", kind="stable")
    return first.drop_duplicates([OWN, SOURCE]).sort_values("file", ignore_index=True)


def _common(names: Sequence[str], infos: Sequence[ModelInfo]) -> ModelInfo:
    for name, info in zip(names, infos, strict=True):
        if info.members > 1:
            raise UsageError(f"'{name}' is an ensemble already: combine its members.")
        for field, said in _SHARED.items():
            if getattr(info, field) != getattr(infos[0], field):
                raise UsageError(f"'{name}' has another {said} than '{names[0]}': all members must have the same.")
    architectures = tuple(info.architecture for info in infos)
    sizes = tuple(info.image_size for info in infos)
    return infos[0].model_copy(
        update={
            "members": len(infos),
            "architectures": architectures if len(set(architectures)) > 1 else (),
            # Crops come at the largest size, and members of a smaller one shrink them: nothing is enlarged.
            "image_size": max(sizes, key=lambda size: math.prod(pair(size))),
            "image_sizes": sizes if len(set(map(pair, sizes))) > 1 else (),
            "stage": "",
            "metrics": {},
            "temperature": 1.0,
            "threshold": 0.0,
            "names": next((info.names for info in infos if info.names), ()),
            "levels": None,
        }
    )


def _held_out(names: Sequence[str]) -> pd.DataFrame:
    """Columns file and label: photos that each of the runs has kept out of its training."""
    tables: list[pd.DataFrame] = []
    for name in names:
        path = Path(name) / "split.csv"
        if not path.is_file():
            return pd.DataFrame(columns=["file", "label"])
        table = read_split(path)
        tables.append(table.loc[table["split"] == "val", ["file", "label"]])
    common, *others = tables
    for table in others:
        common = common[common["file"].isin(set(table["file"]))]
    return common.reset_index(drop=True)
