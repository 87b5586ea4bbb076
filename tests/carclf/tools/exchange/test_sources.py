"""What `clean` and `predict` found, exported; and what others write, imported and trained on."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from carclf.cli import app
from carclf.recognition.output.formats import encoded
from carclf.recognition.prediction import COLUMNS, Prediction
from carclf.tools.exchange.exchange import export_data, import_data
from carclf.tools.exchange.formats import coco
from carclf.tools.exchange.record import Photo, Thing
from carclf.tools.exchange.shapes import mask_shape, shape_mask
from detection import UsageError
from detection.masks.records import MaskSource, read_source
from tests.carclf.tools.exchange.records import write_photos
from tests.fakes import draw_car
from tests.folder_runs import put, run


@pytest.fixture
def cleaned(tmp_path):
    for place in ("Audi A3/a.png", "Audi A3/b.png", "Opel/c.png"):
        put(tmp_path / "in" / place, draw_car())
    put(tmp_path / "in" / "Opel" / "empty.png", np.zeros((64, 64, 3), np.uint8))
    (tmp_path / "in" / "Opel" / "broken.jpg").write_bytes(b"no photo")
    run(tmp_path / "in", tmp_path / "cleaned", save_detections=True)
    return tmp_path / "cleaned"


def test_what_clean_found_goes_out_with_its_masks(cleaned, tmp_path):
    made = export_data(cleaned, "coco", tmp_path / "out")
    assert made.photos == 4 and made.things == made.masks == 3 and not made.notes
    found = {photo.name: photo for photo in coco.read(tmp_path / "out", None)[0]}
    photo = found["Audi A3/a.png"]
    (thing,) = photo.things
    assert photo.label == thing.label == "Audi A3" and thing.attributes["main"] is True
    assert 0 < thing.score <= 1 and found["Opel/empty.png"].things == ()
    x1, y1, x2, y2 = (round(value) for value in thing.box)
    mask = shape_mask(thing.shape, photo.size)
    assert mask[y1:y2, x1:x2].mean() > 0.5 and not mask[: y1 - 2].any()


def test_without_detections_there_are_boxes_and_a_sentence(cleaned, tmp_path):
    (cleaned / "detections.jsonl").unlink()
    made = export_data(cleaned, "cvat", tmp_path / "out")
    assert (made.things, made.masks) == (3, 0)
    assert "boxes and no masks" in made.notes[0]
    (tmp_path / "in").rename(tmp_path / "moved")
    with pytest.raises(UsageError, match="no longer in .* --images"):
        export_data(cleaned, "cvat", tmp_path / "other")
    assert export_data(cleaned, "cvat", tmp_path / "other", images=tmp_path / "moved").things == 3


@pytest.mark.parametrize("format", ["csv", "json", "jsonl"])
def test_what_predict_answered_goes_out_as_predictions(format, tmp_path):
    write_photos(tmp_path / "photos")
    rows = [
        Prediction(
            "0.png", "ok", "Audi A3", 0.75, (("Audi A3", 0.75), ("Opel", 0.25)), (1.0, 2.0, 9.5, 8.0), kind="car"
        ),
        Prediction("1.png", "no_car", reason="nothing found"),
        Prediction("2.png", "unknown", None, 0.3, (("Opel", 0.3),), (1.0, 1.0, 5.0, 5.0), kind="truck"),
        Prediction("gone.png", "unreadable", reason="damaged"),
    ]
    answers = tmp_path / f"answers.{format}"
    answers.write_bytes(b"".join(encoded([row.row() for row in rows], format, COLUMNS)))
    made = export_data(answers, "label-studio", tmp_path / "out", images=tmp_path / "photos")
    assert (made.photos, made.things, made.exit_code) == (3, 2, 3)
    first, second, third = json.loads((tmp_path / "out" / "tasks.json").read_text())
    assert "annotations" not in first and "annotations" not in second and "predictions" not in second
    choice, box = first["predictions"][0]["result"]
    assert choice["value"]["choices"] == ["Audi A3"] and choice["score"] == 0.75
    assert box["value"]["rectanglelabels"] == ["Audi A3"] and box["value"]["x"] == pytest.approx(100 / 30)
    assert third["data"]["attributes"]["status"] == "unknown"


def test_an_import_teaches_the_detector(tmp_path):
    photos = write_photos(tmp_path / "photos")
    mask = np.zeros((20, 30), bool)
    mask[3:12, 4:20] = True
    things = (Thing("van", (4, 3, 20, 12), mask_shape(mask)), Thing("car", (1, 1, 9, 9)))
    listed = [Photo("0.png", photos / "0.png", (20, 30), things=things[:1]),
              Photo("1.png", photos / "1.png", (20, 30), things=things)]  # fmt: skip
    (tmp_path / "out").mkdir()
    coco.write(listed, tmp_path / "out")
    import_data(tmp_path / "out", "coco", tmp_path / "in")
    source = MaskSource(name="in", images=str(tmp_path / "in/images"), annotations=str(tmp_path / "in/masks.json"))
    (record,) = read_source(source)  # the photo with a box alone would teach that there is no car
    assert (record.decoded_masks()[0] == mask).all() and record.categories == ("van",)
    boxes = MaskSource(**source.model_dump() | {"kind": "boxes", "annotations": str(tmp_path / "in/boxes.json")})
    assert [len(one.masks) for one in read_source(boxes)] == [1, 2]


def test_photos_that_can_not_be_read_are_told(tmp_path):
    write_photos(tmp_path / "data" / "images")
    (tmp_path / "data" / "images" / "1.png").write_bytes(b"no photo")
    (tmp_path / "data" / "classes.txt").write_text("car\n")
    (tmp_path / "data" / "labels").mkdir()
    (tmp_path / "data" / "labels" / "0.txt").write_text("0 0.5 0.5 0.2 0.2 0.9\n")
    made = import_data(tmp_path / "data", "yolo", tmp_path / "in")
    assert made.exit_code == 3 and made.photos == 2
    assert made.notes == (
        "1 photo can't be read and left out, the first is 'images/1.png'.",
        "1 photo has no class: in objects.json, but not in labels.csv.",
    )


def test_the_verbs(tmp_path):
    data = write_photos(tmp_path / "data")
    lines = ["file,class", "0.png,Audi", "1.png,Opel", "2.png,Opel"]
    (data / "labels.csv").write_text("\n".join(lines))
    out, again = str(tmp_path / "out"), str(tmp_path / "in")
    found = CliRunner().invoke(app, ["data", "export", str(data), "--format", "voc", "--output", out])
    assert found.exit_code == 0 and "3 photos, 0 things, 0 masks." in found.stdout
    assert "Pascal VOC can't hold 3 classes of photos: left out." in found.output
    assert CliRunner().invoke(app, ["data", "export", str(data), "--format", "cvat", "--output", again]).exit_code == 0
    found = CliRunner().invoke(app, ["data", "import", again, "--format", "cvat", "--output", str(tmp_path / "new")])
    assert found.exit_code == 0 and sorted(one.name for one in (tmp_path / "new").iterdir()) == [
        "images", "labels.csv", "objects.json"
    ]  # fmt: skip


def test_roboflows_yolo(tmp_path):
    for side, number in (("train", 0), ("valid", 1)):
        for kind in ("images", "labels"):
            (tmp_path / "data" / side / kind).mkdir(parents=True)
        Image.new("RGB", (30, 20)).save(tmp_path / "data" / side / "images" / f"{number}.jpg")
        (tmp_path / "data" / side / "labels" / f"{number}.txt").write_text("0 0.1 0.1 0.9 0.1 0.9 0.9\n")
    (tmp_path / "data" / "data.yaml").write_text(
        "train: ../train/images\nval: ../valid/images\nnc: 1\nnames: ['car']\n"
    )
    made = import_data(tmp_path / "data", "yolo", tmp_path / "in")
    assert (made.photos, made.masks) == (2, 2)
    assert (tmp_path / "in" / "labels.csv").read_text().splitlines()[1].startswith("0.jpg,car,train,3,2,27,18")
