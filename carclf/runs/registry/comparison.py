"""What differs between runs: settings and results side by side."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from carclf.runs.registry.entry import RunEntry
from carclf.runs.registry.output import written
from carclf.runs.registry.table import SETTING, make_table

# They name the run itself, so they differ always and tell nothing.
OWN = ("run", "folder", f"{SETTING}output", f"{SETTING}resume", "command", "pid", "host")
TIMES = ("started", "ended")


def titles(runs: Sequence[RunEntry]) -> list[str]:
    """A name for each, all different: the folder's name, or as much of the path as is needed."""
    names = [run.name for run in runs]
    paths = [run.folder.absolute() for run in runs]
    length = 1
    while len(set(names)) < len(set(paths)):
        length += 1
        names = ["/".join(path.parts[-length:]) for path in paths]
    return names


def compare(runs: Sequence[RunEntry], everything: bool = False) -> pd.DataFrame:
    """A row per setting or result, settings first. Columns: what; one per run (text, as `titles` names them); for two
    runs also `difference`, where both are figures. Rows in which all are equal are left out unless `everything`; those
    of whole tables (the most confused pairs) always are."""
    table = make_table(runs)
    columns = [str(column) for column in table]
    rows = []
    for name in sorted(columns, key=lambda column: not column.startswith(SETTING)):
        values = table[name].tolist()
        texts = [written(value, name) for value in values]
        known = [None if pd.isna(value) else value for value in values]
        equal = all(value == known[0] for value in known) or (name in TIMES and len(set(texts)) == 1)
        details = any(text.startswith("[{") for text in texts)
        there = any(value is not None for value in known)
        if there and not details and (everything or not (equal or name in OWN)):
            rows.append([name, *texts, _difference(name, known)])
    compared = pd.DataFrame(rows, columns=["what", *titles(runs), "difference"])
    return compared if len(runs) == 2 and compared["difference"].any() else compared.drop(columns="difference")


def _difference(name: str, values: Sequence) -> str:
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    if len(values) != 2 or not numbers or name.startswith(SETTING):
        return ""
    change = values[1] - values[0]
    return f"{change:+.4f}" if isinstance(change, float) and name != "seconds" else f"{change:+.0f}"
