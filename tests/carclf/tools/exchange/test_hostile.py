"""Files that want to lead out of their folder, grow without end, or are damaged: one sentence each, no output."""

import base64
import io
import json
import zipfile
import zlib

import numpy as np
import pytest

from carclf.tools.exchange.exchange import import_data
from carclf.tools.exchange.guards import as_text, from_text, read_json, read_xml
from detection import UsageError
from tests.carclf.tools.exchange.records import write_photos

BOMB = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><annotations>&b;</annotations>'
READER = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/hostname">]><annotation>&a;</annotation>'


def _refused(source, format, match, tmp_path):
    output = tmp_path / "out"
    with pytest.raises(UsageError, match=match) as caught:
        import_data(source, format, output)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700
    assert not output.exists() and not list(tmp_path.glob(".carclf-*"))


def _coco(**changes):
    image = {"id": 1, "file_name": "0.png", "width": 30, "height": 20}
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]}
    for key, value in changes.items():
        (image if key in ("file_name", "width", "height", "split", "label", "attributes") else annotation)[key] = value
    return {"images": [image], "annotations": [annotation], "categories": [{"id": 1, "name": "car"}]}


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (_coco(file_name="../secret.png"), "leads out of its folder"),
        (_coco(file_name="/etc/secret.png"), "leads out of its folder"),
        (_coco(file_name="C:\\secret.png"), "leads out of its folder"),
        (_coco(file_name="a\0.png"), "leads out of its folder"),
        (_coco(file_name="a\ud800.png"), "no system can hold"),
        (_coco(file_name="link.png"), "a link out of its folder"),
        (_coco(file_name="gone.png"), "is not in"),
        (_coco(file_name=None), "without a name"),
        (_coco(width=1 << 40), "no number of pixels"),
        (_coco(width=1 << 20, height=1 << 20), "no size of a photo"),
        (_coco(width=31), "30 x 20: export the annotations again"),
        (_coco(bbox=[1, 1, 1e300, 5]), "no number of pixels"),
        (_coco(bbox=[1, 1, float("nan"), 5]), "NaN is not a number"),
        (_coco(bbox=[1, 1, 5]), "can't be read at the photo '0.png'"),
        (_coco(bbox={}, segmentation="abc"), "can't be read at the photo"),
        (_coco(segmentation=[[0, 0, 1e6, 0, 5, 5]]), "a corner lies nowhere near"),
        (_coco(segmentation=[[0, 0, 29, 19] * 300]), "the outline is longer"),
        (_coco(segmentation=[[1, 2, 3, 4, 5, 6, 7]]), "can't be read at the photo"),
        (_coco(segmentation={"size": [20, 30], "counts": [1 << 62]}), "not a run-length encoding"),
        (_coco(segmentation={"size": [20, 30], "counts": "0" * 99}), "do not make up 600 pixels"),
        (_coco(segmentation={"size": [1 << 20, 1 << 20], "counts": [1 << 40]}), "another size than its photo"),
        (_coco(category_id=7), "7 is missing"),
        (_coco(image_id=7), "of no photo of the file"),
        (_coco(image_id=[]), "an id is neither"),
        (_coco(score=7), "not between 0 and 1"),
        (_coco(label=" "), "a class has no name"),
        (_coco(label="\ud800"), "surrogates not allowed"),
        (_coco(attributes={"a": "\udfff"}), "surrogates not allowed"),
        (_coco(attributes=[1]), "attributes are not by name"),
        ({"images": 3}, "is not a COCO file"),
        ([], "is not a COCO file"),
        ({"images": [_coco()["images"][0]] * 2}, "two photos have the same id"),
        ({"images": [_coco()["images"][0], {**_coco()["images"][0], "id": 2}]}, "twice"),
        ({"images": []}, "no readable photo"),
    ],
)
def test_coco(values, match, tmp_path):
    write_photos(tmp_path / "data")
    (tmp_path / "secret.png").write_bytes((tmp_path / "data" / "0.png").read_bytes())
    (tmp_path / "data" / "link.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "data" / "a.json").write_text(json.dumps(values))
    _refused(tmp_path / "data" / "a.json", "coco", match, tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "9" * 10_000, '{"images": [Infinity]}', "\xff"])
