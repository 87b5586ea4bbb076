import errno
import os
import re
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from carclf.cli import app
from carclf.datasets import read_table
from carclf.datasets.layouts.boxes import crop_table
from carclf.datasets.prepare.places import places_of
from carclf.datasets.prepare.prepare import PrepareOptions, prepare_data
from detection.common.errors import UsageError
from detection.images.read import load_image
from tests.carclf.drawn import draw_folders

COLUMNS = ["source", "file", "label", "split", "status", "reason", "box"]


@pytest.fixture
def root(tmp_path):
    return draw_folders(tmp_path / "photos", each=5)


@pytest.fixture
def listed(root):
    """car_dataset_labels.csv beside its photos, with a class that is no folder's name."""
    rows = [f"{name}/{number}.jpg,{'Ram C/V' if name == 'red' else name},{'test' if number == 4 else 'train'}"
            for name in ("red", "green", "blue") for number in range(5)]  # fmt: skip
    (root / "car_dataset_labels.csv").write_text("\n".join(["img_file,class,subset", *rows]) + "\n")
    return root / "car_dataset_labels.csv"


def carclf(*arguments):
    result = CliRunner().invoke(app, ["prepare", *(str(argument) for argument in arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def manifest(output):
    return pd.read_csv(output / "prepared.csv", dtype=str, keep_default_na=False)


def photos(folder):
    return {
        path.relative_to(folder).as_posix(): path for path in folder.rglob("*.*") if path.suffix in (".jpg", ".png")
    }


def test_a_given_split_becomes_folders_of_links(listed, tmp_path):
    output = tmp_path / "out"
    result = carclf(listed, output)
    assert result.exit_code == 0 and "15 photos: 15 linked; 12 train, 3 test." in result.stdout
    rows = manifest(output)
    assert list(rows.columns) == COLUMNS and len(rows) == rows["source"].nunique() == rows["file"].nunique() == 15
    row = rows.set_index("source").loc["red/4.jpg"]
    assert (row["file"], row["label"], row["split"]) == ("test/Ram C-V/4.jpg", "Ram C/V", "test")
    assert (output / row["file"]).samefile(listed.parent / "red" / "4.jpg")
    assert set(photos(output)) == set(rows["file"])
    again = read_table(output)
    assert again["split"].value_counts().to_dict() == {"train": 12, "test": 3}
    assert set(again["label"]) == {"Ram C-V", "green", "blue"}


def test_validation_photos_get_their_folder_and_data_without_a_split_a_test_share(root, tmp_path):
    draw_folders(tmp_path / "parts" / "train", each=2)
    draw_folders(tmp_path / "parts" / "valid", each=1)
    prepare_data(tmp_path / "parts", tmp_path / "a")
    assert sorted(path.name for path in (tmp_path / "a").iterdir() if path.is_dir()) == ["train", "val"]
    (root / "red" / "copy.jpg").write_bytes((root / "red" / "0.jpg").read_bytes())
    made = prepare_data(root, tmp_path / "b", options=PrepareOptions(test=0.4))
    rows = made.rows.set_index("source")
    assert rows.groupby("label")["split"].apply(lambda side: (side == "test").sum()).between(2, 3).all()
    assert rows.loc["red/0.jpg", "split"] == rows.loc["red/copy.jpg", "split"]
    assert "40% of each class go to test/" in made.notes[0]
    all_train = prepare_data(root, tmp_path / "c", options=PrepareOptions(test=0))
    assert set(all_train.rows["split"]) == {"train"} and "no split" in all_train.notes[0]


def test_a_second_run_changes_nothing_and_a_stopped_one_goes_on(root, tmp_path, monkeypatch):
    from carclf.datasets.prepare import prepare

    output = tmp_path / "out"
    bring, brought = prepare.bring_file, []

    def stop_after_six(*arguments, **options):
        if len(brought) == 6:
            raise KeyboardInterrupt
        brought.append(arguments)
        return bring(*arguments, **options)

    monkeypatch.setattr(prepare, "bring_file", stop_after_six)
    with pytest.raises(KeyboardInterrupt):
        prepare_data(root, output)
    assert len(photos(output)) == 6 and not (output / "prepared.csv").exists()
    (output / "train" / ".carclf-1-1.tmp").write_bytes(b"left by a killed run")
    monkeypatch.setattr(prepare, "bring_file", bring)
    prepare_data(root, output)
    first = {name: path.stat().st_ino for name, path in photos(output).items()}, (output / "prepared.csv").read_bytes()
    prepare_data(root, output)
    assert first == ({name: path.stat().st_ino for name, path in photos(output).items()},
                     (output / "prepared.csv").read_bytes())  # fmt: skip
    assert len(first[0]) == 15 and not list(output.rglob("*.tmp"))


def test_copies_across_file_systems_are_said(root, tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", refuse)
    result = carclf(root, tmp_path / "out")
    assert result.exit_code == 0 and "15 copied" in result.stdout and "another file system" in result.stderr
    assert carclf(root, tmp_path / "out").stdout == result.stdout
    monkeypatch.undo()
    result = carclf(root, tmp_path / "other", "--copy")
    assert "15 copied" in result.stdout and "another file system" not in result.stderr
    assert not (tmp_path / "other" / manifest(tmp_path / "other")["file"][0]).samefile(root / "blue" / "0.jpg")


def test_a_symbolic_link_is_followed(root, tmp_path):
    real = tmp_path / "elsewhere.jpg"
    (root / "red" / "0.jpg").rename(real)
    (root / "red" / "0.jpg").symlink_to(real)
    rows = prepare_data(root, tmp_path / "out", options=PrepareOptions(test=0)).rows.set_index("source")
    target = tmp_path / "out" / rows.loc["red/0.jpg", "file"]
    assert target.samefile(real) and not target.is_symlink()


@pytest.mark.parametrize("share", [0.1, 0])
def test_an_unreadable_photo_is_a_row_and_exit_code_3(root, tmp_path, share):
    (root / "red" / "broken.jpg").write_bytes(b"no photo")
    result = carclf(root, tmp_path / "out", "--test", share)
    assert result.exit_code == 3 and "15 linked, 1 unreadable" in result.stdout
    row = manifest(tmp_path / "out").set_index("source").loc["red/broken.jpg"]
    assert row["file"] == "" and row["status"] == "unreadable" and "known format" in row["reason"]
    assert carclf(root, tmp_path / "out", "--test", share).stdout == result.stdout


@pytest.fixture
def boxed(root):
    for name in ("4.webp", "4.bmp"):
        (root / "red" / name).write_bytes((root / "red" / "4.jpg").read_bytes())
    rows = ["red/0.jpg,red,10 10 30 20", "red/1.jpg,red,", "red/2.jpg,red,50 0 90 40", "red/3.jpg,red,70 0 90 40",
            "red/4.jpg,red,0 0 20 10", "red/4.webp,red,0 0 21 10", "red/4.bmp,red,0 0 22 10",
            "blue/0.jpg,blue,", "blue/1.jpg,blue,"]  # fmt: skip
    (root / "labels.csv").write_text("\n".join(["file,class,box", *rows]))
    return root


def test_crops_to_the_boxes(boxed, tmp_path):
    output = tmp_path / "out"
    result = carclf(boxed, output, "--crop-to-boxes", "--padding", "0.1", "--test", "0")
    assert result.exit_code == 3 and "3 linked, 5 cropped, 1 wrong_box" in result.stdout
    rows = manifest(output).set_index("source")
    shapes = {source: load_image(output / file).shape[:2] for source, file in rows["file"].items() if file}
    assert shapes["red/0.jpg"] == (14, 24) and shapes["red/1.jpg"] == (40, 60) and shapes["red/2.jpg"] == (40, 14)
    assert [shapes[f"red/4.{suffix}"][1] for suffix in ("jpg", "webp", "bmp")] == [22, 23, 24]
    assert rows.loc["red/4.bmp", "file"].endswith("4.png") and rows["file"].str.lower().nunique() == 9
    assert "extends beyond" in rows.loc["red/2.jpg", "reason"] and "outside" in rows.loc["red/3.jpg", "reason"]
    assert rows.loc["red/0.jpg", "box"] == "10,10,30,20"
    before = (output / "prepared.csv").read_bytes()
    assert carclf(boxed, output, "--crop-to-boxes", "--padding", "0.1", "--test", "0").stdout == result.stdout
    assert (output / "prepared.csv").read_bytes() == before
    whole = prepare_data(boxed, tmp_path / "whole", options=PrepareOptions(test=0)).rows
    assert set(whole["status"]) == {"linked"} and len(whole) == 9


def test_a_table_of_crops(boxed, tmp_path, caplog):
    table = read_table(boxed)
    crops = crop_table(table, boxed, tmp_path / "crops", padding=0.1)
    assert "box" not in crops and len(crops) == 8 and "1 photos could not be cropped" in caplog.text
    made = {Path(file).name: load_image(file).shape[:2] for file in crops["file"] if str(tmp_path / "crops") in file}
    assert made == {
        "0.jpg": (14, 24), "2.jpg": (40, 14), "4.jpg": (12, 22), "4.webp.jpg": (12, 23), "4.bmp.png": (12, 24),
    }  # fmt: skip
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "crops").rglob("*.jpg")}
    assert crop_table(table, boxed, tmp_path / "crops", padding=0.1).equals(crops)
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "crops").rglob("*.jpg")}


