"""Rows of predictions as aligned columns of text."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

from rich.cells import cell_len, set_cell_size

from carclf.classifier.levels.names import CLASS
from carclf.recognition.prediction import COLOUR_COLUMNS, ERROR, NO_CAR, OK, UNKNOWN, UNREADABLE, VEHICLE

# The widths follow from the first rows: later ones are written as they come. On a terminal somebody waits for them.
_LOOKED_AT, _LOOKED_AT_WAITING = 1000, 16
_ANSI = {OK: "32", UNKNOWN: "33", NO_CAR: "36", UNREADABLE: "31", ERROR: "31"}


def table_lines(
    rows: Iterable[dict], columns: Sequence[str], colours: bool = False, width: int | None = None
) -> Iterator[str]:
    """The header and a line per row, without line ends: file, status, label, confidence, where it is told the colour,
    the next best and the reason.

    They survive a pipe, which cuts framed tables. width: of a terminal, at which lines are cut. colours: the status is
    coloured by terminal codes.
    """
    ranked, painted = VEHICLE in columns, COLOUR_COLUMNS[0] in columns
    lines = chain([_header(ranked, painted)], (_cells(row, ranked, painted) for row in rows))
    first = list(islice(lines, 1 + (_LOOKED_AT if width is None else _LOOKED_AT_WAITING)))
    widths = [max(cell_len(line[place]) for line in first) for place in range(len(first[0]) - 1)]
    status = 1 + ranked
    for number, line in enumerate(chain(first, lines)):
        cells = [cell + " " * max(0, size - cell_len(cell)) for cell, size in zip(line, widths, strict=False)]
        text = "  ".join([*cells, line[-1]]).rstrip()
        if width is not None and cell_len(text) > width:
            text = f"{set_cell_size(text, max(1, width - 1)).rstrip()}…"
        before = sum(len(cell) + 2 for cell in cells[:status])
        if colours and number and text[before:].startswith(line[status]):
            end = before + len(line[status])
            text = f"{text[:before]}\x1b[{_ANSI.get(line[status], '0')}m{line[status]}\x1b[0m{text[end:]}"
        yield text


def _header(ranked: bool, painted: bool) -> tuple[str, ...]:
    colour = COLOUR_COLUMNS[:1] if painted else ()
    return ("file", *([VEHICLE] if ranked else []), "status", "label", "confidence", *colour, "next best")


def _cells(row: dict, ranked: bool, painted: bool) -> tuple[str, ...]:
    confidence = "" if row["confidence"] is None else f"{row['confidence']:.1%}"
    # With levels, the best class is news where it is not the label.
    start = 0 if row.get("make_confidence") is not None and row.get("level") != CLASS else 1
    others = ", ".join(f"{_printable(label)} {share:.1%}" for label, share in row["top"][start : start + 2])
    note = f"({_printable(row['reason'])})" if row["reason"] else ""
    rank = ["" if row[VEHICLE] is None else str(row[VEHICLE])] if ranked else []
    label = _printable(row["label"] or "")
    colour = [row[COLOUR_COLUMNS[0]] or ""] if painted else []
    return (_printable(row["file"]), *rank, row["status"], label, confidence, *colour, f"{others} {note}".strip())


def _printable(text: str) -> str:
    """A name may hold line breaks and terminal codes; none of them may act."""
    text = os.fsencode(text).decode("utf-8", "replace")
    return "".join(char if char.isprintable() else "?" for char in text)
