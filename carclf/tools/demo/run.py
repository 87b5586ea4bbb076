"""`carclf demo`: the real chain on drawn street scenes, for a first run without any data or network."""

from __future__ import annotations

import csv
import json
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from carclf.datasets.drawn.scenes import write_dataset
from carclf.evaluation.chain import evaluate_chain
from carclf.recognition.inputs import find_sources
from carclf.recognition.output.formats import row_of, write_rows
from carclf.recognition.prediction import Prediction, row_columns
from carclf.recognition.recognizer import CarRecognizer
from carclf.runs.recipe import Pretrained, Stage
from carclf.runs.report.page import write_run_report
from carclf.runs.report.pages import write_page
from carclf.tools.demo.html import render
from carclf.tools.demo.page import Results, make_page
from detection.common.output_folder import OutputFolder
from detection.cutout.cut import CutoutStyle

MARKER = ".carclf-demo"  # only a folder with this file in it is ever emptied

# Small images and few epochs: about two minutes on two cores, and still each of the five stages of the classic recipe.
STAGES = (
    Stage(name="head", train="head", epochs=3, learning_rate=4e-3, image_size=128, batch_size=16, augmentation=0.5),
    Stage(name="half", train="half", epochs=3, learning_rate=2e-3, image_size=128, batch_size=16, augmentation=0.5),
    Stage(
        name="three_quarters", train="three_quarters", epochs=2, learning_rate=1e-3, image_size=128, batch_size=16,
        augmentation=0.5,
    ),
    Stage(
        name="all", train="all", epochs=3, learning_rate=1e-3, image_size=128, batch_size=16, augmentation=0.5,
        schedule="onecycle",
    ),
    Stage(
        name="larger", train="all", epochs=2, learning_rate=3e-4, image_size=160, batch_size=16, augmentation=0.5,
        schedule="cosine",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class DemoPlan:
    """How much is drawn and learnt; counts are per car shape, `negatives` are streets without a car."""

    train: int = 25
    test: int = 7
    negatives: int = 6
    validation: float = 0.2
    image_size: int = 160
    stages: tuple[Stage, ...] = STAGES
    pretrained: Pretrained = "auto"


@dataclass
class Folders:
    """Where the demo's results lie, all under one folder."""

    root: Path
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def train(self) -> Path:
        return self.root / "scenes" / "train"

    @property
    def test(self) -> Path:
        return self.root / "scenes" / "test"

    @property
    def cleaned(self) -> Path:
        return self.root / "cleaned"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def evaluation(self) -> Path:
        return self.root / "evaluation"

    @property
    def predictions(self) -> Path:
        return self.root / "predictions.json"

    @property
    def page(self) -> Path:
        return self.root / "index.html"


def run_demo(output: str | Path, seed: int = 0, detector=None, plan: DemoPlan | None = None) -> Path:
    """Draws, cleans, trains, evaluates and predicts; returns the path of the HTML page.

    detector: a loaded one instead of the bundled `compact`. An earlier demo in `output` is replaced; raises
    `UsageError` when the folder holds anything else.
    """
    plan = plan or DemoPlan()
    folders = Folders(emptied(Path(output)))
    if detector is None:
        from detection.detectors.load import load_detector

        detector = load_detector("compact")
    with _step(folders, 1, "draw", "Drawing street scenes"):
        labels = write_dataset(folders.train, plan.train, seed=seed)
        test_labels = write_dataset(folders.test, plan.test, seed=seed + 1_000_000, negatives=plan.negatives)
        print(f"      {_count(labels)} to learn from: {folders.train}")
        print(f"      {_count(test_labels)} to test with, and {plan.negatives} streets without a car: {folders.test}")
    with _step(folders, 2, "clean", f"Removing the backgrounds with the detector '{detector.name}'"):
        _clean(folders, detector)
    with _step(folders, 3, "train", f"Training in {len(plan.stages)} stages"):
        _train(folders, plan, seed)
    recognizer = CarRecognizer(folders.run, detector=detector)
    with _step(folders, 4, "evaluate", "Evaluating on the raw test photos"):
        metrics = _evaluate(folders, recognizer)
        print(f"      accuracy {metrics['accuracy']:.1%} of {metrics['n']}: {folders.evaluation / 'metrics.json'}")
    with _step(folders, 5, "predict", "Naming the car of every test photo"):
        predictions = _predict(folders, recognizer)
        print(f"      {folders.predictions}")
    results = Results(
        root=folders.root,
        classes=recognizer.classes,
        detector=detector.name,
        metrics=metrics,
        manifest=_read_csv(folders.cleaned / "manifest.csv"),
        train_boxes=_boxes(folders.train),
        test_boxes=_boxes(folders.test),
        epochs=_epochs(folders.run),
        predictions=predictions,
        seconds=folders.seconds,
    )
    page = make_page(results)
    write_page(render(page), folders.page)
    print()
    for figure in page.figures:
        print(f"{figure.name}: {figure.value} ({figure.note})")
    for remark in page.remarks:
        print(remark)
    print(f"\nLook at it all in one page: {folders.page.absolute().as_uri()}")
    return folders.page


def _clean(folders: Folders, detector) -> None:
    from detection.folder.run import clean_folder

    summary = clean_folder(folders.train / "images", folders.cleaned, detector, CutoutStyle())
    print(f"      {summary} {summary.manifest}")


def _train(folders: Folders, plan: DemoPlan, seed: int) -> None:
    from carclf.runs.recipe import ModelConfig, TrainConfig
    from carclf.training.loop import train

    train(
        TrainConfig(
            name="demo",
            data=folders.cleaned,
            crops=True,
            output=folders.run,
            validation=plan.validation,
            seed=seed,
            model=ModelConfig(image_size=plan.image_size, pretrained=plan.pretrained),
            stages=plan.stages,
            workers=0,  # starting worker processes takes longer than reading this few small photos
        )
    )
    print(f"      {folders.run / 'best.safetensors'}")


def _evaluate(folders: Folders, recognizer: CarRecognizer) -> dict:
    from carclf.datasets import read_table

    table = read_table(folders.test / "labels.csv", folders.test / "images")
    metrics = evaluate_chain(recognizer, table, folders.evaluation)
    write_run_report(folders.evaluation)
    return metrics


def _predict(folders: Folders, recognizer: CarRecognizer) -> list[Prediction]:
    paths = [source.path for source in find_sources([str(folders.test / "images")])]
    predictions = list(recognizer.recognize(paths))
    columns = row_columns(every_vehicle=False)
    write_rows(folders.predictions, [row_of(one, columns) for one in predictions], "json", columns)
    return predictions


def emptied(output: Path) -> Path:
    """The folder of a demo, empty but for the marker. Raises `UsageError` when it holds what no demo has written."""
    folder = OutputFolder(output, MARKER)
    note = "Made by `carclf demo`, which empties this folder when it runs again.\n"
    folder.check(
        f"'{output}' holds other files: choose a new or empty folder with --output.",
        file=f"The folder '{output}' can't be written: File exists.",
    )
    folder.empty()
    folder.make(lambda: (output / MARKER).write_text(note))
    return output


@contextmanager
def _step(folders: Folders, number: int, name: str, title: str):
    print(f"[{number}/5] {title} ...", flush=True)
    start = time.perf_counter()
    yield
    folders.seconds[name] = time.perf_counter() - start
    print(f"      done in {folders.seconds[name]:.0f} s", flush=True)


def _boxes(folder: Path) -> dict[str, tuple[float, float, float, float]]:
    """The drawn cars: file relative to the images folder -> x1, y1, x2, y2."""
    coco = json.loads((folder / "annotations.json").read_text())
    names = {image["id"]: image["file_name"] for image in coco["images"]}
    boxes = {names[one["image_id"]]: np.array(one["bbox"], float) for one in coco["annotations"]}
    return {name: (x, y, x + width, y + height) for name, (x, y, width, height) in boxes.items()}


def _epochs(run: Path) -> list[dict]:
    from carclf.runs.tables import read_epochs

    return read_epochs(run)


def _read_csv(path: Path) -> list[dict]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _count(labels: Path) -> int:
    return len(_read_csv(labels))
