"""Raw photos to the crops that a classifier trains on: stage 1 over the data, and what it cut them with."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pandas as pd

from carclf.datasets import photo_root, read_manifest, read_table
from carclf.datasets.corrections.apply import APPLIED, apply_corrections, read_corrections
from carclf.datasets.labels import lost_note
from carclf.datasets.layouts.boxes import crop_table
from carclf.datasets.names import names_below
from carclf.runs.recipe import BY_FOLDERS, TrainConfig
from carclf.training.data.split import SPLIT
from detection.common.console import say
from detection.common.errors import UsageError
from detection.common.places.paths import folder_of
from detection.common.places.place import Place
from detection.cutout.cut import CutoutStyle
from detection.folder.plan import read_settings


def prepare_crops(config: TrainConfig, run: Path) -> tuple[pd.DataFrame, CutoutStyle, str]:
    """The table of crops (file, label), how they were cut out, and by which detector.

    Photos that are cut out already (`crops: true`, or a folder that stage 1 wrote) are taken as they are, and with
    `boxes: true` cropped to the boxes that the data bring. Else stage 1 runs first, into `crops_dir` or the run folder,
    and resumes where it stopped before. With `backgrounds` there are also the columns photo (the raw one) and
    `variant_column` of each background.
    """
    table = read_table(config.data, config.images, nested=config.names == BY_FOLDERS)
    if config.corrections is not None:
        table = _corrected(table, config.corrections, run)
    root = photo_root(config.data, config.images)
    if (root / "manifest.csv").is_file():
        return table, *_settings(root, config)
    if config.crops:
        return table, config.cutout, config.detector
    if config.boxes:
        return _box_crops(table, root, config, run), config.cutout, config.detector
    root = root if config.images is not None else _common_root(table, root)
    folder = config.crops_dir or run / "crops"
    if not config.backgrounds:
        cut_out(root, folder, config, config.cutout.background)
        return map_to_crops(table, root, folder), config.cutout, config.detector
    own = folder / config.cutout.background
    detections = own / "detections.jsonl"  # found once, cut out on each background
    cut_out(root, own, config, config.cutout.background, save_detections=True)
    others = [background for background in config.backgrounds if background != config.cutout.background]
    for background in others:
        cut_out(root, folder / background, config, background, detections=detections)
    crops = map_to_crops(table.assign(photo=table["file"]), root, own)
    for background in config.backgrounds:
        made = read_manifest(folder / background)
        files = [made.get(name) for name in names_below(root, crops["photo"].tolist())]
        # A crop that failed on this background alone is taken on the model's own.
        chosen = [str(file) if file is not None else own for file, own in zip(files, crops["file"], strict=True)]
        crops[variant_column(background)] = pd.Series(chosen, crops.index, dtype=object)
    return crops, config.cutout, config.detector


def _corrected(table: pd.DataFrame, corrections: Path, run: Path) -> pd.DataFrame:
    """The table as people corrected it; what was applied stays in the run, and is what a resumed one applies again."""
    began = (run / SPLIT).is_file()  # from then on its photos stay the same
    table, applied = apply_corrections(table, read_corrections(run / APPLIED if began else corrections))
    if not began:
        for line in applied.told:
            say(line)
        applied.write(run)
    return table


def _box_crops(table: pd.DataFrame, root: Path, config: TrainConfig, run: Path) -> pd.DataFrame:
    if "box" not in table:
        raise UsageError(f"boxes=true needs data that bring boxes, and '{config.data}' has none: see docs/data.md.")
    padding = config.cutout.padding
    folder = (config.crops_dir or run / "crops") / f"boxes-{padding:g}"  # crops that are there are taken as they are
    say(f"crops the photos of {root} to their boxes into {folder}")
    return crop_table(table, root, folder, padding)


def variant_column(background: str) -> str:
    """The column of the table that holds the crops on a background."""
    return f"file_{background}"


def cut_out(root: Path, folder: Path, config: TrainConfig, background: str, **options) -> None:
    """Stage 1 over the photos below `root`, into `folder`; it resumes where it stopped before."""
    from detection.detectors.load import load_detector
    from detection.folder.options import CleanOptions
    from detection.folder.run import clean_folder

    say(f"stage 1 cuts out the photos of {root} into {folder}")
    style = config.cutout.model_copy(update={"background": background})
    load = partial(load_detector, config.detector, device=config.device)
    clean_folder(root, folder, load, style, options=CleanOptions.of(**options))


def map_to_crops(table: pd.DataFrame, root: Path, folder: Path) -> pd.DataFrame:
    """The table with each photo's file replaced by its crop; photos that stage 1 gave none for are left out."""
    made = read_manifest(folder)
    files = [made.get(name) for name in names_below(root, table["file"].tolist())]
    kept = [file is not None for file in files]
    if not any(kept):
        raise UsageError(f"Stage 1 gave no crop for any of the {len(table)} photos: see {folder / 'manifest.csv'}.")
    if not all(kept):
        say(f"{len(kept) - sum(kept)} photos without a crop are left out; {folder / 'manifest.csv'} says why")
        if note := lost_note(table["label"], table["label"][kept], "stage 1 gave no crop for any of their photos"):
            say(note)
    names = pd.Series([str(file) for file in files if file is not None], table.index[kept], dtype=object)
    crops = table[kept].assign(file=names).reset_index(drop=True)
    return crops.drop(columns="box", errors="ignore")  # it belongs to the whole photo


def _common_root(table: pd.DataFrame, root: Path) -> Path:
    """A csv's photos may lie in a folder beside it; only that one is cut out."""
    inside = {name.partition("/")[0] for name in names_below(root, table["file"].tolist())}
    only = root / next(iter(inside))
    if len(inside) > 1 or not only.is_dir():
        return root
    if isinstance(only, Place):
        opened = folder_of(only)
        return root if opened is None or opened.key else opened  # a folder in an archive is none by itself
    return only


def _settings(folder: Path, config: TrainConfig) -> tuple[CutoutStyle, str]:
    """Style and detector that stage 1 noted beside its manifest; the config's where it noted none."""
    path = folder / "settings.json"
    if not path.is_file():
        return config.cutout, config.detector
    try:
        noted = read_settings(path, folder)
        style = CutoutStyle.model_validate({key: noted[key] for key in CutoutStyle.model_fields})
        return style, str(noted["detector"])
    except UsageError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"'{path}' can't be read as settings of stage 1: clean the photos again.") from error
