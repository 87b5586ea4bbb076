"""What a stranger's file may not do: numbers without end, documents that grow, names that lead out of a folder."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn
from xml.etree import ElementTree
from xml.parsers import expat

from carclf.tools.exchange.record import Box, Thing, Value
from carclf.tools.exchange.shapes import Shape, shape_box
from detection.common.errors import UsageError
from detection.common.files import escape_name, write_text
from detection.masks.coco_file import MOST_PIXELS

MOST_BYTES = 1 << 30  # of one file of annotations: 20,000 photos with masks take a tenth
_MOST_NUMBER = 1e7  # no photo has so many pixels in a row
_DEEPEST = 100
_NOT_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


# What reading a damaged or malicious record may raise.
_FAULTS = (KeyError, TypeError, AttributeError, ValueError, IndexError, OverflowError, RecursionError)


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turns whatever a damaged record raises into a `UsageError`: `what`, and why."""
    try:
        yield
    except UsageError:
        raise
    except _FAULTS as error:
        why = f"{error} is missing" if isinstance(error, KeyError) else str(error) or "it is damaged"
        raise UsageError(f"{what}: {why[:200]}.") from error


def read_bytes(path: Path) -> bytes:
    """Raises `UsageError` for a file that can't be read, or is too large for annotations."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UsageError(f"'{path}' is larger than 1 GiB: split it, as it is read at once.")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"'{path}' can't be read: {error.strerror or error}.") from error


def read_text(path: Path) -> str:
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"'{path}' is not UTF-8: save it as UTF-8.") from error


def read_json(path: Path) -> Any:
    """Raises `UsageError` for what is not JSON; NaN and Infinity are not."""
    try:
        return json.loads(read_text(path), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"'{path}' is not JSON: {str(error).splitlines()[0]}.") from error


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


def read_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file. One with a document type is refused: entities may grow without end, or read files."""
    data = read_bytes(path)
    depth = 0

    def declared(*about: object) -> NoReturn:
        raise UsageError(f"'{path}' declares a document type or entities, which no annotation needs: don't trust it.")

    def opened(*about: object) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise UsageError(f"'{path}' is nested deeper than {_DEEPEST} elements: it is no file of annotations.")

    def closed(*about: object) -> None:
        nonlocal depth
        depth -= 1

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = declared
    parser.EntityDeclHandler = declared
    parser.StartElementHandler, parser.EndElementHandler = opened, closed
    try:
        parser.Parse(data, True)
        return ElementTree.fromstring(data)
    except (expat.ExpatError, ElementTree.ParseError, ValueError, LookupError) as error:
        raise UsageError(f"'{path}' is not XML: {error}.") from error


def number(value: Any) -> float:
    """A number of pixels, or a share. Raises ValueError for anything else, NaN and huge ones too."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{value!r:.40} is not a number")
    found = float(value)
    if not abs(found) <= _MOST_NUMBER:
        raise ValueError(f"{value!r:.40} is no number of pixels")
    return found


def whole(value: Any) -> int:
    found = number(value)
    if found != int(found):
        raise ValueError(f"{value!r:.40} is not a whole number")
    return int(found)


def score_of(value: Any) -> float | None:
    """A confidence; None for none. Raises ValueError outside 0 to 1."""
    if value is None or value == "":
        return None
    found = number(value)
    if not 0 <= found <= 1:
        raise ValueError(f"the confidence {value!r:.40} is not between 0 and 1")
    return found


def size_of(height: Any, width: Any) -> tuple[int, int]:
    """Raises ValueError for a size that no photo has."""
    size = whole(height), whole(width)
    if min(size) < 1 or size[0] * size[1] > MOST_PIXELS:
        raise ValueError(f"{size[1]} x {size[0]} is no size of a photo")
    return size


def box_of(x1: Any, y1: Any, x2: Any, y2: Any) -> Box:
    """Raises ValueError for an empty box."""
    a, b, c, d = (round(number(value), 6) + 0.0 for value in (x1, y1, x2, y2))
    if not (a < c and b < d):
        raise ValueError(f"the box {a:g},{b:g},{c:g},{d:g} is empty")
    return a, b, c, d


def text_of(value: Any) -> str:
    """A name of a class. Raises ValueError for an empty one, or none at all."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a class has no name")
    value.encode("utf-8")  # half a letter can't be written again
    return value


def attributes_of(values: Any) -> dict[str, Value]:
    """What is said of something, by its name; lists and more become JSON texts. Raises ValueError."""
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ValueError("attributes are not by name")
    simple = (str, int, float, bool, type(None))
    json.dumps(values, ensure_ascii=False, allow_nan=False).encode("utf-8")
    return {
        str(key): value if isinstance(value, simple) else json.dumps(value, ensure_ascii=False)
        for key, value in values.items()
    }


def as_text(value: Value) -> str:
    """A value for a format that only knows texts: a text that looks like another value is quoted.

    >>> as_text("blue"), as_text(2), as_text("2")
    ('blue', '2', '"2"')
    """
    if not isinstance(value, str):
        return json.dumps(value)
    return json.dumps(value, ensure_ascii=False) if not isinstance(from_text(value), str) or value[:1] == '"' else value


def from_text(text: str) -> Value:
    """The value that `as_text` has made this of."""
    try:
        value = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return text
    if isinstance(value, float) and not math.isfinite(value):
        return text
    return value if isinstance(value, (str, int, float, bool, type(None))) else text


def thing_of(
    label: Any, box: Box | None, shape: Shape | None, size: tuple[int, int], score: Any = None, attributes: Any = None
) -> Thing | None:
    """A thing; its box is that of its shape where there is none, and it is None where there is neither."""
    if box is None and shape is None:
        return None
    if box is None and shape is not None:
        box = shape_box(shape, size)
        if not (box[0] < box[2] and box[1] < box[3]):
            return None
    assert box is not None
    return Thing(text_of(label), box, shape, score_of(score), attributes_of(attributes))


def safe_below(name: Any, source: Path) -> str:
    """A photo's name in a file, as a path below a folder with slashes. Raises `UsageError` where it leads out of it."""
    if not isinstance(name, str) or not name:
        raise UsageError(f"'{source}' lists a photo without a name.")
    place = PurePosixPath(name.replace("\\", "/"))
    parts = [part for part in place.parts if part != "."]
    try:
        name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise UsageError(f"'{source}' names a photo that no system can hold: rename it.") from None
    if place.is_absolute() or ".." in parts or not parts or ":" in parts[0] or "\0" in name:
        raise UsageError(f"'{source}' names the photo '{escape_name(name)[:200]}', which leads out of its folder: "
                         "don't trust it, or make its names relative.")  # fmt: skip
    return "/".join(parts)


def write_values(path: Path, values: Any) -> None:
    """As JSON, with all texts as they are."""
    write_text(path, json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def xml_text(text: str) -> str:
    r"""A text that XML can hold: letters that it can't become an escape such as \x01.

    >>> print(xml_text("a\0b"))
    a\x00b
    """
    return _NOT_XML.sub(lambda found: ascii(found[0])[1:-1].replace("\\r", "\\x0d"), text)


def xml_bytes(root: ElementTree.Element, declared: bool = True) -> bytes:
    """An XML file in UTF-8, indented. declared: whether its first line says so; not in what is pasted as a text."""
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=declared)
