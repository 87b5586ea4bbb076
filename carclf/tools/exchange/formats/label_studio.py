"""Label Studio: tasks.json with rectangles, polygons, brushes and choices; what a model found is a prediction.

Coordinates are per cents of the photo. config.xml is the labelling interface that a project needs for these tasks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.etree import ElementTree

from carclf.datasets.names import split_named
from carclf.tools.exchange.files import Finder, bring, broken_notes, photo_folders
from carclf.tools.exchange.formats.brush import read_brush, write_brush
from carclf.tools.exchange.guards import (
    attributes_of,
    box_of,
    number,
    read_json,
    reading,
    score_of,
    size_of,
    text_of,
    thing_of,
    write_values,
    xml_bytes,
    xml_text,
)
from carclf.tools.exchange.record import Holds, Photo, Thing, labels_of
from carclf.tools.exchange.shapes import mask_shape, polygon_shape, shape_mask
from detection.common.errors import UsageError
from detection.common.files import replace_file
from detection.common.tally import counted

HOLDS = Holds("Label Studio", shapes="ring", box_beside=False)
_NAME, _LOCAL = "tasks.json", "/data/local-files/?d="


def write(photos: Sequence[Photo], output: Path) -> list[str]:
    """tasks.json, config.xml and images/, which the local storage of Label Studio serves."""
    bring(photos, [photo.name for photo in photos], output / "images")
    write_values(output / _NAME, [_task(number_, photo) for number_, photo in enumerate(photos, 1)])
    replace_file(output / "config.xml", xml_bytes(_interface(photos), declared=False))
    return []


def _interface(photos: Sequence[Photo]) -> ElementTree.Element:
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", name="image", value="$image")
    parts = (("RectangleLabels", "box"), ("PolygonLabels", "polygon"), ("BrushLabels", "brush"))
    for tag, name in parts if labels_of(photos) else ():
        tools = ElementTree.SubElement(view, tag, name=name, toName="image")
        for label in labels_of(photos):
            ElementTree.SubElement(tools, "Label", value=xml_text(label))
    choices = ElementTree.SubElement(view, "Choices", name="class", toName="image", choice="single")
    for label in sorted({photo.label for photo in photos if photo.label is not None}):
        ElementTree.SubElement(choices, "Choice", value=xml_text(label))
    return view


def _task(task: int, photo: Photo) -> dict[str, Any]:
    """A task; a person's answers are its annotation, a model's its prediction."""
    said: tuple[list[dict], list[dict]] = ([], [])
    common: dict[str, Any] = {"to_name": "image", "original_width": photo.size[1], "original_height": photo.size[0]}
    common |= {"image_rotation": 0}
    if photo.label is not None:
        about: dict[str, Any] = {
            "id": f"t{task}",
            "type": "choices",
            "from_name": "class",
            "value": {"choices": [photo.label]},
        }
        said[photo.score is not None].append({**about, **common, **_score(photo.score)})
    for place, thing in enumerate(photo.things, 1):
        about = {"id": f"t{task}-{place}", **_region(thing, photo.size), **common, **_score(thing.score)}
        about |= {"meta": {"attributes": dict(thing.attributes)}} if thing.attributes else {}
        said[thing.score is not None].append(about)
    data: dict[str, Any] = {"image": _LOCAL + quote(f"images/{photo.name}")}
    data |= {"split": photo.split} if photo.split else {}
    data |= {"attributes": dict(photo.attributes)} if photo.attributes else {}
    found: dict[str, Any] = {"id": task, "data": data}
    people, model = said
    if people:
        found["annotations"] = [{"result": people, "was_cancelled": False, "ground_truth": False}]
    if model:
        best = max(one["score"] for one in model)
        found["predictions"] = [{"model_version": "carclf", "score": best, "result": model}]
    return found


def _region(thing: Thing, size: tuple[int, int]) -> dict[str, Any]:
    height, width = size
    shape = thing.shape
    value: dict[str, Any]
    if shape is None:
        x1, y1, x2, y2 = thing.box
        value = {"x": x1 / width * 100, "y": y1 / height * 100, "width": (x2 - x1) / width * 100,
                 "height": (y2 - y1) / height * 100, "rotation": 0}  # fmt: skip
        kind, name = "rectanglelabels", "box"
    elif shape.polygons and len(shape.polygons) == len(shape.polygons[0]) == 1:
        points = [[x / width * 100, y / height * 100] for x, y in shape.polygons[0][0]]
        value, kind, name = {"points": points, "closed": True}, "polygonlabels", "polygon"
    else:
        value = {"format": "rle", "rle": write_brush(shape_mask(shape, size))}
        kind, name = "brushlabels", "brush"
    return {"type": kind, "from_name": name, "value": {**value, kind: [thing.label]}}


def _score(score: float | None) -> dict[str, float]:
    return {} if score is None else {"score": score}


def read(source: Path, images: Path | None) -> tuple[list[Photo], list[str]]:
    """The JSON that Label Studio exports (not its JSON-MIN), or a folder with tasks.json."""
    file = source if source.is_file() else source / _NAME
    if not file.is_file():
        raise UsageError(f"There is no {_NAME} in '{source}': name the file itself.")
    finder = Finder(file, photo_folders(file.parent, images, "images"))
    tasks = read_json(file)
    if not isinstance(tasks, list):
        raise UsageError(f"'{file}' is not a list of tasks: export it from Label Studio as JSON.")
    photos, passed = [], 0
    for place, task in enumerate(tasks, 1):
        with reading(f"'{file}' can't be read at task {place}"):
            data = task["data"]
            texts = [data[key] for key in ("image", "img", "url", *data) if isinstance(data.get(key), str)]
            if not texts:
                raise ValueError("its data name no image")
            photo = finder.photo(_name(texts[0]))
            if photo is None:
                continue
            photo = replace(photo, split=split_named(str(data.get("split", ""))),
                            attributes=attributes_of(data.get("attributes")))  # fmt: skip
            photo, left = _answered(photo, task)
            photos.append(photo)
            passed += left
    what = counted(passed, "answer is", "answers are")
    notes = [f"{what} of a kind that carclf does not know, and left out."] if passed else []
    return photos, notes + broken_notes(finder)


def _name(address: str) -> str:
    """The photo's name below a folder of photos, of an address in a task.

    >>> _name("/data/local-files/?d=images/a%20b.jpg"), _name("/data/upload/1/x-a.jpg"), _name("s3://b/c/a.jpg")
    ('a b.jpg', 'x-a.jpg', 'a.jpg')
    """
    if "?d=" in address:
        inside = parse_qs(urlsplit(address).query, keep_blank_values=True)["d"][0]
        return inside.removeprefix("images/")
    if "://" in address or address.startswith("/data/"):
        return unquote(urlsplit(address).path.rpartition("/")[2])
    return address


def _answered(photo: Photo, task: Mapping[str, Any]) -> tuple[Photo, int]:
    """The photo with the answers of the first annotation that was not cancelled, and of the first prediction for what
    it says nothing of; and how many answers are of an unknown kind."""
    given = [one for one in task.get("annotations") or task.get("completions") or [] if not one.get("was_cancelled")]
    sources = [(one, False) for one in given[:1]] + [(one, True) for one in (task.get("predictions") or [])[:1]]
    passed = 0
    for answers, guessed in sources:
        for answer in answers.get("result") or []:
            if answer.get("type") == "choices":
                if photo.label is None:
                    score = _guess(answer, answers) if guessed else None
                    photo = replace(photo, label=text_of(answer["value"]["choices"][0]), score=score)
                continue
            known, thing = _thing(answer, photo.size, _guess(answer, answers) if guessed else None)
            passed += not known
            if thing is not None:
                photo = replace(photo, things=(*photo.things, thing))
    return photo, passed


def _guess(answer: Mapping[str, Any], prediction: Mapping[str, Any]) -> float | None:
    """How sure a model is; old ones say it of the whole prediction only."""
    return score_of(answer.get("score", prediction.get("score")))


def _thing(answer: Mapping[str, Any], size: tuple[int, int], score: float | None) -> tuple[bool, Thing | None]:
    """Whether the kind of answer is known, and the thing."""
    kind, value = answer.get("type"), answer.get("value") or {}
    if kind not in ("rectanglelabels", "polygonlabels", "brushlabels"):
        return False, None
    if size_of(answer.get("original_height", size[0]), answer.get("original_width", size[1])) != size:
        raise ValueError("an answer is of a photo of another size")
    height, width = size
    box = shape = None
    if kind == "rectanglelabels":
        x, y = number(value["x"]) * width / 100, number(value["y"]) * height / 100
        across, down = number(value["width"]) * width / 100, number(value["height"]) * height / 100
        degrees = number(value.get("rotation") or 0)
        if degrees:
            shape = polygon_shape([[_turned(x, y, across, down, degrees)]], size)
        else:
            box = box_of(x, y, x + across, y + down)
    elif kind == "polygonlabels":
        points = [(number(x) * width / 100, number(y) * height / 100) for x, y in value["points"]]
        shape = polygon_shape([[points]], size)
    else:
        shape = mask_shape(read_brush(value["rle"], size))
    meta = answer.get("meta")
    attributes = meta.get("attributes") if isinstance(meta, dict) else None
    labels = value.get(kind) or []
    return True, thing_of(labels[0] if labels else None, box, shape, size, score, attributes)


def _turned(x: float, y: float, across: float, down: float, degrees: float) -> list[tuple[float, float]]:
    """The corners of a rectangle that is turned clockwise about its first one."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    corners = [(0.0, 0.0), (across, 0.0), (across, down), (0.0, down)]
    return [(x + a * cos - b * sin, y + a * sin + b * cos) for a, b in corners]