def test_places_never_meet():
    files = ["/d/a/1.jpg", "/d/b/1.jpg", "/d/c/b/1.jpg", "/d/a/1.JPG", "/e/b/1.jpg"]
    table = pd.DataFrame({"file": files, "label": ["x", "x", "x", "X", "x"], "split": ["train"] * 4 + ["test"]})
    assert places_of(table) == [
        "train/x (2)/1.jpg", "train/x (2)/b-1.jpg", "train/x (2)/b-1 (2).jpg", "train/X/1.JPG", "test/x (2)/1.jpg",
    ]  # fmt: skip


def test_what_is_not_made_over(root, listed, tmp_path):
    output = tmp_path / "out"
    prepare_data(listed, output)

    def refused(said, *arguments, **options):
        with pytest.raises(UsageError, match=said) as raised:
            prepare_data(*arguments, options=PrepareOptions(**options))
        assert "\n" not in str(raised.value)

    refused(r"made of other options \(copy_files 'False', now 'True'\)", listed, output, copy_files=True)
    os.utime(root / "red" / "0.jpg", (1, 1))
    refused("other photos, or they have changed since: choose", listed, output)
    lines = listed.read_text().splitlines()
    listed.write_text("\n".join(lines[:-1]) + "\n")
    refused(r"\(photos '15', now '14'\)", listed, output)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").touch()
    refused("was not made by", listed, tmp_path / "notes")
    (tmp_path / "file").touch()
    refused("was not made by", listed, tmp_path / "file")
    (output / "prepare.json").write_text("{")
    refused("is damaged", listed, output)
    refused("is inside the photos' folder", root, root / "out")
    refused("The photos are inside OUT", listed, root)


