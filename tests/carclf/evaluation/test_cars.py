"""Which photos show one car."""

import shutil

import pandas as pd

from carclf.datasets import read_table
from carclf.evaluation.cars import car_numbers
from tests.carclf.drawn import draw_folders


def test_copies_and_photos_of_one_name_are_of_one_car(tmp_path):
    root = draw_folders(tmp_path / "photos", each=3)
    shutil.copy(root / "red" / "0.jpg", root / "red" / "again.jpg")
    names = ["red/0", "red/again", "red/1", "red/2", "green/0", "green/1"]
    adverts = ["", "x", "x", "", "", ""]
    rows = [f"{name}.jpg,{name.split('/')[0]},{advert}" for name, advert in zip(names, adverts, strict=True)]
    (root / "list.csv").write_text("\n".join(["file,class,advert", *rows, "gone.jpg,red,", "lost.jpg,red,"]))
    table = read_table(root / "list.csv", keep_missing=True)
    cars = pd.Series(car_numbers(table), [file.removeprefix(f"{root}/") for file in table["file"]])
    # again.jpg is a copy of 0.jpg and from one advert with 1.jpg.
    assert cars["red/0.jpg"] == cars["red/again.jpg"] == cars["red/1.jpg"]
    assert cars.nunique() == 6
