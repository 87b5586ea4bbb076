"""What an ONNX file asks for, read from its bytes before ONNX Runtime opens it. Needs no package for ONNX."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from detection.common.errors import UsageError

MOST_BYTES = 2**30  # a network of 250 million weights; a larger file would only fill the memory
# Operators of the standard itself, under either name. Others come from libraries that a file may ask for.
_STANDARD = frozenset({"", "ai.onnx"})
_DEEPEST = 12  # graphs in branches of graphs
# Of the messages of onnx.proto the fields that hold other messages, and where a domain or a tensor's place is noted.
_MESSAGES = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_DOMAINS = {"node": 7, "function": 10}
_DIMS, _TYPE, _NAME, _RAW, _EXTERNAL, _LOCATION = 1, 2, 8, 9, 13, 14
_GRAPH, _TENSOR = 7, 5  # of a model, of a graph
_FLOAT = 1


@dataclass
class GraphFacts:
    """domains: of its operators. given: shapes of the tensors that it does not hold, by name. floats: whether these
    are all float32."""

    domains: set[str] = field(default_factory=set)
    given: dict[str, tuple[int, ...]] = field(default_factory=dict)
    floats: bool = True


def read_network(path: Path, again: str) -> tuple[bytes, GraphFacts]:
    """The bytes of an ONNX file and what it asks for.

    again: what to do about a file that is missing or damaged. Raises `UsageError` for those, and for a file that is too
    large or has operators beyond the standard: nothing of a stranger's file is handed to a library before.
    """
    if not path.is_file():
        raise UsageError(f"'{path}' is missing: {again}.")
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise UsageError(
            f"'{path}' has {size / 2**30:.1f} GiB, more than the {MOST_BYTES / 2**30:g} GiB of any network."
        )
    data = path.read_bytes()
    try:
        facts = read_facts(data)
    except (ValueError, IndexError, RecursionError) as error:
        raise UsageError(f"'{path}' can't be loaded, as it is no ONNX file: {again}.") from error
    if others := sorted(facts.domains - _STANDARD):
        raise UsageError(
            f"'{path}' is not opened, as it has operators of '{others[0][:60]}' beside ONNX's own: {again}."
        )
    return data, facts


def filled(data: bytes, arrays: Mapping[str, np.ndarray]) -> bytes:
    """An ONNX file with the tensors put in that its graph does not hold; what else it holds stays as it is.

    arrays: float32, of the shapes that `GraphFacts.given` says, by name. For engines that take a whole file only.
    """

    def fill_tensor(tensor: memoryview) -> bytes:
        name = next((_text(value) for number, value in _fields(tensor) if number == _NAME), "")
        facts = GraphFacts()
        _read_tensor(tensor, facts)
        if name not in facts.given:
            return bytes(tensor)
        array = np.ascontiguousarray(arrays[name], "<f4")
        dims = b"".join(_field(_DIMS, side) for side in array.shape)
        return dims + _field(_TYPE, _FLOAT) + _field(_NAME, name.encode()) + _field(_RAW, array.tobytes())

    def fill_graph(graph: memoryview) -> bytes:
        return b"".join(
            _field(number, fill_tensor(_bytes(value)) if number == _TENSOR else value)
            for number, value in _fields(graph)
        )

    model = _fields(memoryview(data))
    return b"".join(_field(number, fill_graph(_bytes(value)) if number == _GRAPH else value) for number, value in model)


def _field(number: int, value: int | bytes | memoryview) -> bytes:
    """A field of a protobuf message; numbers with a fixed size, which models and graphs don't have, would not do."""
    if isinstance(value, int):
        return _number(number << 3) + _number(value)
    return _number(number << 3 | 2) + _number(len(value)) + bytes(value)


def _number(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes(found) + bytes([value])


def read_facts(data: bytes) -> GraphFacts:
    """Raises ValueError or IndexError for bytes that are no message."""
    facts = GraphFacts()
    _read(memoryview(data), "model", facts, 0)
    return facts


def _read(data: memoryview, kind: str, facts: GraphFacts, depth: int) -> None:
    if depth > _DEEPEST:
        raise ValueError("too deep")
    if kind == "tensor":
        _read_tensor(data, facts)
        return
    inner, domain = _MESSAGES[kind], _DOMAINS.get(kind)
    for number, value in _fields(data):
        if number in inner:
            _read(_bytes(value), inner[number], facts, depth + 1)
        elif number == domain:
            facts.domains.add(_text(value))


def _read_tensor(data: memoryview, facts: GraphFacts) -> None:
    shape: list[int] = []
    type, name, external = 0, "", False
    for number, value in _fields(data):
        if number == _DIMS:
            shape += [value] if isinstance(value, int) else _numbers(value)
        elif number == _TYPE and isinstance(value, int):
            type = value
        elif number == _NAME:
            name = _text(value)
        elif number == _EXTERNAL or (number == _LOCATION and value != 0):
            external = True
    if external:
        facts.given[name] = tuple(shape)
        facts.floats &= type == _FLOAT


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field of a protobuf message."""
    place, end = 0, len(data)
    while place < end:
        tag, place = _varint(data, place)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, place = _varint(data, place)
            yield number, value
            continue
        if wire == 2:
            size, place = _varint(data, place)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if place + size > end:
            raise ValueError("cut off")
        yield number, data[place : place + size]
        place += size


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        byte = data[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
    raise ValueError("too long a number")


def _numbers(data: memoryview) -> list[int]:
    found, place = [], 0
    while place < len(data):
        value, place = _varint(data, place)
        found.append(value)
    return found


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number in place of a message")
    return value


def _text(value: int | memoryview) -> str:
    return str(_bytes(value), "utf-8")
