"""The formats of predictions: each is read back as others would."""

from __future__ import annotations

import csv
import io
import json
import sys
from itertools import islice

import pandas as pd
import pytest

from carclf.recognition.output.formats import choose_format, encoded, row_of, write_rows
from carclf.recognition.prediction import COLUMNS, Prediction, row_columns
from detection.common.errors import UsageError
from detection.common.files import names_read, read_name

PREDICTIONS = [
    Prediction("a, \"b\".jpg", "ok", "Лада Нива", 0.75, (("Lada Niva", 0.75), ("VW", 0.25)), (1.5, 2, 30, 40.2)),
    Prediction("line\nbreak.jpg", "no_car", reason="no vehicle found in the photo"),
    Prediction("\udcff.jpg", "unreadable", reason="no such file"),
]  # fmt: skip
ROWS = [row_of(one, COLUMNS) for one in PREDICTIONS]


def whole(format, rows=ROWS, columns=COLUMNS, **style):
    return b"".join(encoded(rows, format, columns, **style))


def test_csv_is_read_back_by_pandas():
    table = pd.read_csv(io.BytesIO(whole("csv", ROWS[:2])), keep_default_na=False)
    assert list(table.columns) == list(COLUMNS)
    assert list(table["file"]) == ['a, "b".jpg', "line\nbreak.jpg"]
    assert (table["label"][0], float(table["confidence"][0]), table["label"][1]) == ("Лада Нива", 0.75, "")
    assert json.loads(table["top"][0]) == [["Lada Niva", 0.75], ["VW", 0.25]]
    assert json.loads(table["box"][0]) == [1.5, 2, 30, 40.2] and table["box"][1] == ""


@pytest.mark.parametrize("format", ["json", "jsonl"])
def test_json_is_read_back(format):
    data = whole(format)
    rows = json.loads(data) if format == "json" else [json.loads(line) for line in data.splitlines()]
    assert names_read(rows) == json.loads(json.dumps(ROWS)) and "Лада".encode() in data
    read = pd.read_json(io.BytesIO(whole(format, ROWS[:2])), lines=format == "jsonl")
    assert list(read["status"]) == ["ok", "no_car"] and list(read.columns) == list(COLUMNS)


def test_names_that_are_not_utf8_come_back():
    for format in ("csv", "json", "jsonl", "table"):
        whole(format).decode("utf-8")  # valid, whatever the name
    for name in ("\udcff.jpg", "\\xff.jpg", "a\\\\b\udcc3", "a\\b.jpg", "é.jpg"):
        rows = [ROWS[2] | {"file": name}]
        from_csv = next(csv.DictReader(io.StringIO(whole("csv", rows).decode())))["file"]
        assert from_csv == json.loads(whole("json", rows))[0]["file"] == json.loads(whole("jsonl", rows))["file"]
        assert read_name(from_csv) == name


def test_parquet_is_read_back_by_pandas(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    from pyarrow.parquet import ParquetFile

    monkeypatch.setattr("carclf.recognition.output.parquet._ROWS", 2)
    columns = row_columns(every_vehicle=True)
    rows = [row_of(one, columns) for one in PREDICTIONS]
    write_rows(tmp_path / "rows.parquet", rows, "parquet", columns)
    assert ParquetFile(tmp_path / "rows.parquet").num_row_groups == 2
    table = pd.read_parquet(tmp_path / "rows.parquet")
    assert list(table.columns) == ["file", "vehicle", *COLUMNS[1:]]
    assert list(table["file"]) == ['a, "b".jpg', "line\nbreak.jpg", "\\xff.jpg"]
    first = table.iloc[0]
    assert list(first["box"]) == [1.5, 2, 30, 40.2] and first["confidence"] == 0.75
    assert list(first["top"]) == [
        {"label": "Lada Niva", "probability": 0.75}, {"label": "VW", "probability": 0.25},
    ]  # fmt: skip
    assert pd.isna(table["vehicle"][0]) and table["box"][1] is None and len(table["top"][1]) == 0


def test_parquet_of_nothing_has_its_columns(tmp_path):
    pytest.importorskip("pyarrow")
    write_rows(tmp_path / "none.parquet", [], "parquet", COLUMNS)
    assert list(pd.read_parquet(tmp_path / "none.parquet").columns) == list(COLUMNS)
    assert json.loads(whole("json", [])) == [] and whole("jsonl", []) == b""


def test_a_table_is_aligned_plain_and_harmless():
    wide = row_of(Prediction("車.jpg", "ok", "x\x1b[2J", 0.5, (("x", 0.5),)), COLUMNS)
    lines = whole("table", [*ROWS, wide]).decode().splitlines()
    assert lines[0].split() == ["file", "status", "label", "confidence", "next", "best"]
    assert lines[1] == 'a, "b".jpg      ok          Лада Нива  75.0%       VW 25.0%'
    assert lines[2].startswith("line?break.jpg  no_car ") and lines[2].endswith("(no vehicle found in the photo)")
    assert lines[3].startswith("�.jpg ") and lines[4].startswith("車.jpg          ok          x?[2J")
    assert "\x1b" not in "".join(lines)


def test_a_table_on_a_terminal_is_coloured_and_cut():
    lines = whole("table", colours=True, width=40).decode().splitlines()
    assert lines[1].startswith('a, "b".jpg      \x1b[32mok\x1b[0m ') and lines[1].endswith("…")
    assert len(lines[1].replace("\x1b[32m", "").replace("\x1b[0m", "")) <= 40


@pytest.mark.parametrize("format", ["csv", "json", "jsonl", "table", "parquet"])
def test_rows_stream_out_before_all_are_there(format):
    pytest.importorskip("pyarrow")

    def endless():
        while True:
            yield ROWS[0]

    pieces = list(islice(encoded(endless(), format, COLUMNS), 3))
    assert len(pieces) == 3 and all(pieces)


def test_the_format_follows_from_the_output(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    assert choose_format(None, None) == "table" and choose_format("csv", None) == "csv"
    names = {"a.csv": "csv", "a.JSON": "json", "a.jsonl": "jsonl", "a.parquet": "parquet", "a.txt": "table"}
    assert {name: choose_format(None, tmp_path / name) for name in names} == names
    assert choose_format("json", tmp_path / "a.csv") == "json"
    for format, output, said in [
        (None, tmp_path / "a.xlsx", "choose the format with --format"),
        ("xml", None, "Unknown format 'xml'"),
        ("parquet", None, "can't be written to standard output"),
    ]:
        with pytest.raises(UsageError, match=said):
            choose_format(format, output)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet", raising=False)
    with pytest.raises(UsageError, match="pip install pyarrow"):
        choose_format("parquet", tmp_path / "a.parquet")


def test_a_failing_stream_leaves_the_file_of_before(tmp_path):
    def broken():
        yield ROWS[0]
        raise RuntimeError("stopped")

    (tmp_path / "rows.csv").write_text("before")
    with pytest.raises(RuntimeError):
        write_rows(tmp_path / "rows.csv", broken(), "csv", COLUMNS)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]
    assert (tmp_path / "rows.csv").read_text() == "before"
