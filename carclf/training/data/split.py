"""The photos of a run and their split, in its split.csv: made once, and found again by content when photos move."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from carclf.datasets import read_split, split_table
from carclf.datasets.content import OWN, content_digests, with_digests
from carclf.datasets.parts import with_parts
from carclf.runs.recipe import TrainConfig
from carclf.runs.resume import further
from detection.common.console import say
from detection.common.errors import UsageError
from detection.common.files import write_table
from detection.common.files.names import common_folder

SPLIT = "split.csv"


def split_photos(config: TrainConfig, run: Path, table: pd.DataFrame) -> pd.DataFrame:
    """The photos with the columns split and sha256, from split.csv where the run has one: no validation photo may slip
    into training, and a resumed run sees the very photos that it began with.

    table: the photos as the data have them now, columns file and label, perhaps variants. Photos that moved are found
    by their content, and split.csv then says where they are. Raises `UsageError` for photos that are gone or changed.
    """
    path = run / SPLIT
    if not path.is_file():
        table = with_digests(draw_split(config, table))
        write_table(path, table)
        return table
    saved = read_split(path)
    files = table["file"].tolist()
    row_of = {file: number for number, file in enumerate(files)}
    if OWN in saved:
        rows, lost = _by_content(saved, files, row_of)
    else:
        rows, lost = _by_name(saved, table, row_of)
    if lost:
        raise UsageError(
            f"{len(lost)} of the {len(saved)} photos of '{run}' are gone or have changed, for example "
            f"'{saved['file'][lost[0]]}': put them back, pass data=FOLDER where the same photos are, or without them "
            f"{further(run)}."
        )
    found = saved.copy()
    for column in (name for name in saved.columns.astype(str) if name in ("file", "photo") or name.startswith("file_")):
        now = table[column].tolist() if column in table else None
        if now is not None:
            found[column] = [old if row is None else now[row] for old, row in zip(saved[column], rows, strict=True)]
    moved = found["file"][found["file"] != saved["file"]]
    if len(moved):
        known = "content" if OWN in saved else "names alone, as that version noted nothing else of them"
        say(f"{len(moved)} photos of '{run}' have moved, for example to '{moved.iloc[0]}'; they were known by their "
            f"{known}")  # fmt: skip
    if not found.equals(saved):
        write_table(path, found)
    return found


def draw_split(config: TrainConfig, table: pd.DataFrame) -> pd.DataFrame:
    """The table with the column split: by the config's list of parts, as the data bring it, or drawn."""
    if config.split is not None:
        table = with_parts(table, config.split)
    seed = config.seed if config.split_seed is None else config.split_seed
    return split_table(table, config.validation, seed, config.report)


def _by_content(
    saved: pd.DataFrame, files: Sequence[str], row_of: dict[str, int]
) -> tuple[list[int | None], list[int]]:
    """For each saved photo its row among the files of now, None where it lies elsewhere as it was; and who is lost."""
    whole = [now == then for now, then in zip(content_digests(saved["file"].tolist()), saved[OWN], strict=True)]
    rows = [row_of.get(file) if same else None for file, same in zip(saved["file"], whole, strict=True)]
    astray = [number for number, row in enumerate(rows) if row is None]
    if not astray:
        return rows, []
    taken = {row for row in rows if row is not None}
    others = [row for row in range(len(files)) if row not in taken]
    of_digest: dict[str, list[int]] = defaultdict(list)
    for row, digest in zip(others, content_digests([files[row] for row in others]), strict=True):
        of_digest[digest].append(row)
    for number in astray:
        alike = of_digest.get(saved[OWN][number])
        if alike:
            rows[number] = alike.pop(0) if len(alike) > 1 else alike[0]  # of copies, any is as good
    return rows, [number for number in astray if rows[number] is None and not whole[number]]


def _by_name(saved: pd.DataFrame, table: pd.DataFrame, row_of: dict[str, int]) -> tuple[list[int | None], list[int]]:
    """The same for a run of version 0.4, which noted no digests."""
    root = common_folder(os.path.dirname(file) for file in row_of)
    at_end = {Path(file).relative_to(root).parts: row for file, row in row_of.items()}
    rows, lost = [], []
    for number, file in enumerate(saved["file"]):
        row = row_of.get(file)
        if row is None and not os.path.isfile(file):
            parts = Path(file).parts
            ends = (at_end.get(parts[start:]) for start in range(1, len(parts)))
            row = next((row for row in ends if row is not None), None)
            if row is None:
                lost.append(number)
        rows.append(row)
    return rows, lost