def test_what_is_no_json(text, tmp_path):
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=r"is not JSON|is not UTF-8"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (BOMB, "declares a document type"),
        (READER, "declares a document type"),
        ("<a>" * 200 + "</a>" * 200, "nested deeper"),
        ("<a>", "is not XML"),
        ('<?xml version="1.0" encoding="nonsense"?><a/>', "is not XML"),
    ],
)
def test_what_is_no_xml_that_can_be_trusted(text, match, tmp_path):
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(UsageError, match=match):
        read_xml(tmp_path / "a.xml")


def _cvat(inside='<box label="car" xtl="1" ytl="1" xbr="9" ybr="9"/>', name="0.png", width="30"):
    return f'<annotations><image id="0" name="{name}" width="{width}" height="20">{inside}</image></annotations>'


MASK = '<mask label="car" left="{}" top="0" width="{}" height="2" rle="{}"/>'


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (BOMB, "declares a document type"),
        ("<a/>", "is not of CVAT"),
        (_cvat(name="../0.png"), "leads out"),
        (_cvat(width="99999999999"), "no number of pixels"),
        (_cvat(width="nan"), "no number of pixels"),
        (_cvat('<box label="car" xtl="1" ytl="1" xbr="inf" ybr="9"/>'), "no number of pixels"),
        (_cvat('<box label="car" xtl="1" ytl="1" xbr="1" ybr="9"/>'), "is empty"),
        (_cvat('<box label="car" xtl="1"/>'), "ytl is missing"),
        (_cvat('<box xtl="1" ytl="1" xbr="2" ybr="9"/>'), "a class has no name"),
        (_cvat('<polygon label="car" points="1,1;2"/>'), "can't be read at the photo '0.png'"),
        (_cvat('<polygon label="car" points="1,1;1e6,2;3,3"/>'), "nowhere near"),
        (_cvat(MASK.format(29, 2, "4")), "outside its photo"),
        (_cvat(MASK.format(0, 2, "9000000")), "do not make up"),
        (_cvat(MASK.format(0, 2, "-1,5")), "do not make up"),
        (_cvat(MASK.format(0, 2, "x")), "can't be read"),
    ],
)
def test_cvat(text, match, tmp_path):
    (write_photos(tmp_path / "data") / "annotations.xml").write_text(text)
    _refused(tmp_path / "data", "cvat", match, tmp_path)


def _voc(
    inside="<name>car</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>", name="0.png"
):
    return f"<annotation><filename>{name}</filename><object>{inside}</object></annotation>"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (BOMB, "declares a document type"),
        (READER, "declares a document type"),
        ("<a/>", "its root is not annotation"),
        (_voc(name="../../0.png"), "leads out"),
        (_voc("<name>car</name>"), "no bndbox"),
        (_voc("<name>car</name><bndbox><xmin>1</xmin></bndbox>"), "ymin is missing"),
        (_voc().replace("9</xmax>", "1e99</xmax>"), "no number of pixels"),
        (_voc().replace("9</xmax>", "0</xmax>"), "is empty"),
        (_voc().replace("<object>", "<size><width>0</width><height>20</height></size><object>"), "no size of a photo"),
    ],
)
def test_voc(text, match, tmp_path):
    write_photos(tmp_path / "data" / "JPEGImages")
    (tmp_path / "data" / "Annotations").mkdir()
    (tmp_path / "data" / "Annotations" / "0.xml").write_text(text)
    _refused(tmp_path / "data", "voc", match, tmp_path)


@pytest.mark.parametrize("kind", ["large", "damaged", "colour"])
def test_voc_masks_are_looked_at_before_they_are_unpacked(kind, tmp_path):
    from PIL import Image

    write_photos(tmp_path / "data" / "JPEGImages")
    for name in ("Annotations", "SegmentationObject"):
        (tmp_path / "data" / name).mkdir()
    (tmp_path / "data" / "Annotations" / "0.xml").write_text(_voc())
    png = tmp_path / "data" / "SegmentationObject" / "0.png"
    Image.new("RGB" if kind == "colour" else "L", (3_000, 2_000) if kind == "large" else (30, 20)).save(png)
    if kind == "damaged":
        png.write_bytes(png.read_bytes()[:50])
    _refused(tmp_path / "data", "voc", "is not of 8 bits|can't be read", tmp_path)


