"""Which photos train and which validate; a split that the data bring is kept."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from carclf.datasets.copies import picture_numbers
from carclf.datasets.labels import alike_note, lost_note
from carclf.datasets.names import names
from detection.common.errors import UsageError
from detection.common.files import names_read
from detection.common.tally import counted

log = logging.getLogger("carclf")


def split_table(table: pd.DataFrame, validation: float = 0.1, seed: int = 1, report: float = 0.0) -> pd.DataFrame:
    """Adds the column split (train or val): the given share of each class, at least one photo on either side.

    Copies of a photo (same bytes, or the same picture saved again) stay together, or validation would be flattered.
    Where the table has a split, `test` stays `test`, which neither trains nor validates, and `val` stays `val`; only
    when it has no `val`, a share of its `train` becomes one. Copies that such a split separates are counted in a
    warning. Photos that can't be read are left out, with a warning too.
    report: the share of each class that becomes `test` first; `validation` is a share of the rest.
    Raises `UsageError` for fewer than two classes, for a class that can't be split, for one that can't be trained, and
    for `report` where the data bring a `test`.
    """
    table = table.reset_index(drop=True)
    picture = pd.Series(picture_numbers(table["file"].tolist()), dtype=object)
    if picture.isna().any():
        log.warning(
            "%d photos can't be read and are left out, the first is '%s'.",
            picture.isna().sum(), table["file"][picture.isna()].iloc[0],
        )  # fmt: skip
        readable = table[picture.notna()]
        if note := lost_note(table["label"], readable["label"], "none of their photos can be read"):
            log.warning("%s", note)
        table, picture = readable.reset_index(drop=True), picture.dropna().reset_index(drop=True)
    _warn_of_labels(table, picture)
    if report:
        table = _hold_back(table, picture, report, seed)
    if "split" not in table:
        return table.assign(split=_own_split(table, picture, validation, seed))
    _warn_of_copies_across(table, picture)
    train = table["split"] == "train"
    _check_given(table, train)
    if (table["split"] == "val").any():
        return table
    rows, pictures = table[train].reset_index(drop=True), picture[train].reset_index(drop=True)
    split = table["split"].astype(object)
    split[train] = _own_split(rows, pictures, validation, seed)
    return table.assign(split=split)


def choose_split(table: pd.DataFrame, name: str = "auto") -> pd.DataFrame:
    """The rows of a part of the split; `auto` takes `test` where the data have one, else all, and `all` always.

    Raises `UsageError` for a part that is not there.
    """
    parts = sorted(table["split"].unique()) if "split" in table else []
    if name == "all" or (name == "auto" and "test" not in parts):
        return table
    wanted = "test" if name == "auto" else name
    if wanted not in parts:
        raise UsageError(f"The data have no part '{name}': choose {names(['auto', 'all', *parts])}.")
    return table[table["split"] == wanted].reset_index(drop=True)


def crossing_pictures(table: pd.DataFrame, picture: pd.Series) -> set[int]:
    """The numbers of the pictures that lie in more than one part of the split (rows of both in the same order)."""
    sides = table["split"].groupby(picture.to_numpy()).nunique()
    return set(sides.index[sides > 1])


def _hold_back(table: pd.DataFrame, picture: pd.Series, report: float, seed: int) -> pd.DataFrame:
    """The table with a share of what trains as `test`."""
    side = table["split"].astype(object) if "split" in table else pd.Series("train", table.index, dtype=object)
    if (side == "test").any():
        raise UsageError("The data bring a test part, which nothing is chosen by: leave report out, and measure the "
                         "model on it with carclf evaluate --split test.")  # fmt: skip
    train = side == "train"
    counts = table["label"][train].value_counts()
    if (counts < 3).any():
        few = sorted(counts.index[counts < 3])
        raise UsageError(f"{counted(len(few), 'class has', 'classes have')} fewer than three photos ({names(few)}): "
                         "with report, each class needs one for each of the three parts.")  # fmt: skip
    rows, pictures = table[train].reset_index(drop=True), picture[train].reset_index(drop=True)
    held = _own_split(rows, pictures, report, seed)
    side[train] = pd.Series(["test" if one == "val" else one for one in held], side.index[train], dtype=object)
    return table.assign(split=side)


def _own_split(table: pd.DataFrame, picture: pd.Series, validation: float, seed: int) -> list[str]:
    counts = table["label"].value_counts()
    if len(counts) < 2:
        raise UsageError(f"Training needs photos of at least two classes, but there is only {names(counts.index)}.")
    if (counts < 2).any():
        alone = sorted(counts.index[counts < 2])
        raise UsageError(
            f"{counted(len(alone), 'class has', 'classes have')} only one photo ({names(alone)}): "
            "add photos or leave them out, each class needs one for training and one for validation."
        )
    side: dict[int, str] = {}
    random = np.random.default_rng(seed)
    for label, rows in sorted(table.groupby("label").groups.items()):
        groups = picture[rows].value_counts(sort=False).sort_index()
        if len(groups) < 2:
            raise UsageError(f"All photos of class '{label}' are copies of one: add other photos of it.")
        _assign(groups, max(1, round(validation * len(rows))), side, random)
        sides = {side[group] for group in groups.index}
        if len(sides) < 2:
            raise UsageError(f"The photos of class '{label}' are copies of other classes' photos: clean its folder.")
    return [side[group] for group in picture]


def _assign(groups: pd.Series, wanted: int, side: dict[int, str], random: np.random.Generator) -> None:
    """Puts groups of copies (index: picture, value: photos of this class) on a side until validation has enough."""
    taken = sum(count for group, count in zip(groups.index, groups, strict=True) if side.get(group) == "val")
    free = [group for group in groups.index if group not in side]
    has_train = any(side.get(group) == "train" for group in groups.index)
    for number, position in enumerate(random.permutation(len(free))):
        last_for_train = number == len(free) - 1 and not has_train
        side[free[position]] = "val" if taken < wanted and not last_for_train else "train"
        has_train |= side[free[position]] == "train"
        taken += groups[free[position]] if side[free[position]] == "val" else 0


def _check_given(table: pd.DataFrame, train: pd.Series) -> None:
    if not train.any():
        there = names(sorted(table["split"].unique()))
        raise UsageError(f"The data's own split has no photos to train on, only {there}: name some of them train.")
    known = table["label"][train].unique()
    if len(known) < 2:
        raise UsageError(f"Training needs photos of at least two classes, but there is only {names(known)}.")
    untrained = sorted(set(table["label"]) - set(known))
    if untrained:
        raise UsageError(
            f"{counted(len(untrained), 'class has', 'classes have')} no photo to train on in the data's own split "
            f"({names(untrained)}): move some of theirs to train, or leave them out."
        )


def read_split(path: Path) -> pd.DataFrame:
    """The split.csv of a run, all as text; names of files that are not UTF-8 as on disk."""
    columns = pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("list")
    return pd.DataFrame(names_read(columns), dtype=object)  # pandas' own text can't hold such names


def _warn_of_labels(table: pd.DataFrame, picture: pd.Series) -> None:
    if note := alike_note(table["label"]):
        log.warning("%s", note)
    several = table["label"].groupby(picture.to_numpy()).transform("nunique") > 1
    if several.any():
        log.warning(
            "%d photos of %s bear more than one class, the first is '%s': at most one is right. `carclf data check` "
            "lists them.",
            several.sum(), counted(picture[several].nunique(), "picture"), table["file"][several].iloc[0],
        )  # fmt: skip


def _warn_of_copies_across(table: pd.DataFrame, picture: pd.Series) -> None:
    crossing = crossing_pictures(table, picture)
    if crossing:
        rows = picture.isin(crossing).to_numpy()
        log.warning(
            "The data's own split separates copies: %d photos of %s lie on several sides, the first is '%s'. They "
            "flatter the figures: `carclf data check` lists them, take them out of one side.",
            rows.sum(), counted(len(crossing), "picture"), table["file"][rows].iloc[0],
        )  # fmt: skip
