"""`carclf learn`, `embed`, `similar` and `cluster` on drawn photos."""

from __future__ import annotations

import csv
import json

import numpy as np
import pandas as pd
import pytest

from carclf.recognition.recognizer import CarRecognizer
from detection.images.read import load_image
from detection.images.write import save_image
from tests.carclf.checked_html import check_page
from tests.carclf.tiny import CLASSES, save_tiny_model
from tests.carclf.wrong_usage import sentence
from tests.fakes import FakeDetector, draw_car

RED, GREEN, BLUE = (220, 20, 20), (20, 200, 40), (30, 40, 230)


def car(path, colour, number=0):
    """A photo of a car with stripes of its own."""
    photo = draw_car(colour, (96, 128), (20 + 3 * number, 30 + 2 * number, 100, 76))
    random = np.random.default_rng(number)
    for left in random.integers(30, 90, 4):
        photo[40 + 2 * number : 60, left : left + 3] = np.asarray(colour) // 2 + 20
    path.parent.mkdir(parents=True, exist_ok=True)
    save_image(path, photo)
    return path


@pytest.fixture
def new(tmp_path):
    """A folder with three photos of each of two new models."""
    for number in range(3):
        car(tmp_path / "new" / "Rover 75" / f"{number}.png", RED, number)
        car(tmp_path / "new" / "Saab 9-5" / f"{number}.png", BLUE, number)
    return tmp_path / "new"


@pytest.fixture
def garage(carclf, new, model, tmp_path):
    assert carclf("learn", new, "--base", model, "--output", tmp_path / "garage").exit_code == 0
    return tmp_path / "garage"


def statuses(garage):
    return pd.read_csv(garage.with_name(f"{garage.name}.csv"), keep_default_na=False)


def test_what_is_learnt_is_predicted(carclf, new, model, tmp_path):
    done = carclf("learn", new, "--base", model, "--output", tmp_path / "garage")
    assert done.stdout == f"Rover 75: 3 photos\nSaab 9-5: 3 photos\n{tmp_path / 'garage'}\n" and not done.exit_code
    assert statuses(tmp_path / "garage")["status"].tolist() == ["learnt"] * 6
    for colour, name in ((RED, "Rover 75"), (BLUE, "Saab 9-5")):
        photo = car(tmp_path / "asked.png", colour, 1)
        result = carclf("predict", photo, "--model", tmp_path / "garage", "--format", "json", "--threshold", 0)
        (row,) = json.loads(result.stdout)
        assert row["top"][0][0] == row["label"] == name and len(row["top"]) == 5
    listed = carclf("models", "--classes", tmp_path / "garage").stdout.splitlines()
    assert listed == [*CLASSES, "Rover 75", "Saab 9-5"]


def test_a_list_and_cut_outs_are_learnt_too(carclf, new, model, tmp_path):
    listed = tmp_path / "list.csv"
    listed.write_text("file,class\nRover 75/0.png,Rover\nSaab 9-5/1.png,Saab\n")
    garage = tmp_path / "garage.safetensors"
    done = carclf("learn", listed, "--images", new, "--base", model, "--output", garage, "--crops")
    assert done.stdout.startswith("Rover: 1 photo\nSaab: 1 photo\n") and (tmp_path / "garage.csv").is_file()
    assert "'Rover' has one photo only" in done.stderr and "'Saab' has one photo only" in done.stderr


def test_the_same_garage_grows_and_forgets(carclf, garage, tmp_path):
    car(tmp_path / "more" / "Rover 75" / "7.png", RED, 7)
    for number in range(2):
        car(tmp_path / "more" / "Lada 4x4" / f"{number}.png", GREEN, number)
    done = carclf("learn", tmp_path / "more", "--output", garage)
    assert "'Rover 75' was known: 1 photo more, 4 in all." in done.stderr
    assert done.stdout.startswith("Rover 75: 4 photos\nSaab 9-5: 3 photos\nLada 4x4: 2 photos\n")
    done = carclf("learn", "--output", garage, "--forget", "Saab 9-5")
    assert done.exit_code == 0 and "'Saab 9-5' is forgotten." in done.stderr
    assert done.stdout.startswith("Rover 75: 4 photos\nLada 4x4: 2 photos\n")
    photo = car(tmp_path / "asked.png", GREEN, 1)
    (row,) = json.loads(carclf("predict", photo, "--model", garage, "--format", "json").stdout)
    assert row["top"][0][0] == "Lada 4x4"


def test_learning_again_is_the_same_as_learning_at_once(carclf, garage, new, model, tmp_path):
    first, second = tmp_path / "part1", tmp_path / "part2"
    for name in ("Rover 75", "Saab 9-5"):
        first.mkdir(exist_ok=True), second.mkdir(exist_ok=True)
        (first if name == "Rover 75" else second).joinpath(name).symlink_to(new / name)
    carclf("learn", first, "--base", model, "--output", tmp_path / "steps")
    carclf("learn", second, "--output", tmp_path / "steps")
    photo = car(tmp_path / "asked.png", BLUE, 5)
    rows = [
        json.loads(carclf("predict", photo, "--model", one, "--format", "json").stdout)[0]["top"]
        for one in (garage, tmp_path / "steps")
    ]
    assert [name for name, _ in rows[0]] == [name for name, _ in rows[1]]
    np.testing.assert_allclose([share for _, share in rows[0]], [share for _, share in rows[1]], atol=0.02)