@pytest.mark.parametrize(
    ("config", "label", "match"),
    [
        ("train: images\nnames: [car]", "0 0.5 0.5 nan 0.1", "no number of pixels"),
        ("train: images\nnames: [car]", "0 0.5 0.5 1e99 0.1", "no number of pixels"),
        ("train: images\nnames: [car]", "1 0.5 0.5 0.1 0.1", "has no name"),
        ("train: images\nnames: [car]", "x 0.5 0.5 0.1 0.1", "is not a YOLO label"),
        ("train: images\nnames: [car]", "0 0.5 0.5", "neither a box nor an outline"),
        ("train: images\nnames: [car]", "0 0 0 1 0 99 99", "nowhere near"),
        ("train: images\nnames: [car]", "0 0.5 0.5 0.1 0.1\n" * 10_001, "10001 lines"),
        ("train: /etc\nnames: [car]", "", "leads out"),
        ("train: a/../../b\nnames: [car]", "", "leads out"),
        ("train: nothing\nnames: [car]", "", "which is not in"),
        ("names: [car]", "", "it names no photos"),
        ("train: images", "", "names"),
        ("train: images\nnames: {x: car}", "", "does not describe"),
        ("train: images\nnames: [[car]]", "", "a class has no name"),
        ("!!python/object/apply:os.system [ls]", "", "is not YAML"),
        ("[", "", "is not YAML"),
        ("3", "", "does not describe"),
    ],
)
def test_yolo(config, label, match, tmp_path):
    write_photos(tmp_path / "data" / "images")
    (tmp_path / "data" / "labels").mkdir()
    (tmp_path / "data" / "labels" / "0.txt").write_text(label)
    (tmp_path / "data" / "data.yaml").write_text(config)
    _refused(tmp_path / "data", "yolo", match, tmp_path)


def _studio(address="0.png", kind="rectanglelabels", **value):
    value = {"x": 1, "y": 1, "width": 50, "height": 50, kind: ["car"], **value}
    return [{"data": {"image": address}, "annotations": [{"result": [{"type": kind, "value": value}]}]}]


@pytest.mark.parametrize(
    ("tasks", "match"),
    [
        ({}, "is not a list of tasks"),
        ([3], "at task 1"),
        ([{"data": {}}], "at task 1"),
        (_studio("/data/local-files/?d=../../etc/0.png"), "leads out"),
        (_studio("/data/local-files/?d=/etc/0.png"), "leads out"),
        (_studio(width=1e99), "no number of pixels"),
        (_studio(width="wide"), "at task 1"),
        (_studio(rectanglelabels=[]), "a class has no name"),
        (_studio(kind="polygonlabels", points=[[0, 0], [1e5, 0], [1, 1]]), "nowhere near"),
        (_studio(kind="polygonlabels"), "points"),
        (_studio(kind="brushlabels", rle=[255] * 100), "a brush is of a photo of another size"),
        (_studio(kind="brushlabels", rle=[0, 0, 9, 96]), "ends before its photo"),
        (_studio(kind="brushlabels", rle=[1 << 40]), "not a list of bytes"),
    ],
)
def test_label_studio(tasks, match, tmp_path):
    (write_photos(tmp_path / "data") / "tasks.json").write_text(json.dumps(tasks))
    _refused(tmp_path / "data", "label-studio", match, tmp_path)


def _fiftyone(mask=None, filepath="data/0.png", **changes):
    one = {"_cls": "Detection", "label": "car", "bounding_box": [0.1, 0.1, 0.5, 0.5], **changes}
    one |= {} if mask is None else {"mask": {"$binary": {"base64": base64.b64encode(mask).decode()}}}
    return {"samples": [{"filepath": filepath, "found": {"_cls": "Detections", "detections": [one]}}]}


def _packed(array=None, header=b""):
    file = io.BytesIO()
    if array is not None:
        np.save(file, array)
    return zlib.compress(file.getvalue() + header)


