"""The findings of a data check for a person to read."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from carclf.datasets.check.check import FINDINGS, DataCheck
from detection.common.tally import counted

MOST_ROWS = 10
_COPIES = ("exact_duplicate", "near_duplicate", "crosses_split", "conflicting_label")


def report(check: DataCheck) -> str:
    """Plain text: the classes, what was found with the first files of each, and a summary as the last lines."""
    parts = [_class_table(check.classes)]
    for finding in FINDINGS:
        rows = check.found(finding)
        if len(rows):
            parts.append("\n".join(_finding(finding, rows)))
    parts.append("\n".join([*check.problems, *_summary(check)]))
    return "\n\n".join(parts) + "\n"


def _class_table(classes: pd.DataFrame) -> str:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in classes:
        table.add_column(Text(str(column)), justify="left" if column == "class" else "right", no_wrap=True)
    for row in classes.itertuples(index=False):
        table.add_row(*(Text(str(value)) for value in row))  # a name may look like markup
    text = StringIO()
    Console(file=text, width=400, color_system=None).print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def _finding(finding: str, rows: pd.DataFrame) -> Iterator[str]:
    copies = finding in _COPIES
    of = f" of {counted(rows['picture'].nunique(), 'picture')}" if copies else ""
    yield f"{finding}: {counted(len(rows), 'photo')}{of}. {FINDINGS[finding].capitalize()}."
    before = None
    for row in rows.head(MOST_ROWS).to_dict("records"):
        lead = "=" if copies and row["picture"] == before else "-"  # = a copy of the line above
        before = row["picture"]
        place = ", ".join(part for part in (row["split"], row["label"]) if part)
        yield f"  {lead} {row['file']} ({place}){': ' if row['reason'] else ''}{row['reason']}"
    yield from _more(len(rows))


def _more(number: int) -> Iterator[str]:
    if number > MOST_ROWS:
        yield f"  and {number - MOST_ROWS} more (--csv FILE or --json FILE for all)"


def _summary(check: DataCheck) -> Iterator[str]:
    status = check.rows["status"].value_counts()
    splits = check.rows["split"].value_counts()
    sides = ", ".join(f"{number} {split}" for split, number in splits.items() if split)
    photos = counted(len(check.rows), "photo")
    yield from check.applied.told if check.applied else ()
    yield f"{photos} of {counted(len(check.classes), 'class', 'classes')} in {check.root}{': ' if sides else ''}{sides}"
    if len(status) > 1 or "ok" not in status:
        yield ", ".join(f"{number} {name}" for name, number in status.items())
    ends = check.balance
    largest, smallest = ends["largest"], ends["smallest"]
    ratio = f", ratio {ends['ratio']:g}" if smallest["photos"] else ""
    yield (f"Largest class: {largest['class']} ({largest['photos']}); smallest: {smallest['class']} "
           f"({smallest['photos']}){ratio}.")  # fmt: skip
    found = [f"{len(check.found(name))} {name}" for name in FINDINGS if len(check.found(name))]
    if check.problems:
        found.append("the classes named above")
    yield f"To look at: {', '.join(found)}." if found else "Nothing to look at: the data are clean."