def test_a_foreign_file_in_a_place_is_not_overwritten(listed, tmp_path):
    output = tmp_path / "out"
    rows = prepare_data(listed, output).rows
    place = output / rows["file"][3]
    place.unlink()
    place.write_bytes(b"mine")
    result = carclf(listed, output)
    assert result.exit_code == 2 and re.search("exists already, and is not .*: choose another OUT", result.stderr)
    assert place.read_bytes() == b"mine" and result.stderr.count("\n") == 1


def test_an_output_beside_the_photos_of_a_list(root, tmp_path):
    """As people lay it out: data/labels.csv, data/photos/, data/out/."""
    (tmp_path / "labels.csv").write_text("file,class\n" + "".join(f"{name}/{number}.jpg,{name}\n" for name in
                                         ("red", "blue") for number in range(5)))  # fmt: skip
    assert len(prepare_data(tmp_path / "labels.csv", tmp_path / "out").rows) == 10


def test_data_that_cannot_be_split_leave_no_output(root, tmp_path):
    for file in list((root / "red").iterdir())[1:]:
        file.unlink()
    result = carclf(root, tmp_path / "out")
    assert result.exit_code == 2 and "only one photo (red)" in result.stderr and not (tmp_path / "out").exists()
    assert carclf(root, tmp_path / "out", "--test", "0").exit_code == 0


def test_an_output_that_cannot_be_written(root, tmp_path):
    (tmp_path / "file").touch()
    result = carclf(root, tmp_path / "file" / "out")
    assert result.exit_code == 2 and "can't be written" in result.stderr and result.stderr.count("\n") == 1