_HUGE = b"\x93NUMPY\x01\x00\x46\x00{'descr': '|b1', 'fortran_order': False, 'shape': (900000000, 900)}   \n".ljust(80)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"samples": 3}, "is not of FiftyOne"),
        (_fiftyone(filepath="../0.png"), "leads out"),
        (_fiftyone(bounding_box=[0, 0, 1e99, 1]), "no number of pixels"),
        (_fiftyone(bounding_box=[0, 0]), "can't be read at"),
        (_fiftyone(label=3), "a class has no name"),
        (_fiftyone(b"abc"), "a mask is damaged"),
        (_fiftyone(_packed(np.zeros((2000, 2000), np.uint8))), "larger than its photo"),
        (_fiftyone(_packed(header=_HUGE)), "can't be read at|no array of pixels"),
        (_fiftyone(_packed(np.zeros((3, 3, 3), bool))), "no array of pixels"),
        (_fiftyone(_packed(np.array([["a"]]))), "no array of pixels"),
    ],
)
def test_fiftyone(values, match, tmp_path):
    write_photos(tmp_path / "data" / "data")
    (tmp_path / "data" / "samples.json").write_text(json.dumps(values))
    _refused(tmp_path / "data", "fiftyone", match, tmp_path)


@pytest.mark.parametrize(
    ("labels", "objects", "match"),
    [
        ("file,class\n../0.png,car", None, "leads out"),
        ("file,class\n0.png,", None, "it has no class"),
        ("file,class,split\n0.png,car,sometimes", None, "not train, val or test"),
        ("file,class,x1,y1,x2,y2\n0.png,car,1,1,nan,9", None, "no number of pixels"),
        ("file,class,attributes\n0.png,car,{", None, "can't be read at '0.png'"),
        ("class\ncar", None, "'file' is missing"),
        ("file,class\n0.png,car", 'file,label,mask\n0.png,car,"[[[[0,0],[1e7,0],[1,1]]]]"', "nowhere near"),
        ("file,class\n0.png,car", "file,label,mask\n0.png,car,oooooo0", "can't be read"),
        ("file,class\n0.png,car", "file,label,x1,y1,x2,y2\n9.png,car,1,1,2,2", "names '9.png'"),
    ],
)
def test_csv(labels, objects, match, tmp_path):
    (write_photos(tmp_path / "data") / "labels.csv").write_text(labels)
    if objects:
        (tmp_path / "data" / "objects.csv").write_text(objects)
    _refused(tmp_path / "data", "csv", match, tmp_path)


def test_zips_that_grow_or_lead_out(tmp_path, monkeypatch):
    monkeypatch.setattr("carclf.datasets.layouts.archive.FREE_GROWTH", 1000)
    zips = (("bomb", "a.json", b" " * (1 << 20), "would grow"), ("out", "../a.json", b"{}", "leads out"))
    for name, file, content, match in zips:
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as target:
            target.writestr(file, content)
        _refused(tmp_path / f"{name}.zip", "coco", match, tmp_path)


def test_an_output_that_is_not_free_and_a_format_that_is_none(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("kept")
    with pytest.raises(UsageError, match="exists already"):
        import_data(tmp_path, "coco", tmp_path / "out")
    with pytest.raises(UsageError, match="Unknown format 'xml': choose coco"):
        import_data(tmp_path, "xml", tmp_path / "new")
    with pytest.raises(UsageError, match="There is no"):
        import_data(tmp_path / "gone", "coco", tmp_path / "new")
    with pytest.raises(UsageError, match="lies in the photos' folder"):
        write_photos(tmp_path / "data")
        (tmp_path / "data" / "a.json").write_text(json.dumps(_coco()))
        import_data(tmp_path / "data", "coco", tmp_path / "data" / "new")
    assert (tmp_path / "out" / "mine.txt").read_text() == "kept"


@pytest.mark.parametrize("value", ["", "a", "1", "true", '"x"', "null", "[1]", "NaN", 1, 1.5, True, None, " 1"])
def test_values_come_back_from_texts(value):
    found = from_text(as_text(value))
    assert found == value and type(found) is type(value)
