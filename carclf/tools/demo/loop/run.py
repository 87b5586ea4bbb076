"""The whole circle: train on labels with faults, audit them, correct what the audit lists, train again, compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from carclf.classifier.catalogue import load_classifier
from carclf.datasets import photo_root, read_table
from carclf.datasets.content import content_digests
from carclf.datasets.corrections.journal import NAME as JOURNAL
from carclf.datasets.drawn.scenes import write_dataset
from carclf.datasets.names import file_below, names_below
from carclf.datasets.splits import split_table
from carclf.runs.recipe import ModelConfig, Stage, TrainConfig
from carclf.runs.report.pages import write_page
from carclf.tools.audit.audit import audit_data
from carclf.tools.audit.page import NAME, write_audit_page
from carclf.tools.backgrounds.paired import PairedAccuracies
from carclf.tools.demo.loop.faults import Verdict, plant_faults, write_journal
from carclf.tools.demo.loop.page import Shown, render
from carclf.tools.demo.loop.result import CORRECTED, FAULTY, RIGHT, TRAININGS, LoopResult
from carclf.tools.demo.run import emptied
from carclf.training.data.crops import map_to_crops
from carclf.training.loop import train
from detection.common.errors import UsageError
from detection.common.files import write_table
from detection.common.output_folder import check_apart

# Small pictures and few epochs, and yet enough for the network to learn what is wrong, too.
STAGES = (
    Stage(
        name="head", train="head", epochs=3, learning_rate=4e-3, image_size=(96, 160), batch_size=16, augmentation=0,
        schedule="constant",
    ),
    Stage(
        name="half", train="half", epochs=8, learning_rate=3e-3, image_size=(96, 160), batch_size=16,
        augmentation=0.3, schedule="onecycle", keep="last",
    ),
)  # fmt: skip
NETWORK = ModelConfig(image_size=(96, 160))


@dataclass(frozen=True)
class LoopPlan:
    """each: photos per class, where they are drawn. held: share of each class that judges, and is never trained on.
    looks: rows of the audit that the person looks at, as a multiple of the planted faults. model: whose vectors the
    audit uses, None for the bundled one. crops: the photos are taken as they are, without stage 1."""

    each: int = 36
    held: float = 1 / 3
    validation: float = 0.1
    looks: float = 1.5
    stages: tuple[Stage, ...] = STAGES
    network: ModelConfig = NETWORK
    model: str | None = None
    crops: bool = False


def run_loop(
    output: str | Path,
    data: str | Path | None = None,
    images: str | Path | None = None,
    faults: float = 0.2,
    seed: int = 0,
    plan: LoopPlan | None = None,
) -> LoopResult:
    """Runs the circle in `output`, of which an earlier demo is replaced, and writes index.html there.

    data, images: labelled photos as `read_table` takes them; their labels count as right. Drawn ones without. faults:
    share of the labels that are moved. The same seed gives the same figures. Raises `UsageError` for an output that
    holds anything else, or data that are too few.
    """
    plan = plan or LoopPlan()
    if data is not None:
        root = photo_root(data, images)
        apart = f"'{output}' holds the photos themselves, or lies among them: name a folder beside them."
        check_apart(root, Path(output), same=apart, inside=apart, around=apart)
    folder = emptied(Path(output))
    if data is None:
        _say(1, "Drawing street scenes")
        labels = write_dataset(folder / "scenes", plan.each, seed)
        data, images = labels, labels.parent / "images"
    root = photo_root(data, images)
    table = read_table(data, images)[["file", "label"]]
    table = split_table(table, plan.held, seed).assign(held=lambda rows: rows["split"] == "val")
    learnt = table[~table["held"]].reset_index(drop=True)
    learnt["name"] = names_below(root, learnt["file"].tolist())
    learnt["faulty"] = plant_faults(learnt["label"].tolist(), faults, seed)
    planted = int((learnt["faulty"] != learnt["label"]).sum())
    if not planted:
        raise UsageError(f"A share of {faults:g} of {len(learnt)} labels is none, or every class has two photos: "
                         "take more photos, or a larger --faults.")  # fmt: skip
    _say(2, f"Training on {len(learnt)} photos, {planted} with a wrong label")
    _train(folder, FAULTY, root, learnt, learnt["faulty"], seed, plan)
    _say(3, "Auditing their labels")
    decisions = _audited(folder, root, learnt, planted, plan)
    write_journal(decisions, folder / "audit" / JOURNAL)
    now = {one.file: one.right for one in decisions}
    learnt["corrected"] = [now.get(name, label) for name, label in zip(learnt["name"], learnt["faulty"], strict=True)]
    _say(4, f"Training again, {sum(one.corrected for one in decisions)} labels corrected")
    _train(folder, CORRECTED, root, learnt, learnt["corrected"], seed, plan)
    _say(5, "Training without any wrong label, to compare")
    _train(folder, RIGHT, root, learnt, learnt["label"], seed, plan)
    judged = table[table["held"]].reset_index(drop=True)
    judged = judged if plan.crops else map_to_crops(judged, root, folder / "crops")
    answers = {name: _answers(folder / name, judged["file"].tolist()) for name in TRAININGS}
    correct = {name: np.array(answers[name]) == judged["label"].to_numpy() for name in TRAININGS}
    write_table(folder / "held_out.csv", judged[["file", "label"]].assign(**answers))
    result = LoopResult(
        folder / "index.html",
        len(learnt),
        len(judged),
        planted,
        decisions,
        {name: float(right.mean()) for name, right in correct.items()},
        PairedAccuracies({name: right[None] for name, right in correct.items()}).difference(CORRECTED, FAULTY),
    )
    shown = Shown(result, root, folder, judged.assign(**answers), {name: folder / name for name in TRAININGS})
    write_page(render(shown), result.page)
    return result


def _say(number: int, what: str) -> None:
    print(f"[{number}/5] {what} ...", flush=True)


def _train(
    folder: Path, name: str, root: Path, learnt: pd.DataFrame, labels: Sequence[str], seed: int, plan: LoopPlan
) -> None:
    path = folder / f"{name}.csv"
    write_table(path, pd.DataFrame({"file": learnt["name"], "class": labels}))
    settings: dict[str, Any] = {"crops": True} if plan.crops else {"crops_dir": folder / "crops"}
    train(
        TrainConfig(
            name=name,
            data=path,
            images=root,
            output=folder / name,
            names="none",
            validation=plan.validation,
            seed=seed,
            model=plan.network,
            stages=plan.stages,
            workers=0,  # starting worker processes takes longer than reading this few small photos
            tensorboard=False,
            progress=False,
            deterministic=True,
            **settings,
        )
    )


def _audited(folder: Path, root: Path, learnt: pd.DataFrame, planted: int, plan: LoopPlan) -> list[Verdict]:
    """What a person who knows cars decides about the labels that the audit lists first."""
    audit = audit_data(folder / f"{FAULTY}.csv", folder / "audit", root, plan.model, plan.crops)
    write_audit_page(audit, folder / "audit" / NAME)
    right = dict(zip(learnt["name"], learnt["label"], strict=True))
    rows = [one for one in audit.issues if one.issue == "label"][: round(plan.looks * planted)]
    files = [audit.check.rows["file"][one.photo] for one in rows]
    digests = content_digests([file_below(root, file) for file in files])
    return [
        Verdict(file, audit.check.rows["label"][one.photo], one.suggestion, right[file], one.score, digest)
        for one, file, digest in zip(rows, files, digests, strict=True)
    ]


def _answers(run: Path, files: Sequence[str]) -> list[str]:
    classifier = load_classifier(str(run))
    return [classifier.classes[best] for best in classifier.predict_files(files).argmax(axis=1)]
