"""Pascal VOC: JPEGImages/, Annotations/ with an XML per photo, ImageSets/Main/, and SegmentationObject/ with masks.

VOC counts pixels from 1, and its boxes include their last ones.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from carclf.datasets.names import SPLITS
from carclf.tools.exchange.files import Finder, bring, broken_notes, free_names, photo_folders
from carclf.tools.exchange.guards import (
    as_text,
    attributes_of,
    box_of,
    from_text,
    number,
    read_bytes,
    read_text,
    read_xml,
    reading,
    safe_below,
    size_of,
    text_of,
    thing_of,
    xml_bytes,
    xml_text,
)
from carclf.tools.exchange.record import Holds, Photo, Thing, Value, has_split
from carclf.tools.exchange.shapes import mask_shape, shape_mask
from detection.common.errors import UsageError
from detection.common.files import replace_file, write_text
from detection.common.tally import counted

HOLDS = Holds("Pascal VOC", label=False, shapes="pixels", score=False)
_FLAGS = ("truncated", "difficult", "occluded")
_MOST = 254  # things with a number in a PNG of 8 bits; 255 is the border that is of none


def write(photos: Sequence[Photo], output: Path) -> list[str]:
    names = free_names([photo.name for photo in photos], by_stem=True)
    bring(photos, names, output / "JPEGImages")
    covered = beyond = 0
    for photo, name in zip(photos, names, strict=True):
        place = PurePosixPath(name).with_suffix("")
        _file(output / "Annotations" / f"{place}.xml", xml_bytes(_annotation(photo, name)))
        if any(thing.shape is not None for thing in photo.things):
            numbers, hidden = _numbered(photo)
            covered += hidden
            beyond += len(photo.things) > _MOST
            _file(output / "SegmentationObject" / f"{place}.png", _png(numbers))
    stems = [(photo.split, str(PurePosixPath(name).with_suffix(""))) for photo, name in zip(photos, names, strict=True)]
    for side in SPLITS if has_split(photos) else ():
        lines = [f"{stem}\n" for split, stem in stems if split == side]
        if lines:
            write_text(output / "ImageSets" / "Main" / f"{side}.txt", "".join(lines))
    renamed = sum(name != photo.name for name, photo in zip(names, photos, strict=True))
    notes = [f"{counted(renamed, 'photo')} renamed: VOC finds annotations by their photo's name."] if renamed else []
    notes += [f"{counted(covered, 'mask')} partly covered by a later one: VOC gives each pixel to one thing."] * (
        covered > 0
    )
    return notes + [
        f"{counted(beyond, 'photo')} with more than {_MOST} things: the masks of the others are left out."
    ] * (beyond > 0)


def _file(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, data)


def _annotation(photo: Photo, name: str) -> ElementTree.Element:
    root = ElementTree.Element("annotation")
    folder, _, file = name.rpartition("/")
    masks = any(thing.shape is not None for thing in photo.things)
    for tag, text in (("folder", folder or "JPEGImages"), ("filename", file), ("segmented", str(int(masks)))):
        _put(root, tag, text)
    size = ElementTree.SubElement(root, "size")
    for tag, value in (("width", photo.size[1]), ("height", photo.size[0]), ("depth", 3)):
        _put(size, tag, str(value))
    _put_attributes(root, photo.attributes)
    for thing in photo.things:
        one = ElementTree.SubElement(root, "object")
        _put(one, "name", thing.label)
        pose = thing.attributes.get("pose")
        _put(one, "pose", pose if isinstance(pose, str) and pose == pose.strip() and pose else "Unspecified")
        for flag in _FLAGS:
            _put(one, flag, str(int(thing.attributes.get(flag) is True)))
        box = ElementTree.SubElement(one, "bndbox")
        x1, y1, x2, y2 = thing.box
        for tag, corner in (("xmin", x1 + 1), ("ymin", y1 + 1), ("xmax", x2), ("ymax", y2)):
            _put(box, tag, f"{corner:.6f}".rstrip("0").rstrip("."))
        _put_attributes(one, {key: value for key, value in thing.attributes.items() if not _is_field(key, value)})
    return root


def _is_field(key: str, value: Value) -> bool:
    """Whether an attribute has a field of VOC's own."""
    if key == "pose":
        return isinstance(value, str) and value == value.strip() and value not in ("", "Unspecified")
    return key in _FLAGS and value is True


def _put(above: ElementTree.Element, tag: str, text: str) -> None:
    ElementTree.SubElement(above, tag).text = xml_text(text)


def _put_attributes(above: ElementTree.Element, attributes: Mapping[str, Value]) -> None:
    if attributes:
        every = ElementTree.SubElement(above, "attributes")
        for key, value in attributes.items():
            one = ElementTree.SubElement(every, "attribute")
            _put(one, "name", key)
            _put(one, "value", as_text(value))


