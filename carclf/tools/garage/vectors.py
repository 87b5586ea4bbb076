"""Tables of vectors, one row per car: how `carclf embed` makes them, and their files.

A .parquet file holds the rows with their vectors. A .npy file holds the vectors, float32 [N, F], and the .csv of the
same name beside it their rows, in the same order. `model` is the fingerprint of the classifier: only vectors of one
model can be compared.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from carclf.recognition.output.parquet import check_parquet
from carclf.recognition.prediction import FAILED, OK, UNKNOWN
from carclf.recognition.recognizer import CarRecognizer
from detection.common.console import Track, untracked
from detection.common.errors import UsageError
from detection.common.files import check_output, escape_name, read_name, replace_file
from detection.version import __version__

FORMAT = "carclf-vectors-1"
COLUMNS = ("file", "status", "label", "confidence", "box", "reason", "model", "format")
SUFFIXES = (".parquet", ".npy")
_TEXTS = ("file", "status", "label", "reason", "model", "format")


@dataclass(frozen=True, eq=False)
class VectorTable:
    """rows: one per car or photo without one, the values of `COLUMNS`; label, confidence and box may be None. vectors:
    float32 [N, F] of length 1; all NaN where there is no car."""

    rows: list[dict]
    vectors: np.ndarray

    @property
    def failed(self) -> int:
        return sum(row["status"] in FAILED for row in self.rows)

    @property
    def model(self) -> str:
        """The fingerprint of the classifier."""
        return str(self.rows[0]["model"]) if self.rows else ""

    def only(self, wanted: np.ndarray) -> VectorTable:
        """The rows for which bool [N] is true."""
        return VectorTable([row for row, take in zip(self.rows, wanted, strict=True) if take], self.vectors[wanted])

    @property
    def there(self) -> np.ndarray:
        """bool [N]: which rows have a vector."""
        return ~np.isnan(self.vectors).any(axis=1)


def embed_photos(recognizer: CarRecognizer, files: Iterable[str], total: int, track: Track = untracked) -> VectorTable:
    """Raises `UsageError` for a classifier that gives no vectors."""
    rows, vectors = [], []
    length = recognizer.classifier.predict_and_embed([])[1].shape[1]
    nothing = np.full(length, np.nan, np.float32)
    for seen in track(recognizer.recognize_fully(files, vectors=True), total):
        row = seen.prediction.row() | {"model": recognizer.classifier.fingerprint, "format": FORMAT}
        rows.append({name: row[name] for name in COLUMNS})
        vectors.append(nothing if seen.vector is None else seen.vector)
    return VectorTable(rows, np.stack(vectors) if vectors else np.empty((0, length), np.float32))


def rows_of_predictions(path: Path, every: bool = False) -> list[str] | None:
    """The photos in a file of `carclf predict`, those with an unknown car or `every` one with a car; None for vectors.

    Relative names are as they were given to it. Raises `UsageError` for a file that is neither.
    """
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return None
    if not path.is_file():
        raise UsageError(f"There is no file '{path}': check the path.")
    wanted = (OK, UNKNOWN) if every else (UNKNOWN,)
    try:
        if suffix == ".parquet":
            check_parquet()
            from pyarrow.parquet import ParquetFile

            with ParquetFile(path) as file:
                if "vector" in file.schema_arrow.names:
                    return None
                rows = file.read(columns=["file", "status"]).to_pylist()
        elif suffix == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as lines:
                rows = list(csv.DictReader(lines))
        else:
            text = path.read_text(encoding="utf-8")
            rows = [json.loads(line) for line in text.splitlines() if line] if suffix != ".json" else json.loads(text)
        return list(dict.fromkeys(read_name(row["file"]) for row in rows if row["status"] in wanted))
    except UsageError:
        raise
    except Exception as error:  # each library has exceptions of its own
        raise UsageError(f"'{path}' holds neither rows of `carclf predict` nor vectors of `carclf embed`.") from error


def check_vectors_file(path: Path) -> None:
    """Raises `UsageError` where vectors can't be written to a file of that name."""
    check_output(path)
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"Vectors are written as .parquet or .npy: give '{path}' one of these endings.")
    if path.suffix.lower() == ".parquet":
        check_parquet()


