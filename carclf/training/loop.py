"""Trains a classifier in stages: one Lightning `Trainer.fit` per stage, from the best weights of the one before."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytorch_lightning as pl
import torch

from carclf.classifier.checkpoint import load_model, save_model
from carclf.classifier.classifier import TorchClassifier
from carclf.classifier.info import ModelInfo
from carclf.classifier.network import CarNet
from carclf.datasets.corrections.apply import applied_before
from carclf.evaluation.calibrate import calibrate_file
from carclf.evaluation.cars import car_numbers
from carclf.evaluation.evaluate import evaluate
from carclf.runs.curves import save_curves
from carclf.runs.folder import discard_run, git_state, open_run
from carclf.runs.recipe import TrainConfig
from carclf.runs.report.page import write_run_report
from carclf.runs.resume import note_resumed
from carclf.runs.tables import read_epochs
from carclf.training.data.crops import prepare_crops
from carclf.training.data.extra import ABOUT, with_extra
from carclf.training.data.names import class_names
from carclf.training.data.places import check_cache, copies_kept, share_entries
from carclf.training.data.sampling import with_doubts
from carclf.training.data.split import split_photos
from carclf.training.distributed import is_first, joined, launch, on_first, partners_told, say_once, wants_launch
from carclf.training.record.checkpoints import remove_checkpoints
from carclf.training.record.loggers import check_loggers, log_result
from carclf.training.record.state import recorded_run, versions
from carclf.training.stage import TrainingJob, checkpoints, run_stage
from carclf.training.start import first_network
from carclf.training.teacher import Teacher
from carclf.weights import BEST
from detection.common.console import never_in_the_way
from detection.common.errors import UsageError
from detection.common.files import write_json
from detection.common.machine import keep_freed_memory
from detection.common.networks.device import choose_device
from detection.cutout.cut import CutoutStyle
from detection.masks.parts import CHOOSE, REPORT
from detection.training.checkpoints import quiet_lightning
from detection.training.resume import RunState, say_finished

# What metrics.json says of the validation photos.
CHOSEN_BY = {"part": CHOOSE, "note": "these photos also chose the epoch"}


def train(config: TrainConfig) -> Path:
    """Runs every stage and returns the run folder. Raises `UsageError` for data or settings that can't be trained.

    An unfinished run in the config's `output` is resumed, and ends as it would have without the interruption; a
    finished one stays as it is.
    """
    quiet_lightning()
    check_loggers(config)
    return launch(config, train_here) if wants_launch(config) else train_here(config)


def train_here(config: TrainConfig) -> Path:
    """The same in this process, which may be one of several that torchrun has started."""
    quiet_lightning()
    if config.threads:
        torch.set_num_threads(config.threads)
    device = choose_device(config.device)
    if device == "cpu":
        keep_freed_memory()
    with joined(config, device):
        pl.seed_everything(config.seed, workers=True, verbose=False)
        run = on_first(open_run, config)
        with recorded_run(config, run) as state:
            if not state.finished:
                with partners_told(config), copies_kept(config):
                    _run_stages(config, run, device, state)
            elif state.first:
                say_finished(run)
    return run


def _run_stages(config: TrainConfig, run: Path, device: str, state: RunState) -> None:
    try:
        table, style, detector = on_first(_prepare, config, run)
        share_entries(config, table)
        classes = tuple(sorted(table["label"].unique()))
        names = class_names(config, classes)
        if names:
            say_once(f"makes and models of the classes by {config.names or 'the names.csv beside the data'}")
        counts = table["split"].value_counts()
        say_once(f"{len(classes)} classes, {counts['train']} photos to train, {counts['val']} to validate; run folder "
                 f"{run}")  # fmt: skip
        first = first_network(config, classes)
        for stage in config.stages:  # now, not hours later
            first.net.freeze(stage.train)
        info = ModelInfo(
            classes=classes,
            architecture=config.model.architecture,
            head=config.model.head,
            image_size=config.model.image_size,
            mean=first.mean,
            std=first.std,
            style=style,
            detector=detector,
            git=git_state()["hash"],
            names=names,
        )
        teacher = Teacher(config.teachers, info) if config.teachers else None
    except UsageError:
        if is_first() and not state.resumed:
            discard_run(run)  # or the corrected command would be told that the folder is taken
        raise
    if first.parent:
        state.update(parent=first.parent)
        say_once(first.said)
    job = TrainingJob(config, run, table, info, device, state, teacher)
    best = -1.0
    for number in range(1, len(config.stages) + 1):
        best = max(best, _do_stage(first.net, number, best, job))
    metrics = on_first(_judge, job)
    for part, seen in (("validation", metrics), ("report", metrics.get("report"))):
        if seen:
            say_once(f"accuracy {seen['accuracy']:.4f}, top-5 {seen['top5']:.4f} on {seen['n']} {part} photos; {run}")


def _do_stage(net: CarNet, number: int, best: float, job: TrainingJob) -> float:
    """Runs a stage, or takes over what it left before; returns its accuracy. best: of the stages before."""
    stage = job.config.stages[number - 1]
    file = job.run / "stages" / f"{number}-{stage.name}.safetensors"
    if on_first(file.is_file):  # only a resumed run has one
        done, stage_info = load_model(file)
        net.load_state_dict(done.state_dict())
        accuracy = stage_info.metrics["accuracy"]
        say_once(f"stage {number}/{len(job.config.stages)} {stage.name}: done before (accuracy {accuracy:.3f})")
    else:
        accuracy = run_stage(net, number, job)
        stage_info = job.info.model_copy(update={"stage": stage.name, "metrics": {"accuracy": accuracy}})
        if is_first():
            if accuracy > best:
                save_model(net, stage_info, job.run / BEST)
            # Last and in full precision: this file says that the stage is done, and the next one starts from it.
            save_model(net, stage_info, file, half=False)
            _show(job.run)
    on_first(remove_checkpoints, checkpoints(job, number))
    return accuracy


def _prepare(config: TrainConfig, run: Path) -> tuple[pd.DataFrame, CutoutStyle, str]:
    """The table with its split, how the photos were cut out, and by which detector."""
    table, style, detector = prepare_crops(config, run)
    class_names(config, sorted(table["label"].unique()))  # before anything of the run is there that would stay
    check_cache(config, table)
    table = split_photos(config, run, table)
    table = with_doubts(config, run, table)
    table = with_extra(config, run, table, style, detector)
    note_resumed(run, config)
    return table, style, detector


def _judge(job: TrainingJob) -> dict:
    """Measures the written file, not the network in memory, on the validation photos; writes metrics.json.

    How sure the classifier may be comes from the same photos, and into the file. With `report`, the photos that were
    held back are looked at now, once.
    """
    run = job.run
    rows = job.table[job.table["split"] == "val"].reset_index(drop=True)
    classifier, probabilities = calibrate_file(run / BEST, rows, job.config.device)
    shown, cars = rows.assign(status="ok"), car_numbers(rows)
    metrics = evaluate(shown, probabilities, classifier.classes, run / "validation", CHOSEN_BY, cars)
    if job.config.tta > 1:
        probabilities = classifier.predict_files(rows["file"], job.config.tta)
        seen = evaluate(shown, probabilities, classifier.classes, run / "validation-tta", cars=cars)
        kept = ("accuracy", "top5", "macro_f1", "intervals", "ece", "nll")
        metrics["tta"] = {"passes": job.config.tta} | {name: seen[name] for name in kept}
    if job.config.report:
        metrics["report"] = _report(job, classifier)
    metrics = metrics | {
        "best_stage": classifier.info.stage,
        "epochs": len(read_epochs(run)),
        "seconds": job.state.seconds,
        "git": git_state(),
        "versions": versions(),
    }
    if (applied := applied_before(run)) is not None:
        metrics["corrections"] = applied
    if job.config.extra is not None:
        metrics["extra"] = json.loads((run / ABOUT).read_text(encoding="utf-8"))
    write_json(run / "metrics.json", metrics)
    log_result(job.config, run, job.state, metrics)
    _show(run)
    return metrics


def _report(job: TrainingJob, classifier: TorchClassifier) -> dict:
    """The figures of the photos that nothing was chosen by; `lost` is the share that gets no name."""
    rows = job.table[job.table["split"] == "test"].reset_index(drop=True)
    probabilities = classifier.predict_files(rows["file"].tolist())
    seen = evaluate(rows.assign(status="ok"), probabilities, classifier.classes, job.run / "report", {"part": REPORT})
    lost = float((probabilities.max(axis=1) < classifier.threshold).mean())
    kept = ("part", "n", "accuracy", "top5", "macro_f1", "intervals", "ece", "nll")
    return {name: seen[name] for name in kept if name in seen} | {"lost": round(lost, 6)}


def _show(run: Path) -> None:
    """The curves and the report of a run as far as it is; they never stop a training."""
    with never_in_the_way(f"the curves of {run} were not drawn"):
        save_curves(read_epochs(run), run / "curves.png")
    with never_in_the_way(f"the report of {run} was not written"):
        write_run_report(run)