def test_odd_photos_are_told(carclf, new, model, tmp_path):
    folder = new / "Rover 75"
    save_image(folder / "grey.png", np.full((96, 128, 3), 128, np.uint8))
    (folder / "torn.png").write_bytes((folder / "0.png").read_bytes()[:200])
    save_image(folder / "0again.jpg", load_image(folder / "0.png"))
    (folder / "1copy.png").write_bytes((folder / "1.png").read_bytes())
    both = draw_car(RED, (96, 200), (10, 40, 70, 80))
    both[40:80, 110:190] = GREEN
    save_image(folder / "two.png", both)
    (new / "Empty").mkdir()
    save_image(new / "Empty" / "grey.png", np.full((96, 128, 3), 128, np.uint8))
    done = carclf("learn", new, "--base", model, "--output", tmp_path / "garage")
    assert done.exit_code == 3, "a photo could not be read"
    rows = statuses(tmp_path / "garage").assign(name=lambda table: table["file"].str.rsplit("/", n=1).str[1])
    by_name = {row["name"]: row for row in rows.to_dict("records") if row["class"] == "Rover 75"}
    assert by_name["grey.png"]["status"] == "no_car" and by_name["torn.png"]["status"] == "unreadable"
    assert by_name["1copy.png"]["status"] == "copy" and "1.png of 'Rover 75'" in by_name["1copy.png"]["reason"]
    assert by_name["two.png"]["status"] == "learnt" and "the largest of 2 vehicles" in by_name["two.png"]["reason"]
    for said in (
        "'Empty' was not learnt: no photo of it could be used.",
        "2 photos without a car: grey.png, grey.png.",
        "1 photo not readable: torn.png.",
        "2 photos nearly the same as another one: 0again.jpg, 1copy.png.",
        "1 photo with more than one vehicle, of which the main one was learnt: two.png.",
    ):
        assert said in done.stderr, (said, done.stderr)
    assert len(rows) == 12, "each photo has one row"


def test_wrong_usage_is_told_and_nothing_is_lost(carclf, garage, new, model, tmp_path):
    before = garage.read_bytes()
    (tmp_path / "taken" / CLASSES[0]).mkdir(parents=True)
    car(tmp_path / "taken" / CLASSES[0] / "0.png", RED)
    (tmp_path / "alike" / "rover 75").mkdir(parents=True)
    car(tmp_path / "alike" / "rover 75" / "0.png", RED)
    (tmp_path / "grey" / "A").mkdir(parents=True)
    save_image(tmp_path / "grey" / "A" / "grey.png", np.full((96, 128, 3), 128, np.uint8))
    (tmp_path / "text").write_text("x")
    other = str(save_tiny_model(tmp_path / "other.safetensors", "mobilenetv3_small_075"))
    cases = [
        (["learn", tmp_path / "taken", "--output", garage], f"'{CLASSES[0]}' is a class of '.*' already"),
        (["learn", tmp_path / "alike", "--output", garage], "'rover 75' looks like 'Rover 75'"),
        (["learn", new, "--output", garage, "--base", other], "stands on '.*', not on"),
        (["learn", new, "--output", tmp_path / "text"], "exists and is not a garage"),
        (["learn", new, "--output", tmp_path / "new2", "--base", garage], "is a garage: to add to it"),
        (["learn", "--output", garage], "or a class to --forget"),
        (["learn", "--output", garage, "--forget", "Opel"], "knows no class 'Opel': it knows Rover 75, Saab 9-5"),
        (["learn", "--output", tmp_path / "none", "--forget", "Opel"], "there is no such garage"),
        (["learn", tmp_path / "nowhere", "--output", garage], "There is no"),
        (["learn", tmp_path / "grey", "--output", tmp_path / "new3", "--base", model], "No photo could be learnt"),
        (["export", garage, "--output", tmp_path / "export"], "is a garage, which only predicts"),
    ]
    for arguments, said in cases:
        result = carclf(*arguments)
        assert result.exit_code == 2, (arguments, result.output)
        assert pd.Series([sentence(result)]).str.contains(said).all(), (said, result.stderr)
    both = carclf("learn", "--output", garage, "--forget", "Rover 75", "--forget", "Saab 9-5")
    assert "would hold no class any more: delete the file" in sentence(both)
    assert garage.read_bytes() == before


