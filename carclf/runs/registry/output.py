"""How runs are shown and written: tables for a terminal, files for other programs."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from carclf.runs.registry.table import SETTING
from detection.common.errors import UsageError
from detection.common.files import escaped, replace_file

LONG = 16  # letters; longer columns give way when the terminal is narrow
SUFFIXES = (".csv", ".parquet", ".json")
COLOURS = {"running": "cyan", "finished": "green", "stopped": "yellow", "failed": "red", "broken": "red"}


def show_table(table: pd.DataFrame, titles: Mapping[str, str] | None = None, fold: bool = False) -> None:
    """Prints it on stdout, long text cut to what fits the terminal, or folded. A pipe or file gets all of it, plain."""
    terminal = sys.stdout.isatty()
    drawn = Table(box=box.SIMPLE_HEAD if terminal else None, pad_edge=False, padding=(0, 1 if terminal else 2, 0, 0))
    columns = {name: [written(value, name) for value in table[name]] for name in map(str, table)}
    for number, (name, texts) in enumerate(columns.items()):
        numbers = pd.api.types.is_numeric_dtype(table[name]) and table[name].dtype != "boolean"
        long = number > 0 and max(map(len, texts), default=0) > LONG
        title = (titles or {}).get(name, name)
        side: JustifyMethod = "right" if numbers else "left"
        drawn.add_column(title, justify=side, no_wrap=not long, overflow="fold", min_width=min(len(title), 10))
    for row in zip(*columns.values(), strict=True):
        drawn.add_row(*(_cell(name, text, fold) for name, text in zip(columns, row, strict=True)))
    if terminal:
        Console(highlight=False).print(drawn)
        return
    text = io.StringIO()
    Console(file=text, width=1_000_000, highlight=False).print(drawn)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines()))


def _cell(column: str, text: str, fold: bool) -> Text:
    style = COLOURS.get(text, "") if column == "state" else ""
    return Text(text, style, no_wrap=None if fold else True, overflow="fold" if fold else "ellipsis")


def written(value: object, column: str = "") -> str:
    """A value for people: settings as they were set, figures with 4 digits, times as the clock here shows them, seconds
    as h:mm:ss."""
    if value is None or value is pd.NA or value != value:
        return ""
    if column in ("started", "ended"):
        return datetime.fromisoformat(str(value)).astimezone().strftime("%Y-%m-%d %H:%M")
    if column == "seconds" and isinstance(value, (int, float)):
        minutes, seconds = divmod(round(value), 60)
        return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        figure = not column.startswith(SETTING) and 0.001 <= abs(value) < 1000
        return f"{value:.4f}" if figure else f"{value:g}"
    return "".join(char if char.isprintable() else "?" for char in str(value))


def check_suffix(path: Path, suffixes: Sequence[str] = SUFFIXES) -> None:
    """Raises `UsageError` for a file of another kind."""
    if path.suffix.lower() not in suffixes:
        raise UsageError(f"'{path}' must end in one of {', '.join(suffixes)}.")


def export(table: pd.DataFrame, path: Path) -> None:
    """Writes .csv, .json (a list of rows) or .parquet, by temp file and rename. Raises `UsageError`."""
    check_suffix(path)
    kind = path.suffix.lower()
    if kind == ".csv":
        data = table.map(escaped).to_csv(index=False).encode("utf-8")
    elif kind == ".json":
        rows = json.loads(table.to_json(orient="records", double_precision=15))
        data = json.dumps(escaped(rows), indent=1, ensure_ascii=False).encode("utf-8")
    else:
        data = _parquet(table)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, data)
    except OSError as error:
        raise UsageError(f"'{path}' can't be written: {error.strerror or error}.") from error


def _parquet(table: pd.DataFrame) -> bytes:
    data = io.BytesIO()
    try:
        table.to_parquet(data, index=False)
    except ImportError as error:
        raise UsageError("Parquet files need pyarrow: pip install pyarrow, or write a .csv or .json file.") from error
    return data.getvalue()