def _numbered(photo: Photo) -> tuple[np.ndarray, int]:
    """Which thing each pixel is of, counted from 1 as in the XML; and how many masks a later one covers in part."""
    numbers = np.zeros(photo.size, np.uint8)
    covered: set[int] = set()
    for number_, thing in enumerate(photo.things[:_MOST], 1):
        if thing.shape is not None:
            mask = shape_mask(thing.shape, photo.size)
            covered |= set(np.unique(numbers[mask]).tolist()) - {0}
            numbers[mask] = number_
    return numbers, len(covered)


def _png(numbers: np.ndarray) -> bytes:
    image = Image.fromarray(numbers)
    image.putpalette([value for number_ in range(256) for value in _colour(number_)])
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def _colour(number_: int) -> tuple[int, int, int]:
    """VOC's own: the bits of a number by turns to red, green and blue, the lowest ones to the highest.

    >>> _colour(1), _colour(255)
    ((128, 0, 0), (224, 224, 192))
    """
    red = green = blue = 0
    for place in range(8):
        red |= (number_ & 1) << (7 - place)
        green |= ((number_ >> 1) & 1) << (7 - place)
        blue |= ((number_ >> 2) & 1) << (7 - place)
        number_ >>= 3
    return red, green, blue


def read(source: Path, images: Path | None) -> tuple[list[Photo], list[str]]:
    """A folder with Annotations/ (or the XML files themselves), or one such file."""
    root, files, folder = _files(source)
    sides = _sides(root)
    finder = Finder(source, photo_folders(root, images, "JPEGImages", "images"))
    photos = []
    for file in files:
        stem = file.relative_to(folder).with_suffix("").as_posix()
        values = read_xml(file)
        with reading(f"'{file}' is not an annotation of Pascal VOC"):
            if values.tag != "annotation":
                raise ValueError("its root is not annotation")
            above, _, _ = stem.rpartition("/")
            name = text_of(_text(values, "filename"))
            stated = values.find("size")
            size = None if stated is None else size_of(_text(stated, "height"), _text(stated, "width"))
            photo = finder.photo(f"{above}/{name}" if above else name, size)
            if photo is None:
                continue
            numbers = _read_png(root / "SegmentationObject" / f"{stem}.png", photo.size)
            things = [_thing(one, place, numbers, photo.size) for place, one in enumerate(values.iter("object"), 1)]
            attributes = _attributes(values)
            kept = tuple(thing for thing in things if thing is not None)
            photos.append(replace(photo, split=sides.get(stem), attributes=attributes, things=kept))
    return photos, broken_notes(finder)


def _files(source: Path) -> tuple[Path, list[Path], Path]:
    """The root, the XML files, and the folder that they lie in."""
    if source.is_file():
        above = source.parent
        return (above.parent if above.name == "Annotations" else above), [source], above
    folder = source / "Annotations" if (source / "Annotations").is_dir() else source
    files = sorted(folder.rglob("*.xml"))
    if not files:
        raise UsageError(f"There are no XML files in '{folder}': name a folder with Annotations/ in it.")
    return source, files, folder


def _sides(root: Path) -> dict[str, str]:
    sides = {}
    for side in SPLITS:
        path = root / "ImageSets" / "Main" / f"{side}.txt"
        for line in read_text(path).splitlines() if path.is_file() else ():
            if line.strip():
                sides[safe_below(line.strip(), path)] = side
    return sides


def _thing(one: ElementTree.Element, place: int, numbers: np.ndarray | None, size: tuple[int, int]) -> Thing | None:
    box = one.find("bndbox")
    if box is None:
        raise ValueError("an object has no bndbox")
    x1, y1 = number(_text(box, "xmin")) - 1, number(_text(box, "ymin")) - 1
    found = box_of(x1, y1, _text(box, "xmax"), _text(box, "ymax"))
    shape = None if numbers is None or place > _MOST else mask_shape(numbers == place)
    attributes = _attributes(one)
    pose = one.findtext("pose") or ""
    attributes |= {"pose": pose} if pose.strip() not in ("", "Unspecified") else {}
    attributes |= {flag: True for flag in _FLAGS if (one.findtext(flag) or "").strip() == "1"}
    return thing_of(_text(one, "name"), found, shape, size, None, attributes)


def _attributes(above: ElementTree.Element) -> dict[str, Value]:
    every = above.find("attributes")
    pairs = [] if every is None else [(_text(one, "name"), one.findtext("value") or "") for one in every]
    return attributes_of({name: from_text(value) for name, value in pairs})


def _text(above: ElementTree.Element, tag: str) -> str:
    text = above.findtext(tag)
    if text is None:
        raise ValueError(f"{tag} is missing")
    return text


def _read_png(path: Path, size: tuple[int, int]) -> np.ndarray | None:
    """Which thing each pixel is of (uint8 HxW); None where there is no such file."""
    if not path.is_file():
        return None
    try:
        with Image.open(io.BytesIO(read_bytes(path)), formats=["PNG"]) as image:
            if image.size != size[::-1] or image.mode not in ("P", "L"):  # nothing is decoded before
                raise ValueError(f"'{path}' is not of 8 bits and the photo's size")
            return np.array(image)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"'{path}' can't be read") from error