@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
def test_vectors_are_written_and_read_and_find_look_alikes(carclf, new, model, tmp_path, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    save_image(new / "grey.png", np.full((96, 128, 3), 128, np.uint8))
    vectors = tmp_path / f"vectors{suffix}"
    done = carclf("embed", new, "--output", vectors, "--model", model)
    assert done.exit_code == 0 and done.stdout == f"{vectors}: 6 vectors of 7 photos\n"
    from carclf.tools.garage.vectors import read_vectors

    table = read_vectors(vectors)
    wanted = CarRecognizer(model, FakeDetector()).embed([row["file"] for row in table.rows])
    np.testing.assert_allclose(table.vectors, wanted, atol=1e-5)
    assert [row["status"] for row in table.rows].count("no_car") == 1 and np.isnan(wanted).any(axis=1).sum() == 1
    photo = new / "Saab 9-5" / "1.png"
    page, rows = tmp_path / "page.html", tmp_path / "found.csv"
    options = ["--in", vectors, "--model", model, "--count", 4]
    assert carclf("similar", photo, *options, "--page", page, "--output", rows).exit_code == 0
    found = pd.read_csv(rows)
    assert found["rank"].tolist() == [1, 2, 3, 4] and found["similarity"].is_monotonic_decreasing
    assert str(photo) not in found["file"].tolist() and found["file"].str.contains("Saab").iloc[:2].all()
    assert len(check_page(page.read_text())) == 5, "the photo's own car, and those found"
    assert carclf("similar", photo, *options).stdout.count("\n") == 4


def test_one_photo_has_one_vector(new, model):
    recognizer = CarRecognizer(model, FakeDetector())
    one = recognizer.embed(str(new / "Rover 75" / "0.png"))
    assert one.ndim == 1 and np.linalg.norm(one) == pytest.approx(1, abs=1e-5)
    assert np.isnan(recognizer.embed(np.full((96, 128, 3), 128, np.uint8))).all()
    assert recognizer.embed([]).shape == (0, len(one))


def test_wrong_usage_of_vectors_is_told(carclf, new, model, garage, tmp_path):
    vectors = tmp_path / "v.npy"
    carclf("embed", new, "--output", vectors, "--model", model)
    photo = new / "Rover 75" / "0.png"
    save_image(tmp_path / "grey.png", np.full((96, 128, 3), 128, np.uint8))
    (tmp_path / "alone.npy").write_bytes(vectors.read_bytes())
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    (tmp_path / "objects.csv").write_text((tmp_path / "v.csv").read_text())
    np.save(tmp_path / "short.npy", np.zeros((2, 5), np.float32))
    (tmp_path / "short.csv").write_text((tmp_path / "v.csv").read_text())
    cases = [
        (["embed", new, "--output", tmp_path / "v.txt"], "Vectors are written as .parquet or .npy"),
        (["similar", photo, "--in", vectors, "--model", garage], "The vectors are of another model"),
        (["similar", tmp_path / "grey.png", "--in", vectors, "--model", model], "shows no car to compare with"),
        (["similar", photo, "--in", tmp_path / "none.npy"], "There is no file of vectors"),
        (["similar", photo, "--in", tmp_path / "v.csv"], "is neither .parquet nor .npy"),
        (["similar", photo, "--in", tmp_path / "alone.npy"], "belongs beside it"),
        (["similar", photo, "--in", tmp_path / "objects.npy"], "holds no vectors"),
        (["similar", photo, "--in", tmp_path / "short.npy"], "don't belong together"),
        (["cluster", tmp_path / "v.csv", "--output", new], "exists and holds no groups"),
        (["cluster", photo, "--output", tmp_path / "g"], "holds neither rows of `carclf predict` nor vectors"),
        (["cluster", tmp_path / "none.csv", "--output", tmp_path / "g"], "There is no file"),
    ]
    for arguments, said in cases:
        assert said in sentence(carclf(*arguments, *(["--model", model] if "--model" not in arguments else []))), said


@pytest.mark.parametrize("kind", ["rows", "vectors"])
def test_unknown_cars_are_grouped_named_and_learnt(carclf, new, model, tmp_path, kind):
    source = tmp_path / ("rows.json" if kind == "rows" else "v.npy")
    if kind == "rows":
        carclf("predict", new, "--model", model, "--output", source, "--threshold", 1)
        options = []
    else:
        carclf("embed", new, "--output", source, "--model", model)
        options = ["--all"]
    groups = tmp_path / "groups"
    done = carclf("cluster", source, "--output", groups, "--model", model, "--apart", 0.04, *options)
    assert done.exit_code == 0, done.output
    assert len(check_page((groups / "index.html").read_text())) == 6
    table = pd.read_csv(groups / "groups.csv", keep_default_na=False, dtype=str)
    assert len(table) == 6 and set(table["class"]) == {""}
    names = table["file"].str.extract("(Rover|Saab)")[0]
    assert table[table["group"] != ""].groupby("group").apply(lambda one: names[one.index].nunique()).max() == 1
    assert "No group of" in sentence(carclf("learn", groups / "groups.csv", "--output", tmp_path / "g"))
    table.loc[table["group"] == "1", "class"] = ["My car", *[""] * ((table["group"] == "1").sum() - 1)]
    table.to_csv(groups / "groups.csv", index=False, quoting=csv.QUOTE_ALL)
    learnt = carclf("learn", groups / "groups.csv", "--base", model, "--output", tmp_path / "g")
    assert learnt.stdout.startswith(f"My car: {(table['group'] == '1').sum()} photos\n")
