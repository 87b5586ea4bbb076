"""CVAT for images 1.1: one XML with an element per photo; boxes, polygons, masks in runs, and the class as a tag."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from carclf.datasets.names import split_named
from carclf.tools.exchange.files import Finder, bring, broken_notes, photo_folders
from carclf.tools.exchange.guards import (
    as_text,
    attributes_of,
    box_of,
    from_text,
    number,
    read_xml,
    reading,
    score_of,
    size_of,
    text_of,
    thing_of,
    whole,
    xml_bytes,
    xml_text,
)
from carclf.tools.exchange.record import Holds, Photo, Thing, Value, labels_of
from carclf.tools.exchange.shapes import Shape, mask_shape, polygon_shape, shape_mask
from detection.common.errors import UsageError
from detection.common.files import replace_file
from detection.common.tally import counted
from detection.masks.rle import check_runs, runs_of
from detection.vehicle import mask_box

HOLDS = Holds("CVAT", shapes="ring", box_beside=False)
_NAME = "annotations.xml"


def write(photos: Sequence[Photo], output: Path) -> list[str]:
    """annotations.xml and images/."""
    bring(photos, [photo.name for photo in photos], output / "images")
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    task = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
    for tag, text in (("name", "carclf"), ("size", str(len(photos))), ("mode", "annotation")):
        ElementTree.SubElement(task, tag).text = text
    _put_labels(task, photos)
    lost = 0
    for number_, photo in enumerate(photos):
        about = {"id": str(number_), "name": photo.name, "width": str(photo.size[1]), "height": str(photo.size[0])}
        about |= {"subset": photo.split} if photo.split else {}
        image = _element(root, "image", about)
        if photo.label is not None:
            tag_ = _element(image, "tag", {"label": photo.label, "source": "manual", **_score(photo.score)})
            _put_attributes(tag_, photo.attributes)
        else:
            lost += bool(photo.attributes)
        for thing in photo.things:
            _put_thing(image, thing, photo.size)
    replace_file(output / _NAME, xml_bytes(root))
    return [f"The attributes of {counted(lost, 'photo')} without a class left out: CVAT has no place for them."] * (
        lost > 0
    )


def _put_labels(task: ElementTree.Element, photos: Sequence[Photo]) -> None:
    every = ElementTree.SubElement(task, "labels")
    known = {photo.label for photo in photos if photo.label is not None} | set(labels_of(photos))
    keys: dict[str, dict[str, None]] = {label: {} for label in sorted(known)}
    for photo in photos:
        keys.get(photo.label or "", {}).update(dict.fromkeys(photo.attributes))
        for thing in photo.things:
            keys[thing.label].update(dict.fromkeys(thing.attributes))
    for label, attributes in keys.items():
        one = ElementTree.SubElement(every, "label")
        ElementTree.SubElement(one, "name").text = xml_text(label)
        listed = ElementTree.SubElement(one, "attributes")
        for key in attributes:
            attribute = ElementTree.SubElement(listed, "attribute")
            for tag, text in (("name", key), ("mutable", "False"), ("input_type", "text"), ("default_value", "")):
                ElementTree.SubElement(attribute, tag).text = xml_text(text)


def _put_thing(image: ElementTree.Element, thing: Thing, size: tuple[int, int]) -> None:
    source = "manual" if thing.score is None else "auto"
    about = {"label": thing.label, "source": source, "occluded": "0", "z_order": "0", **_score(thing.score)}
    shape = thing.shape
    if shape is None:
        corners = zip(("xtl", "ytl", "xbr", "ybr"), map(_number, thing.box), strict=True)
        element = _element(image, "box", {**about, **dict(corners)})
    elif shape.polygons and len(shape.polygons) == len(shape.polygons[0]) == 1:
        points = ";".join(f"{_number(x)},{_number(y)}" for x, y in shape.polygons[0][0])
        element = _element(image, "polygon", {**about, "points": points})
    else:
        mask = shape_mask(shape, size)
        x1, y1, x2, y2 = mask_box(mask) or (0, 0, 1, 1)
        runs = runs_of(mask[y1:y2, x1:x2].reshape(-1)).tolist()
        place = {"left": str(x1), "top": str(y1), "width": str(x2 - x1), "height": str(y2 - y1)}
        element = _element(image, "mask", {**about, "rle": ", ".join(map(str, runs)), **place})
    _put_attributes(element, thing.attributes)


def _element(above: ElementTree.Element, tag: str, values: Mapping[str, str]) -> ElementTree.Element:
    return ElementTree.SubElement(above, tag, {key: xml_text(value) for key, value in values.items()})


def _put_attributes(above: ElementTree.Element, attributes: Mapping[str, Value]) -> None:
    for key, value in attributes.items():
        _element(above, "attribute", {"name": key}).text = xml_text(as_text(value))


def _score(score: float | None) -> dict[str, str]:
    return {} if score is None else {"score": repr(score)}


def _number(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


def read(source: Path, images: Path | None) -> tuple[list[Photo], list[str]]:
    """An XML file, or a folder with annotations.xml."""
    file = source if source.is_file() else source / _NAME
    if not file.is_file():
        raise UsageError(f"There is no {_NAME} in '{source}': name the file itself.")
    finder = Finder(file, photo_folders(file.parent, images, "images"))
    root = read_xml(file)
    if root.tag != "annotations":
        raise UsageError(f"'{file}' is not of CVAT for images 1.1: export it as that.")
    photos, others = [], 0
    for image in root.iter("image"):
        with reading(f"'{file}' can't be read at the photo '{str(image.get('name'))[:200]}'"):
            size = size_of(image.get("height"), image.get("width"))
            photo = finder.photo(image.get("name"), size)
            if photo is None:
                continue
            tags = [one for one in image if one.tag == "tag"]
            drawn = [one for one in image if one.tag in ("box", "polygon", "mask")]
            others += len(image) - len(drawn) - min(1, len(tags))
            things = [_thing(one, size) for one in drawn]
            photos.append(
                replace(
                    photo,
                    label=text_of(tags[0].get("label")) if tags else None,
                    score=score_of(tags[0].get("score")) if tags else None,
                    attributes=_attributes(tags[0]) if tags else {},
                    split=split_named(image.get("subset") or ""),
                    things=tuple(thing for thing in things if thing is not None),
                )
            )
    what = counted(others, "annotation is", "annotations are")
    notes = [f"{what} neither box, polygon, mask nor the first tag of a photo, and left out."] if others else []
    return photos, notes + broken_notes(finder)


def _thing(one: ElementTree.Element, size: tuple[int, int]) -> Thing | None:
    about = _attributes(one) | ({"occluded": True} if one.get("occluded") == "1" else {})
    if one.tag == "box":
        box, shape = box_of(*(_needed(one, key) for key in ("xtl", "ytl", "xbr", "ybr"))), None
        angle = number(one.get("rotation", "0"))
        if angle:
            shape, box = polygon_shape([[_turned(box, angle)]], size), None  # type: ignore[assignment]
    else:
        box, shape = None, _polygon(one, size) if one.tag == "polygon" else _mask(one, size)
    return thing_of(one.get("label"), box, shape, size, one.get("score"), about)


def _polygon(one: ElementTree.Element, size: tuple[int, int]) -> Shape | None:
    pairs = [point.split(",") for point in _needed(one, "points").split(";") if point.strip()]
    return polygon_shape([[[(number(x), number(y)) for x, y in pairs]]], size)


def _mask(one: ElementTree.Element, size: tuple[int, int]) -> Shape | None:
    left, top, width, height = (whole(_needed(one, key)) for key in ("left", "top", "width", "height"))
    if min(left, top) < 0 or min(width, height) < 1 or left + width > size[1] or top + height > size[0]:
        raise ValueError("a mask lies outside its photo")
    runs = check_runs(np.array([whole(run) for run in _needed(one, "rle").split(",")], np.int64), width * height)
    mask = np.zeros(size, bool)
    mask[top : top + height, left : left + width] = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(
        height, width
    )
    return mask_shape(mask)


def _turned(box: tuple[float, float, float, float], degrees: float) -> list[tuple[float, float]]:
    """The corners of a box that is turned clockwise about its centre."""
    x1, y1, x2, y2 = box
    across, down = (x1 + x2) / 2, (y1 + y2) / 2
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
    return [
        (float(across + (x - across) * cos - (y - down) * sin), float(down + (x - across) * sin + (y - down) * cos))
        for x, y in corners
    ]


def _attributes(above: ElementTree.Element) -> dict[str, Value]:
    return attributes_of({text_of(one.get("name")): from_text(one.text or "") for one in above.iter("attribute")})


def _needed(one: ElementTree.Element, key: str) -> str:
    value = one.get(key)
    if value is None:
        raise ValueError(f"{key} is missing")
    return value
