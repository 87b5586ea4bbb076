"""Runs as a table: a row per run, a column for each setting and result of any of them; chosen, sorted and filtered."""

from __future__ import annotations

import difflib
import fnmatch
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from pandas.api.extensions import ExtensionArray

from carclf.runs.registry.entry import RunEntry
from detection.common.errors import UsageError

FIRST = (
    *("run", "state", "reason", "accuracy", "top5", "macro_f1", "val_accuracy", "epochs", "stage", "seconds"),
    *("started", "ended", "parent", "folder"),
)
SETTING = "config."
# Figures of which less is better: sorting puts the best first, whatever is sorted by.
LESS = re.compile(r"loss|error|ece|brier|nll|seconds")
COMPARISONS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


def make_table(runs: Sequence[RunEntry]) -> pd.DataFrame:
    """A row per run, in their order.

    Columns: those of `FIRST`, then the other results (`status.ok`, `git.hash`), then the settings
    (`config.stages.head.epochs`). Each has one type: bool, whole or other numbers, text; <NA> for what a run has not.
    """
    rows, own = [], set(FIRST)
    results: dict[str, None] = {}  # in place of a set, for the order
    settings: dict[str, None] = {}
    for run in runs:
        row = {f"{SETTING}{key}": value for key, value in run.settings.items()}
        settings |= dict.fromkeys(row)
        others = {key: value for key, value in run.results.items() if key not in ("run", "folder", "state", "reason")}
        results |= dict.fromkeys(key for key in others if key not in own)
        row |= others
        row |= {"run": run.name, "folder": str(run.folder), "state": run.state, "reason": run.reason or None}
        row |= {"started": run.started, "ended": run.ended, "parent": run.parent}
        rows.append(row)
    columns = [*FIRST, *results, *settings]
    return pd.DataFrame({name: _typed([row.get(name) for row in rows]) for name in columns}, columns=columns)


def _typed(values: list) -> ExtensionArray:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pd.array(values, dtype="boolean")
    if kinds == {int} and all(value is None or abs(value) < 2**63 for value in values):
        return pd.array(values, dtype="Int64")
    if kinds and kinds <= {int, float}:
        return pd.array([None if value is None else float(value) for value in values], dtype="Float64")
    return pd.array([None if value is None else str(value) for value in values], dtype="string")


def find_column(table: pd.DataFrame, name: str) -> str:
    """The column of a name: whole, without `config.`, or its end (`head.learning_rate`); `name` is the run's. Raises
    `UsageError` when it is none or several."""
    name = name.strip()
    for whole in ("run" if name == "name" else name, SETTING + name):
        if whole in table:
            return whole
    columns = [str(column) for column in table]
    ends = [column for column in columns if column.endswith(f".{name}")]
    if len(ends) == 1:
        return ends[0]
    if ends:
        some = ", ".join(ends[:4]) + (", ..." if len(ends) > 4 else "")
        raise UsageError(f"'{name}' matches {len(ends)} columns ({some}): give a longer part of the name.")
    short = [column.removeprefix(SETTING) for column in columns]
    near = difflib.get_close_matches(name, list(dict.fromkeys([*columns, *short])), 3)
    hint = f"did you mean {' or '.join(near)}?" if near else "--output FILE.csv writes all there are."
    raise UsageError(f"The runs have no column '{name}': {hint}")


@dataclass(frozen=True)
class Filter:
    """One condition on a run, as `accuracy>0.8`, `state!=broken`, `run=best*`, `config.init=none`."""

    column: str
    sign: str
    value: str

    @classmethod
    def of(cls, text: str) -> Filter:
        """Raises `UsageError` for what is no condition."""
        match = re.fullmatch(r"\s*([^<>=!\s]+)\s*(>=|<=|!=|==|=|>|<)\s*(.*?)\s*", text)
        if match is None:
            raise UsageError(f'\'{text}\' is not a filter: write "accuracy>0.8", "state=finished" or "run=best*".')
        column, sign, value = match.groups()
        return cls(column, "=" if sign == "==" else sign, value)

    def keep(self, table: pd.DataFrame) -> pd.DataFrame:
        """The rows that meet it. A run without the value meets `=none` and every `!=` but `!=none`."""
        values = table[find_column(table, self.column)]
        return table[[self._met(value) for value in values]]

    def _met(self, value) -> bool:
        missing = pd.isna(value)
        if self.sign in COMPARISONS:
            return not missing and COMPARISONS[self.sign](*self._comparable(value))
        if self.value.lower() in ("none", "null", ""):
            equal = missing
        elif missing:
            equal = False
        elif isinstance(value, bool):
            equal = str(value).lower() == self.value.lower()
        elif isinstance(value, (int, float)):
            equal = _number(self.value) == value
        else:
            equal = str(value) == self.value or fnmatch.fnmatchcase(str(value), self.value)
        return equal == (self.sign == "=")

    def _comparable(self, value) -> tuple:
        """Both sides as numbers, or as text where the run has text (times)."""
        if not isinstance(value, (int, float)):
            return str(value), self.value
        number = _number(self.value)
        if number is None:
            raise UsageError(f"'{self.column}' is a number, so it can't be compared with '{self.value}'.")
        return value, number


def sort_table(table: pd.DataFrame, by: str, descending: bool | None = None) -> pd.DataFrame:
    """Sorted by a column; rows without a value last. descending None: the best figures, the newest times and the first
    names come first."""
    column = find_column(table, by)
    if descending is None:
        words = table[column].dtype == "string" and column not in ("started", "ended")
        descending = not words and not LESS.search(column.rpartition(".")[2])
    return table.sort_values(column, ascending=not descending, kind="stable", na_position="last", ignore_index=True)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
