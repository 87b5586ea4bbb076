"""Lists of the photos to fit to, to choose by and to report on."""

import pytest

from detection import UsageError
from detection.common.config import read_config
from detection.masks.parts import file_digest, part_of, read_parts
from detection.masks.records import MaskSource
from detection.training.config import DetectorTraining
from detection.training.examples import read_records
from detection.training.train import evaluate_held_out
from tests.coco_photos import make_coco, tiny_training
from tests.fakes import FakeDetector


def test_a_photo_is_known_by_its_content(tmp_path):
    for name, content in (("a.jpg", b"one"), ("b.jpg", b"two"), ("copy.jpg", b"one"), ("new.jpg", b"new")):
        (tmp_path / name).write_bytes(content)
    lines = [f"{file_digest(tmp_path / 'a.jpg')},choose", f"{file_digest(tmp_path / 'b.jpg')},report"]
    (tmp_path / "parts.csv").write_text("\n".join(["sha256,part", *lines, lines[0], ""]))
    parts = read_parts(tmp_path / "parts.csv")
    found = {name: part_of(tmp_path / name, parts) for name in ("a.jpg", "copy.jpg", "b.jpg", "new.jpg")}
    assert found == {"a.jpg": "choose", "copy.jpg": "choose", "b.jpg": "report", "new.jpg": "fit"}
    assert len(lines[0].split(",")[0]) == 16


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "can't be read as a list of parts"),
        ("\udcff", "can't be read as a list of parts"),
        ("name,part\na,fit\n", "must have the columns sha256,part"),
        ("sha256,part\nab,train\n", "Line 2 of .* names the part 'train': known are fit, choose, report"),
        ("sha256,part\nab\n", "Line 2"),
        ("sha256,part\nab,fit\nab,report\n", "puts ab into several parts"),
    ],
)
def test_faults_are_one_sentence(tmp_path, text, message):
    path = tmp_path / "parts.csv"
    if text is not None:
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError, match=message):
        read_parts(path)


def test_what_is_reported_on_is_in_no_training_and_measured_only_when_asked(tmp_path):
    source = make_coco(tmp_path)
    photos = sorted((tmp_path / "images").iterdir())
    sides = {"choose": photos[:3], "report": photos[3:8], "fit": photos[8:10]}
    rows = [f"{file_digest(photo)},{part}" for part, some in sides.items() for photo in some]
    (tmp_path / "parts.csv").write_text("\n".join(["sha256,part", *rows]))
    source = source.model_copy(update={"split": str(tmp_path / "parts.csv")})
    config = read_config(DetectorTraining, tiny_training(tmp_path, source))
    for part in ("choose", "report"):
        _, train, held_out = read_records(config, part)
        assert {record.path for record in held_out["made"]} == {str(photo) for photo in sides[part]}
        assert {record.path for record in train} == {str(photo) for photo in photos[8:]}, "those of no part, too"
    figures = evaluate_held_out(FakeDetector(), tmp_path / "training.yaml", part="report")
    assert figures["made"]["photos"] == 5
    unmeasured = source.model_copy(update={"measure": False})
    _, train, held_out = read_records(config.model_copy(update={"sources": (unmeasured,)}))
    assert not held_out and len(train) == len(photos) - 8
    everything = config.model_copy(update={"refit": True})
    _, train, held_out = read_records(everything)
    assert not held_out and {record.path for record in train} == {str(photo) for photo in photos}


def test_a_split_and_a_share_exclude_each_other(tmp_path):
    path = tiny_training(tmp_path, MaskSource(name="made", images="x", split="parts.csv"))
    with pytest.raises(UsageError, match="the source 'made' has a split and a share"):
        read_config(DetectorTraining, path, ["sources=[{name: made, images: x, split: y, validation: 0.2}]"])


def test_an_optional_source_is_left_out_where_its_annotations_are_missing(tmp_path, capsys):
    source = make_coco(tmp_path)
    gone = source.model_copy(update={"name": "gone", "annotations": str(tmp_path / "b.json"), "optional": True})
    config = read_config(DetectorTraining, tiny_training(tmp_path, source))
    _, train, _ = read_records(config.model_copy(update={"sources": (source, gone)}))
    assert len(train) == 16 and "'gone' is left out: there is no" in capsys.readouterr().err
