"""Which of the photos that a model is measured on it was trained on: those flatter it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from carclf.datasets.content import known_photos
from carclf.datasets.parts import choose_part
from detection.common.console import say
from detection.common.errors import UsageError

HELD_OUT = "held-out"


def choose_photos(table: pd.DataFrame, split: str, weights: Path, parts: Path | None = None) -> pd.DataFrame:
    """`choose_part` by a list of parts, and `held-out`: only what the model was not trained on.

    weights: the model's file. Where its run knows its photos, there is the column trained_on (bool), and a line says
    how many were. Raises `UsageError` for `held-out` where it doesn't know, or nothing is left.
    """
    table = mark_trained(choose_part(table, "all" if split == HELD_OUT else split, parts), weights)
    if split == HELD_OUT:
        if "trained_on" not in table:
            raise UsageError(
                f"'{weights}' does not know its photos: name a run folder, or data that you know it was not trained on."
            )
        if table["trained_on"].all():
            raise UsageError(f"The model was trained on all {len(table)} photos: name others.")
        return leave_out_trained(table)
    if "trained_on" in table and table["trained_on"].any():
        trained, rest = int(table["trained_on"].sum()), int((~table["trained_on"]).sum())
        others = f"--split {HELD_OUT} takes the other {rest}" if rest else "measure it on others"
        say(f"{trained} of these {len(table)} photos were trained on: the figures flatter the model; {others}.")
    return table


def mark_trained(table: pd.DataFrame, weights: Path) -> pd.DataFrame:
    """The table with the column trained_on (bool) where the run of the model's file knows its photos."""
    known = known_photos(weights)
    return table if known is None else table.assign(trained_on=known.trained_on(table["file"].tolist()))


def leave_out_trained(table: pd.DataFrame) -> pd.DataFrame:
    """What of `mark_trained`'s table was not trained on; a line says how many were."""
    if "trained_on" not in table or not table["trained_on"].any():
        return table
    say(f"{int(table['trained_on'].sum())} of the {len(table)} photos were trained on and are left out.")
    return table[~table["trained_on"]].reset_index(drop=True)
