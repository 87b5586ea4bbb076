"""Rows of predictions as a Parquet file, written in row groups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from carclf.recognition.prediction import VEHICLE
from detection.common.errors import UsageError
from detection.common.files import escaped

_ROWS = 10_000  # per row group
_SHARES = ("confidence", "make_confidence", "model_confidence", "year_confidence", "colour_confidence")


def check_parquet() -> None:
    """Raises `UsageError` with what to install when Parquet can't be written here."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise UsageError("Parquet files need pyarrow: pip install pyarrow, or choose another format.") from error


def parquet_chunks(rows: Iterable[dict], columns: Sequence[str]) -> Iterator[bytes]:
    """The file's bytes, row group by row group.

    confidences are doubles, vehicle and counts int32, `box` a list of doubles, `top` a list of (label, probability),
    places of what is hidden lists of four [x, y]. Of a file name that is not UTF-8, see `escape_name`.
    """
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    pair = pyarrow.struct([("label", pyarrow.string()), ("probability", pyarrow.float64())])
    doubles = pyarrow.list_(pyarrow.float64())
    kinds = {
        **dict.fromkeys((VEHICLE, "hidden", "nearly_hidden"), pyarrow.int32()),
        **dict.fromkeys(("hidden_at", "nearly_at"), pyarrow.list_(pyarrow.list_(doubles))),
        **dict.fromkeys(("hidden_kinds", "nearly_kinds"), pyarrow.list_(pyarrow.string())),
        **dict.fromkeys(_SHARES, pyarrow.float64()),
        "top": pyarrow.list_(pair),
        "box": doubles,
        "hidden_scores": doubles,
    }
    schema = pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in columns])
    rows, target = iter(rows), _Chunks()
    with ParquetWriter(pyarrow.PythonFile(target, mode="w"), schema) as writer:
        while group := [_plain(row, columns) for row in islice(rows, _ROWS)]:
            writer.write_table(pyarrow.Table.from_pylist(group, schema))
            yield target.take()
    yield target.take()


class _Chunks:
    """A file to write to, whose bytes are taken out as they come."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        self._size += len(data)
        return len(data)

    def take(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


def _plain(row: dict, columns: Sequence[str]) -> dict:
    row = escaped(row)
    plain = {name: row[name] for name in columns}
    return plain | {"top": [{"label": label, "probability": value} for label, value in row["top"]]}
