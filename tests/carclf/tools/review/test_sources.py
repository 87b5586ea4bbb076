"""Everything that can be reviewed, read: what of it is shown, and what is not."""

from __future__ import annotations

import csv
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from carclf.recognition.output.formats import encoded
from carclf.recognition.prediction import COLUMNS, Prediction
from carclf.tools.review.desk import views
from carclf.tools.review.photos import Photos
from carclf.tools.review.sources.source import read_source
from detection.common.errors import UsageError
from detection.detectors.contract import CarChecker
from detection.vehicle import Look as CarLook


def by_suspicion(photos: Photos) -> list[str]:
    return [photos.names[number] for number in np.argsort(-photos.suspicion, kind="stable")]


def write_predictions(path: Path, names: list[str]) -> Path:
    rows = [
        Prediction(names[0], "ok", "red", 0.99, (("red", 0.99), ("blue", 0.01)), (1.0, 2.0, 30.0, 20.0)),
        Prediction(names[1], "unknown", None, 0.3, (("green", 0.3), ("blue", 0.2)), (1.0, 2.0, 30.0, 20.0)),
        Prediction(names[2], "ok", "blue", 0.4, (("blue", 0.4), ("red", 0.3))),
        Prediction(names[3], "no_car", reason="no vehicle found in the photo"),
    ]
    kind = path.suffix[1:]
    path.write_bytes(b"".join(encoded([row.row() for row in rows], kind, COLUMNS)))
    return path


@pytest.mark.parametrize("ending", ["csv", "jsonl", "json", "parquet"])
def test_predictions_of_each_format(data, tmp_path, monkeypatch, ending):
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)
    names = ["data/red/0.jpg", "data/green/1.jpg", "data/blue/2.jpg", "data/blue/3.jpg"]
    photos = read_source(write_predictions(tmp_path / f"rows.{ending}", names))
    assert photos.names == names and photos.files[0] == str(data / "red" / "0.jpg")
    assert [photos.class_of(number) for number in range(4)] == ["red", "", "blue", ""]
    assert [photos.suggestion_of(number) for number in range(4)] == ["red", "green", "blue", ""]
    assert photos.best_of(0) == [("red", pytest.approx(0.99)), ("blue", pytest.approx(0.01))]
    assert photos.box[0].tolist() == [1, 2, 30, 20] and np.isnan(photos.box[3]).all()
    assert by_suspicion(photos) == [names[3], names[1], names[2], names[0]]
    assert {name: places.tolist() for name, (places, _) in photos.issues.items()} == {
        "unknown": [1], "unsure": [2], "no car": [3],
    }  # fmt: skip


def test_a_make_alone_is_no_class(data, tmp_path):
    row = {"file": str(data / "red/0.jpg"), "status": "ok", "label": "Audi", "level": "make", "confidence": 0.97,
           "top": [["Audi S4 2012", 0.5], ["Audi A4 2010", 0.4]], "box": None}  # fmt: skip
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    photos = read_source(tmp_path / "rows.jsonl")
    assert photos.class_of(0) == "" and photos.suggestion_of(0) == "Audi S4 2012"
    assert photos.issues_of(0)[0].text == "Audi, but which is not sure"


