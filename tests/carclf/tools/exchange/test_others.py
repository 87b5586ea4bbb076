"""Other programs' readers, on what an export wrote."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from carclf.tools.exchange.formats import coco, cvat, fiftyone, label_studio, voc, yolo
from carclf.tools.exchange.record import Photo, Thing
from carclf.tools.exchange.shapes import Shape, mask_shape, shape_mask
from tests.carclf.tools.exchange.records import SIZE, write_photos

MASK = np.zeros(SIZE, bool)
MASK[3:12, 4:20] = True
MASK[5:8, 6:9] = False  # a hole
POLYGON = Shape((((((1.0, 1.0), (20.0, 1.0), (20.0, 15.0))),),))


@pytest.fixture
def written(tmp_path):
    files = write_photos(tmp_path / "files")
    things = (
        Thing("Audi A3", (4, 3, 20, 12), mask_shape(MASK), 0.5),
        Thing("Opel", (1, 1, 20, 15), POLYGON),
        Thing("Opel", (2, 2, 9.5, 9)),
    )
    photos = [
        Photo("a/0.png", files / "0.png", SIZE, "Audi A3", "train", things=things),
        Photo("1.png", files / "1.png", SIZE, "Opel", "val", things=things[2:]),
    ]

    def write(form) -> Path:
        (tmp_path / "out").mkdir()
        form.write(photos, tmp_path / "out")
        return tmp_path / "out"

    return write


def test_pycocotools_reads_coco(written):
    from pycocotools.coco import COCO

    api = COCO(str(written(coco) / "annotations" / "instances_train.json"))
    first, second, third = api.loadAnns(api.getAnnIds())
    assert (api.annToMask(first).astype(bool) == MASK).all() and first["area"] == MASK.sum()
    assert abs(int(api.annToMask(second).sum()) - int(shape_mask(POLYGON, SIZE).sum())) <= 10  # along the slope
    assert third["bbox"] == [2, 2, 7.5, 7]
    assert [one["name"] for one in api.loadCats(api.getCatIds())] == ["Audi A3", "Opel"]
    assert api.loadImgs(api.getImgIds())[0]["file_name"] == "a/0.png"


def test_yolo_is_as_ultralytics_documents_it(written):
    """docs.ultralytics.com/datasets: images/ and labels/ alike, rows of a class and shares between 0 and 1, of five
    numbers (boxes) or a class and at least three points (outlines); a file with outlines has nothing else."""
    root = written(yolo)
    config = yaml.safe_load((root / "data.yaml").read_text())
    assert config["names"] == {0: "Audi A3", 1: "Opel"} and {"train", "val"} <= set(config)
    counts = []
    for side in ("train", "val"):
        for photo in sorted((root / config[side]).rglob("*.png")):
            rows = [row.split() for row in Path(str(photo).replace("/images/", "/labels/")).with_suffix(".txt")
                    .read_text().splitlines()]  # fmt: skip
            outlines = any(len(row) > 6 for row in rows)
            for row in rows:
                assert len(row) % 2 == 1 and (len(row) >= 7 if outlines else len(row) == 5)
                assert row[0] in ("0", "1") and all(0 <= float(value) <= 1 for value in row[1:])
            counts.append(len(rows))
    assert counts == [3, 1]
    # Their mask of an outline, filled by OpenCV: all pixels of ours, and those that its border touches.
    import cv2

    values = (root / "labels" / "train" / "a" / "0.txt").read_text().splitlines()[0].split()[1:]
    points = np.array(values, float).reshape(-1, 2) * (SIZE[1], SIZE[0])
    theirs = cv2.fillPoly(np.zeros(SIZE, np.uint8), [points.astype(np.int32)], 1).astype(bool)
    assert (theirs | ~MASK).all() and not theirs[6, 7] and theirs.sum() < 1.6 * MASK.sum()


def test_voc_has_the_documented_fields(written):
    """The fields of the development kit: pixels from 1, the last ones included; masks by the order of the objects."""
    from xml.etree import ElementTree

    root = written(voc)
    one = ElementTree.parse(root / "Annotations" / "a" / "0.xml").getroot()
    assert [child.tag for child in one][:4] == ["folder", "filename", "segmented", "size"]
    assert [one.findtext(f"size/{tag}") for tag in ("width", "height", "depth")] == ["30", "20", "3"]
    first, *_, last = one.findall("object")
    assert [child.tag for child in first] == ["name", "pose", "truncated", "difficult", "occluded", "bndbox"]
    assert [child.text for child in first.find("bndbox")] == ["5", "4", "20", "12"]
    assert [child.text for child in last.find("bndbox")] == ["3", "3", "9.5", "9"]
    with Image.open(root / "SegmentationObject" / "a" / "0.png") as image:
        assert image.mode == "P" and image.getpalette()[3:9] == [128, 0, 0, 0, 128, 0]
        numbers = np.array(image)
    assert ((numbers == 2) == shape_mask(POLYGON, SIZE)).all() and (MASK | (numbers != 1)).all()
    assert (root / "ImageSets" / "Main" / "train.txt").read_text() == "a/0\n"


def test_cvat_has_the_documented_elements(written):
    from xml.etree import ElementTree

    root = ElementTree.parse(written(cvat) / "annotations.xml").getroot()
    assert root.findtext("version") == "1.1"
    assert [label.findtext("name") for label in root.findall("meta/task/labels/label")] == ["Audi A3", "Opel"]
    image = root.find("image")
    assert image.attrib == {"id": "0", "name": "a/0.png", "width": "30", "height": "20", "subset": "train"}
    tag, mask, polygon, box = image
    assert (tag.tag, mask.tag, polygon.tag, box.tag) == ("tag", "mask", "polygon", "box")
    assert mask.get("left") == "4" and mask.get("width") == "16" and mask.get("rle").startswith("0, 34, 3, 13, 3")
    assert polygon.get("points") == "1,1;20,1;20,15" and box.get("xbr") == "9.5"


@pytest.mark.slow  # its import takes seconds
def test_label_studios_converter_reads_its_tasks(written, tmp_path):
    converter = pytest.importorskip("label_studio_sdk.converter", reason="pip install label-studio-sdk to check it")
    from label_studio_sdk.converter import brush

    root = written(label_studio)
    tasks = json.loads((root / "tasks.json").read_text())
    (painted,) = tasks[0]["predictions"][0]["result"]
    theirs = brush.decode_rle(painted["value"]["rle"]).reshape(*SIZE, 4)[..., 3] > 0
    assert (theirs == MASK).all()
    config = (root / "config.xml").read_text()
    made = converter.Converter(config, str(root), download_resources=False)
    made.convert_to_coco(str(root / "tasks.json"), str(tmp_path / "coco"), is_dir=False)
    found = json.loads((tmp_path / "coco" / "result.json").read_text())
    boxes = [one["bbox"] for one in found["annotations"]]
    assert np.array(boxes) == pytest.approx(np.array([[1, 1, 19, 14], [2, 2, 7.5, 7], [2, 2, 7.5, 7]]))
    names = {one["id"]: one["name"] for one in found["categories"]}
    assert {names[one["category_id"]] for one in found["annotations"]} == {"Opel"}


def test_fiftyone_reads_its_samples(written):
    fo = pytest.importorskip("fiftyone", reason="pip install fiftyone to check it; it brings a database")
    data = fo.Dataset.from_dir(str(written(fiftyone)), dataset_type=fo.types.FiftyOneDataset)
    sample = next(one for one in data if one.filepath.endswith("a/0.png"))
    assert sample.label.label == "Audi A3" and sample.tags == ["train"]
    first, _ = sample.detections.detections
    assert first.mask.shape == (9, 16) and first.confidence == 0.5
    data.delete()
