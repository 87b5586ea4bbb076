"""Tables of names, and folders within folders that say make, model and year."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from carclf.datasets.layouts.folders import folder_names
from carclf.datasets.layouts.names_csv import read_names
from carclf.datasets.table import read_table, read_table_of
from carclf.runs.recipe import TrainConfig
from carclf.training.data.names import class_names
from detection.common.errors import UsageError


def photo(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)


@pytest.mark.parametrize("text", ["class,make,model\na,Audi,S4\n", "\ufeffClass;Make;Model\na;Audi;S4\n\n"])
def test_a_table_is_read(text, tmp_path):
    (tmp_path / "names.csv").write_text(text, encoding="utf-8")
    assert read_names(tmp_path / "names.csv") == {"a": {"make": "Audi", "model": "S4"}}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("class,model\na,S4\n", "must have the columns class and make"),
        ("class,make\na,Audi\nb,BMW\na,Audi\n", "lists the class 'a' twice, again in line 4"),
        ("class,make\n,Audi\n", "gives no class in line 2"),
        ("class,make\n", "lists no classes"),
        ("", "must have the columns class and make; it has none"),
    ],
)
def test_a_bad_table_is_one_sentence(text, told, tmp_path):
    (tmp_path / "names.csv").write_text(text)
    with pytest.raises(UsageError, match=told):
        read_names(tmp_path / "names.csv")


def test_a_table_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(UsageError, match="can't be read as a csv: No such file"):
        read_names(tmp_path / "names.csv")


@pytest.fixture
def nested(tmp_path):
    for place in ("Audi/S4/2007", "Audi/Audi A4", "Audi/S4/2012", "BMW/X3/2012", "Lada"):
        photo(tmp_path / place / "1.png")
        photo(tmp_path / place / "2.png")
    return tmp_path


@pytest.mark.parametrize("above", [[""], ["train", "test"]])
def test_folders_say_make_model_and_year(tmp_path, above):
    for top in above:
        photo(tmp_path / top / "Audi/S4/2007/1.png")
        photo(tmp_path / top / "Audi/Audi A4/1.png")
    table = read_table(tmp_path, nested=True)
    assert set(table["label"]) == {"Audi S4 2007", "Audi A4"} and len(table) == 2 * len(above)
    assert folder_names(tmp_path) == {
        "Audi S4 2007": {"make": "Audi", "model": "Audi S4", "years": "2007", "trim": ""},
        "Audi A4": {"make": "Audi", "model": "Audi A4", "years": "", "trim": ""},
    }


def test_two_folders_of_one_name_are_told(tmp_path):
    photo(tmp_path / "Audi/S4/2007/1.png")
    photo(tmp_path / "Audi/S4 2007/1.png")
    with pytest.raises(UsageError, match="give the name 'Audi S4 2007'"):
        folder_names(tmp_path)


def test_a_model_of_nested_folders_reads_them_so(nested):
    classes = sorted(set(read_table(nested, nested=True)["label"]))
    assert classes == ["Audi A4", "Audi S4 2007", "Audi S4 2012", "BMW X3 2012", "Lada"]
    assert set(read_table_of(classes, nested)["label"]) == set(classes)
    assert set(read_table_of(["Audi", "BMW", "Lada"], nested)["label"]) == {"Audi", "BMW", "Lada"}


def test_a_training_takes_names_from_where_it_is_told(nested):
    classes = ("Audi", "BMW", "Lada")
    assert class_names(TrainConfig(data=nested), classes) == (), "nothing says them"
    (nested / "names.csv").write_text("class,make\nAudi,VAG\nBMW,BMW\nLada,AvtoVAZ\n")
    assert [one.make for one in class_names(TrainConfig(data=nested), classes)] == ["VAG", "BMW", "AvtoVAZ"]
    assert class_names(TrainConfig(data=nested, names="none"), classes) == ()
    (nested / "other.csv").write_text("class,make\nAudi,A\nBMW,B\nLada,L\n")
    found = class_names(TrainConfig(data=nested, names=str(nested / "other.csv")), classes)
    assert [one.make for one in found] == ["A", "B", "L"]
    deep = sorted(set(read_table(nested, nested=True)["label"]))
    by_folders = class_names(TrainConfig(data=nested, names="folders"), deep)
    assert [(one.model, one.years) for one in by_folders][:3] == [
        ("Audi A4", ""),
        ("Audi S4", "2007"),
        ("Audi S4", "2012"),
    ]
    with pytest.raises(UsageError, match="lacks 1 class, the first is 'Opel'"):
        class_names(TrainConfig(data=nested), (*classes, "Opel"))