def test_an_evaluation_and_a_run_show_their_mistakes(data, tmp_path):
    run = tmp_path / "run"
    (run / "validation").mkdir(parents=True)
    rows = [
        {"file": str(data / "red/0.jpg"), "label": "red", "predicted": "red", "confidence": 0.9,
         "correct": True, "rank": 1, "label_probability": 0.9, "top5": "red; blue", "status": "ok", "reason": ""},
        {"file": str(data / "red/1.jpg"), "label": "red", "predicted": "blue", "confidence": 0.8,
         "correct": False, "rank": 2, "label_probability": 0.15, "top5": "blue; red", "status": "ok", "reason": ""},
        {"file": str(data / "blue/0.jpg"), "label": "blue", "predicted": "", "confidence": "", "correct": False,
         "rank": "", "label_probability": "", "top5": "", "status": "no_car", "reason": "nothing found"},
    ]  # fmt: skip
    with (run / "validation" / "predictions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for source in (run, run / "validation", run / "validation" / "predictions.csv"):
        photos = read_source(source)
        assert photos.kind == "evaluation"
        assert {name: places.tolist() for name, (places, _) in photos.issues.items()} == {
            "mistake": [1], "no answer": [2],
        }  # fmt: skip
    assert photos.issues_of(1)[0].text == "taken for blue, 80%" and photos.groups[photos.group[1]] == "red → blue"
    assert photos.suggestion_of(1) == "blue" and photos.suggestion_of(0) == ""
    assert photos.best_of(1) == [("blue", pytest.approx(0.8)), ("red", pytest.approx(0.15))]
    assert by_suspicion(photos)[0] == rows[1]["file"]


def test_clusters_are_groups_that_a_person_names(data, tmp_path):
    folder = tmp_path / "groups"
    folder.mkdir()
    files = [data / "red/0.jpg", data / "red/1.jpg", data / "blue/0.jpg", data / "blue/1.jpg"]
    lines = [f"1,,{files[0]}", f"1,Rover,{files[1]}", f"2,,{files[2]}", f",,{files[3]}"]
    (folder / "groups.csv").write_text("group,class,file\n" + "\n".join(lines) + "\n", encoding="utf-8")
    for source in (folder, folder / "groups.csv"):
        photos = read_source(source)
        assert [photos.groups[number] for number in photos.group] == ["group 1", "group 1", "group 2", "alone"]
        assert [photos.class_of(number) for number in range(4)] == ["Rover", "Rover", "", ""]


def test_labelled_photos_in_the_layouts_of_train(data, tmp_path):
    photos = read_source(data)
    assert photos.kind == "labelled" and len(photos) == 12 and photos.names[0] == "blue/0.jpg"
    (tmp_path / "list.csv").write_text("file,class\nred/0.jpg,Rot\nred/gone.jpg,Rot\n", encoding="utf-8")
    listed = read_source(tmp_path / "list.csv", images=data)
    assert listed.names == ["red/0.jpg", "red/gone.jpg"] and listed.classes == ["Rot"]


def test_an_audit_with_all_that_it_saw(data, tmp_path, monkeypatch):
    from carclf.tools.audit.audit import audit_data
    from tests.carclf.tiny import save_tiny_model
    from tests.fakes import FakeDetector

    class Check(CarChecker):
        def look(self, views):
            return [CarLook(0.9, "grey thing") for _ in views]

    class Detector(FakeDetector):
        def car_check(self):
            return Check()

    monkeypatch.setattr("carclf.recognition.loading._load_detector", lambda *_: Detector())
    model = save_tiny_model(tmp_path / "tiny.safetensors")
    (data / "red" / "broken.jpg").write_bytes(b"no photo")
    audit = audit_data(data, tmp_path / "audit", model=str(model))
    photos = read_source(tmp_path / "audit")
    assert photos.kind == "audit" and len(photos) == 13 and photos.names == list(audit.check.rows["file"])
    broken = photos.names.index("red/broken.jpg")
    assert photos.issues_of(broken)[0].name == "odd file" and photos.digests[broken] == ""
    assert photos.best_of(0)[0][0] in {"red", "green", "blue"} and len(photos.digests[0]) == 16
    assert photos.vectors == tmp_path / "audit" / "looks.jsonl"
    (data).rename(tmp_path / "moved")
    with pytest.raises(UsageError, match=r"are no longer in .*--images"):
        read_source(tmp_path / "audit")
    assert read_source(tmp_path / "audit", images=tmp_path / "moved").files[0].startswith(str(tmp_path / "moved"))
    (tmp_path / "audit" / "photos.jsonl").unlink()
    with pytest.raises(UsageError, match="audited by an earlier carclf"):
        read_source(tmp_path / "audit")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("nothing", None, "There is no"),
        ("a.csv", "file,status,top,box\nx.jpg,ok,[,\n", "can't be read"),
        ("a.json", "{", "can't be read"),
        ("s3://bucket/rows.csv", None, "not on this machine"),
    ],
)
def test_what_can_not_be_reviewed_is_told_in_a_sentence(tmp_path, name, text, told):
    if text is not None:
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=told):
        read_source(name if "://" in name else tmp_path / name)


def test_likeness_by_the_vectors_of_embed(data, vectors, opened):
    """Photos of a class look alike; a photo without a vector comes last."""
    room = opened(data, vectors=vectors)
    likes = room.likeness.to(0)
    assert set(np.argsort(-likes)[:4]) == {0, 1, 2, 3} and likes[11] == -2 and likes[0] == pytest.approx(1, abs=0.01)
    assert room.likeness.to(11) is None
    order = room.likeness.order()
    assert sorted(order) == list(range(12)) and order[-1] == 11
    classes = [Path(room.photos.files[number]).parent.name for number in order[:-1]]
    assert sum(one != other for one, other in pairwise(classes)) == 2  # three runs
    found = views.find(views.Query(like=5), room.desk, room.likeness)
    assert found[0] == 5 and set(found[:4]) == {4, 5, 6, 7}


def test_a_source_of_a_stranger_serves_nothing_but_photos(tmp_path, client):
    """A list may name any file: what is no photo is not shown."""
    secret = tmp_path / "secret.txt"
    secret.write_text("password")
    (tmp_path / "rows.jsonl").write_text(json.dumps({"file": str(secret), "status": "ok", "label": "x"}) + "\n")
    asked = client(tmp_path / "rows.jsonl")
    for path in ("/thumb/0", "/photo/0", "/photo/-1", "/thumb/1", "/static/../secret.txt", "/static/%2e%2e/app.py",
                 "/../../etc/passwd"):  # fmt: skip
        answer = asked.get(path)
        assert answer.status_code == 404 and b"password" not in answer.content
