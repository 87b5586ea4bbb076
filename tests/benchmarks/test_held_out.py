"""Classes that a network was trained without: which they are, and that the benchmarks ask with their photos."""

import argparse

import numpy as np
import pandas as pd
import pytest

from benchmarks import garage, held_out
from carclf.classifier.levels.names import ClassName
from carclf.classifier.levels.tree import Tree
from carclf.recognition.recognizer import CarRecognizer
from detection.common.files import file_sha256
from detection.images.write import save_image
from tests.carclf.drawn import draw
from tests.carclf.tiny import CLASSES, save_tiny_model

NEW = "Audi TT"
PARTS = ("fit", "fit", "choose", "report")


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A folder as the benchmark takes it, with the classes of the tiny model and one more, and a list of its parts."""
    images, random = tmp_path / "data/stanford_cars/images", np.random.default_rng(0)
    files = [images / name / f"{number}.png" for name in (*CLASSES, NEW) for number in range(len(PARTS))]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_image(file, draw((200, 40, 40), random))
    rows = [{"file": f"{file.parent.name}/{file.name}", "class": file.parent.name} for file in files]
    pd.DataFrame(rows).to_csv(tmp_path / "data/stanford_cars/labels.csv", index=False)
    (tmp_path / "repository/data/splits").mkdir(parents=True)
    digests = [file_sha256(file).hex()[:16] for file in files]
    parts = pd.DataFrame({"sha256": digests, "part": [*PARTS] * (len(CLASSES) + 1)})
    parts.to_csv(tmp_path / "repository/data/splits/stanford196.csv", index=False)
    monkeypatch.setattr(garage, "ROOT", tmp_path / "repository")
    return tmp_path / "data"


def test_the_same_classes_are_drawn_whatever_the_order_of_the_photos():
    names = pd.Series([f"Make {number}" for number in range(9)] * 3)
    drawn = held_out.drawn_classes(names, 4)
    assert drawn == held_out.drawn_classes(names[::-1], 4) and len(set(drawn)) == 4


def test_the_labels_lack_what_is_held_out(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["held_out", str(data), "--write", str(tmp_path / "labels.csv"), "--count", "1"])
    held_out.main()
    (out,) = capsys.readouterr().out.split("\n")[:-1]
    written = pd.read_csv(tmp_path / "labels.csv")
    assert set(written["class"]) == {*CLASSES, NEW} - {out} and len(written) == 3 * len(PARTS)


@pytest.mark.parametrize(
    ("part", "asked", "teach"), [("choose", 1, 2), ("report", 1, 3), ("both", 2, 2)], ids=["choose", "report", "both"]
)
def test_who_teaches_and_who_is_asked(data, tmp_path, part, asked, teach):
    model = save_tiny_model(tmp_path / "tiny.safetensors")
    recognizer = CarRecognizer(str(model), crops=True, threads=1)
    arguments = argparse.Namespace(
        data=data, cars="held-out", part=part, crops=data / "stanford_cars/images", cache=tmp_path / "cache.npz"
    )
    new, known = garage.cars(arguments, recognizer)
    assert set(new["class"]) == {NEW} and set(known["class"]) == set(CLASSES)
    assert new["asks"].sum() == asked and (~new["asks"]).sum() == teach and len(known) == 3 * asked
    teachers, asking = garage.drawn(new, 9, np.random.default_rng(0))
    assert not set(teachers["file"]) & set(asking["file"]) and len(teachers) == teach
    again, _ = garage.cars(arguments, recognizer)
    np.testing.assert_array_equal(np.stack(again["vector"].tolist()), np.stack(new["vector"].tolist()))


def test_a_model_that_knows_all_classes_is_refused(data, tmp_path, monkeypatch):
    labels = data / "stanford_cars/labels.csv"
    table = pd.read_csv(labels)
    table[table["class"] != NEW].to_csv(labels, index=False)
    recognizer = CarRecognizer(str(save_tiny_model(tmp_path / "tiny.safetensors")), crops=True, threads=1)
    arguments = argparse.Namespace(
        data=data, cars="held-out", part="both", crops=None, cache=None, model="tiny.safetensors"
    )
    with pytest.raises(SystemExit, match="trained with all classes"):
        garage.cars(arguments, recognizer)


def test_what_is_new_of_a_class():
    names = [ClassName(make="Audi", model="Audi TT"), ClassName(make="BMW", model="BMW X5")]
    tree = Tree(names, ["Audi TT 2011", "BMW X5 2007"])
    assert held_out.kind(ClassName(make="Audi", model="Audi TT", years="2007"), tree) == "new body or year"
    assert held_out.kind(ClassName(make="BMW", model="BMW X3"), tree) == "new model"
    assert held_out.kind(ClassName(make="Fisker", model="Fisker Karma"), tree) == "new make"
