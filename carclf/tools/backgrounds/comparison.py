"""The same short training on photos as they are, on box crops and on cut-outs: which background is best?

output/settings.yaml   what all trainings share           output/results.csv, .md, .json, .png   what came out
output/split.csv       the photos, on which side each is  output/trainings.csv                   each training's figures
output/crops/          what stage 1 made of the photos    output/runs/STYLE-seedN/               a run folder each
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from carclf.datasets import photo_root, read_split
from carclf.runs.recipe import TrainConfig
from carclf.runs.resume import FREE
from carclf.tools.backgrounds.output import write_results
from carclf.tools.backgrounds.paired import PairedAccuracies
from carclf.training.data.crops import prepare_crops, variant_column
from carclf.training.data.split import draw_split
from detection.common.config import read_config, write_config
from detection.common.console import say
from detection.common.errors import UsageError
from detection.common.files import read_name, write_table
from detection.common.output_folder import OutputFolder, changed_keys
from detection.cutout.cut import CutoutStyle

RAW, BOX = "raw", "box"
STYLES = (RAW, BOX, "white", "gray", "mean", "blur")
KNOWN = (*STYLES, "black")
_WHOLE = 10.0  # padding, in sizes of the car, that reaches the border of any photo with a car in it


def compare_backgrounds(config: TrainConfig, output: Path, styles: Sequence[str] = STYLES, seeds: int = 3) -> dict:
    """Trains `config` for each style and seed, writes the results into output and returns what results.json holds.

    styles: of `KNOWN`; the differences are against the first. All trainings have the same split. seeds: how many, the
    config's first. What is finished stays; a training that was cut off resumes. Further styles and seeds may be added
    later. Raises `UsageError` for unknown styles, photos that are cut out already, and an output of other settings.
    """
    styles = _checked(styles)
    if seeds < 1:
        raise UsageError("The comparison needs one seed or more.")
    if config.crops or (photo_root(config.data, config.images) / "manifest.csv").is_file():
        raise UsageError(f"'{config.data}' holds cut-outs: pass the photos as they were, for stage 1 to cut them out.")
    _claim(output, config)
    photos = _photos(config, output, styles)
    for style in styles:
        write_table(output / "data" / f"{style}.csv", photos[["label", "split"]].assign(file=photos[style]))
    todo = [
        (style, seed)
        for seed in range(config.seed, config.seed + seeds)
        for style in styles
        if not (_run_folder(output, style, seed) / "metrics.json").is_file()
    ]
    all_of_them, started = len(styles) * seeds, time.monotonic()
    for number, (style, seed) in enumerate(todo):
        left = (len(todo) - number) * (time.monotonic() - started) / number / 60 if number else None
        remark = "" if left is None else f"; some {max(1, round(left))} minutes left"
        say(f"training {all_of_them - len(todo) + number + 1} of {all_of_them}: {style}, seed {seed}{remark}")
        _train(config, output, style, seed)
        if style == styles[-1]:  # what is known so far
            _summarize(config, output, photos, styles, seed - config.seed + 1)
    return _summarize(config, output, photos, styles, seeds)


def _checked(styles: Sequence[str]) -> tuple[str, ...]:
    unknown = [style for style in styles if style not in KNOWN]
    if unknown:
        raise UsageError(f"Unknown style '{unknown[0]}': choose from {', '.join(KNOWN)}.")
    if len(set(styles)) < len(styles) or len(styles) < 2:
        raise UsageError(f"Give two or more different styles of {', '.join(KNOWN)}.")
    return tuple(styles)


def _claim(output: Path, config: TrainConfig) -> None:
    """Notes the settings in the output, or checks that those noted there are the same."""
    path = output / "settings.yaml"
    folder = OutputFolder(output, path.name, failed=f"The output '{output}' can't be written")
    if folder.check(f"'{output}' exists and is not a comparison: choose an empty or new folder as output."):
        noted = read_config(TrainConfig, path).model_dump(exclude=FREE)
        changed = changed_keys(config.model_dump(exclude=FREE), noted)
        if changed:
            raise UsageError(f"'{output}' was started with other settings ({', '.join(changed)}): pass the same, or "
                             "another output.")  # fmt: skip
        return
    folder.make(lambda: write_config(config, path))


def _photos(config: TrainConfig, output: Path, styles: Sequence[str]) -> pd.DataFrame:
    """Columns label, split and the file in each style; raw is the photo itself. The split is made once."""
    # Stage 1 finds the cars on `keep`, whatever the styles are, so that it finds them once. A photo without a car stays
    # whole in each style: all styles are judged on the same photos.
    style = config.cutout.model_copy(update={"background": "keep", "no_car": "keep"})
    backgrounds = dict.fromkeys(["keep", *(style for style in styles if style not in (RAW, BOX))], 1.0)
    changes = {"cutout": style, "backgrounds": backgrounds, "crops_dir": output / "crops"}
    table, _, _ = prepare_crops(config.model_copy(update=changes), output)
    table["file"] = table["photo"]
    columns = {style: "file" if style == RAW else variant_column("keep" if style == BOX else style) for style in styles}
    files = pd.DataFrame({"file": table["file"], **{style: table[column] for style, column in columns.items()}})
    path = output / "split.csv"
    if not path.is_file():
        write_table(path, draw_split(config, table)[["file", "label", "split"]])
    split = read_split(path)
    photos = split.merge(files, on="file", how="left")
    if photos.isna().any(axis=None):
        raise UsageError(f"The photos in '{config.data}' are not those that '{output}' was started with: pass "
                         "the same, or another output.")  # fmt: skip
    return photos


def _run_folder(output: Path, style: str, seed: int) -> Path:
    return output / "runs" / f"{style}-seed{seed}"


def _train(config: TrainConfig, output: Path, style: str, seed: int) -> None:
    from carclf.training.loop import train

    run = _run_folder(output, style, seed)
    changes = {
        "name": f"{config.name}-{style}",
        "data": output / "data" / f"{style}.csv",
        "images": None,
        "crops": True,  # stage 1 has been
        "crops_dir": None,
        "cutout": _style_of(style, config.cutout),
        "backgrounds": {},
        "seed": seed,
        "output": run,
        "resume": (run / "config.yaml").is_file(),
    }
    train(config.model_copy(update=changes))


def _style_of(style: str, cutout: CutoutStyle) -> CutoutStyle:
    """How the photos of a style are cut out: what the trained model would have to be told."""
    if style == RAW:
        return cutout.model_copy(update={"background": "keep", "padding": _WHOLE})
    return cutout.model_copy(update={"background": "keep" if style == BOX else style})


def _summarize(config: TrainConfig, output: Path, photos: pd.DataFrame, styles: Sequence[str], seeds: int) -> dict:
    validation = photos[photos["split"] == "val"]
    trainings, correct = [], {}
    for style in styles:
        answers = []
        for seed in range(config.seed, config.seed + seeds):
            run = _run_folder(output, style, seed)
            answers.append(_correct(run, validation[style].tolist()))
            metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
            row = {"style": style, "seed": seed, "accuracy": float(answers[-1].mean()), "top5": metrics["top5"]}
            trainings.append(row | {"seconds": metrics["seconds"], "run": run.relative_to(output).as_posix()})
        correct[style] = np.stack(answers)
    about = {
        "recipe": config.name,
        "architecture": config.model.architecture,
        "classes": photos["label"].nunique(),
        "photos_to_train": int((photos["split"] == "train").sum()),
        "photos_to_validate": len(validation),
        "photos_without_a_car": _without_a_car(output, photos),
        "seeds": seeds,
    }
    return write_results(output, PairedAccuracies(correct), trainings, about)


def _without_a_car(output: Path, photos: pd.DataFrame) -> int:
    """In how many of the photos stage 1 found none."""
    manifest = pd.read_csv(output / "crops" / "keep" / "manifest.csv", dtype=str, keep_default_na=False)
    empty = [str(source) for source in manifest["source"][manifest["status"] == "no_car"]]
    return int(photos["file"].str.endswith(tuple(f"/{source}" for source in empty)).sum()) if empty else 0


def _correct(run: Path, files: list[str]) -> np.ndarray:
    """bool [photos]: which of the files the run's model named rightly."""
    table = pd.read_csv(run / "validation" / "predictions.csv", dtype=str, keep_default_na=False)
    answers = dict(zip(map(read_name, table["file"]), table["correct"] == "True", strict=True))
    if set(answers) != set(files):
        raise UsageError(
            f"'{run}' was measured on other photos than the comparison holds out: remove it and start again."
        )
    return np.array([answers[file] for file in files])