def write_vectors(path: Path, table: VectorTable) -> None:
    """By temp file and rename; of .npy, the rows go first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = io.BytesIO()
    if path.suffix.lower() == ".npy":
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(_as_text(row) for row in table.rows)
        replace_file(path.with_suffix(".csv"), text.getvalue().encode("utf-8"))
        np.save(data, table.vectors, allow_pickle=False)
        replace_file(path, data.getbuffer())
        return
    import pyarrow
    from pyarrow.parquet import write_table

    kinds = dict.fromkeys(_TEXTS, pyarrow.string()) | {"confidence": pyarrow.float64()}
    kinds["box"] = pyarrow.list_(pyarrow.float64())
    schema = pyarrow.schema(
        [(name, kinds[name]) for name in COLUMNS] + [("vector", pyarrow.list_(pyarrow.float32()))],
        {"carclf": json.dumps({"format": FORMAT, "model": table.model, "carclf": __version__})},
    )
    columns = {name: [row[name] for row in table.rows] for name in COLUMNS}
    columns["file"] = [escape_name(name) for name in columns["file"]]
    columns["vector"] = list(table.vectors)
    write_table(pyarrow.table(columns, schema=schema), data)
    replace_file(path, data.getbuffer())


def read_vectors(path: Path) -> VectorTable:
    """Raises `UsageError` for a file that is missing, damaged, of another format or of several models."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"'{path}' is neither .parquet nor .npy: name a file that `carclf embed` has written.")
    if not path.is_file():
        raise UsageError(f"There is no file of vectors '{path}': check the path.")
    try:
        rows, vectors = _read_npy(path) if path.suffix.lower() == ".npy" else _read_parquet(path)
    except UsageError:
        raise
    except Exception as error:  # each library has exceptions of its own
        raise UsageError(f"'{path}' holds no vectors that `carclf embed` has written: make them again.") from error
    if {row["format"] for row in rows} - {FORMAT} or len({row["model"] for row in rows}) > 1:
        raise UsageError(f"'{path}' holds vectors of another version or of several models: make them again.")
    return VectorTable(rows, vectors)


def _read_npy(path: Path) -> tuple[list[dict], np.ndarray]:
    beside = path.with_suffix(".csv")
    if not beside.is_file():
        raise UsageError(f"The rows of '{path}' are missing: '{beside}' belongs beside it.")
    vectors = np.load(path, allow_pickle=False)
    with beside.open(encoding="utf-8", newline="") as file:
        rows = [_from_text(row) for row in csv.DictReader(file)]
    if vectors.ndim != 2 or vectors.dtype != np.float32 or len(vectors) != len(rows):
        raise UsageError(f"'{path}' and the rows in '{beside}' don't belong together: make them again.")
    return rows, vectors


def _read_parquet(path: Path) -> tuple[list[dict], np.ndarray]:
    check_parquet()
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:  # from one file alone, whatever lies beside it
        table = file.read()
    rows = table.select(list(COLUMNS)).to_pylist()
    for row in rows:
        row["file"] = read_name(row["file"])
    vectors = table.column("vector").combine_chunks()
    flat = np.asarray(vectors.flatten(), np.float32)
    return rows, flat.reshape(len(rows), -1) if rows else np.empty((0, 0), np.float32)


def _as_text(row: dict) -> dict:
    texts = {name: "" if row[name] is None else row[name] for name in COLUMNS}
    return texts | {"file": escape_name(row["file"]), "box": "" if row["box"] is None else json.dumps(row["box"])}


def _from_text(row: dict[str, str]) -> dict:
    values: dict = {name: row[name] for name in COLUMNS}
    values["file"] = read_name(row["file"])
    values["label"] = row["label"] or None
    values["confidence"] = float(row["confidence"]) if row["confidence"] else None
    values["box"] = [float(value) for value in json.loads(row["box"])] if row["box"] else None
    return values


def nearest(vectors: np.ndarray, vector: np.ndarray, count: int) -> Sequence[tuple[int, float]]:
    """The numbers of the `count` nearest rows of float [N, F] and their cosines, best first; rows of NaN never."""
    cosines = np.nan_to_num(vectors @ vector, nan=-np.inf)
    best = np.argsort(-cosines, kind="stable")[:count]
    return [(int(place), float(cosines[place])) for place in best if np.isfinite(cosines[place])]
