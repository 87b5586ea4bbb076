import shutil

import numpy as np
import pytest
from scipy.io import savemat

from carclf.datasets import photo_root, read_table, split_table
from carclf.datasets.layouts.boxes import crop_to_box
from detection.common.errors import UsageError
from detection.images.read import load_image
from tests.carclf.datasets.mat_arrays import cell, structures
from tests.carclf.drawn import draw_folders

CLASSES = ["AM General Hummer SUV 2000", "Ram C/V Cargo Van Minivan 2012"]
FIELDS = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")


@pytest.fixture
def root(tmp_path):
    """The release with a list a part: cars_train/ and cars_test/ number their photos alike."""
    for number, part in enumerate(("cars_train", "cars_test")):
        draw_folders(tmp_path / part, each=4, classes=("red",), seed=number)
        for file in (tmp_path / part / "red").iterdir():
            file.rename(tmp_path / part / f"{int(file.stem) + 1:05d}.jpg")
        (tmp_path / part / "red").rmdir()
    devkit = tmp_path / "devkit"
    devkit.mkdir()
    rows = [(11, 6, 50, 36, 1 + number % 2, f"{number + 1:05d}.jpg") for number in range(4)]
    savemat(devkit / "cars_train_annos.mat", {"annotations": structures(rows, FIELDS)})
    savemat(devkit / "cars_test_annos_withlabels.mat", {"annotations": structures(rows[:2], FIELDS)})
    unlabelled = [row[:4] + row[5:] for row in rows]
    savemat(devkit / "cars_test_annos.mat", {"annotations": structures(unlabelled, FIELDS[:4] + FIELDS[5:])})
    savemat(devkit / "cars_meta.mat", {"class_names": cell(CLASSES)})
    return tmp_path


def test_a_folder_with_the_devkit(root):
    table = read_table(root)
    assert list(table["split"]) == ["test"] * 2 + ["train"] * 4
    assert set(table["label"]) == set(CLASSES)
    assert table["file"].iloc[0] == str(root / "cars_test" / "00001.jpg")
    assert set(table["box"]) == {(10, 5, 50, 36)}  # counted from 0, ends exclusive
    assert crop_to_box(load_image(table["file"][0]), table["box"][0]).shape == (31, 40, 3)
    assert photo_root(root) == root
    assert set(split_table(table, 0.5)["split"]) == {"train", "val", "test"}


def test_one_list_and_its_photos_wherever_they_were_unpacked(root, tmp_path):
    mat = root / "devkit" / "cars_train_annos.mat"
    assert len(read_table(mat)) == 4 and photo_root(mat) == root
    twice = root / "cars_train" / "cars_train"
    shutil.copytree(root / "cars_train", root / "again" / "cars_train")
    (root / "again" / "cars_train").rename(twice)
    for file in (root / "cars_train").glob("*.jpg"):
        file.unlink()
    assert set(read_table(mat)["file"]) == {str(file) for file in twice.iterdir()}
    assert len(read_table(mat, twice)) == 4  # by the bare name, in a folder that is named


def test_the_release_with_one_list(root):
    (root / "cars_train").rename(root / "car_ims")
    rows = [(f"car_ims/{number:05d}.jpg", 1, 1, 20, 20, 1 + number % 2, number // 4) for number in (1, 2, 3, 4)]
    fields = ("relative_im_path", *FIELDS[:5], "test")
    savemat(root / "cars_annos.mat", {"annotations": structures(rows, fields), "class_names": cell(CLASSES)})
    for data in (root / "cars_annos.mat", root):
        table = read_table(data)
        assert list(table["split"]) == ["train"] * 3 + ["test"]
        assert list(table["label"]) == [CLASSES[1], CLASSES[0], CLASSES[1], CLASSES[0]]
        assert table["box"][0] == (0, 0, 20, 20)


def test_a_list_of_one_photo(root):
    savemat(
        root / "devkit" / "cars_train_annos.mat", {"annotations": structures([(1, 1, 9, 9, 2, "00003.jpg")], FIELDS)}
    )
    table = read_table(root / "devkit" / "cars_train_annos.mat")
    assert table[["label", "split"]].values.tolist() == [[CLASSES[1], "train"]]


def test_cut_outs_of_stage_1_have_no_boxes(root):
    lines = (
        ["source,output,status"] + [f"{number:05d}.jpg,{number:05d}.jpg,ok" for number in (1, 2)] + ["00003.jpg,,error"]
    )
    (root / "cars_train" / "manifest.csv").write_text("\n".join(lines))
    table = read_table(root / "devkit" / "cars_train_annos.mat", root / "cars_train")
    assert len(table) == 3 and "box" not in table  # 00004.jpg is no source of stage 1, and lies there


def say(path, **content):
    savemat(path, content)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.write_bytes(b"MATLAB 5.0 MAT-file, or is it"), "can't be read as a .mat file"),
        (lambda path: path.write_bytes(path.read_bytes()[:400]), "can't be read as a .mat file|holds no annotations"),
        (lambda path: path.write_bytes(path.read_bytes()[:124] + b"\x00\x02IM" + bytes(600)), "7.3"),
        (lambda path: say(path, other=1), "holds no annotations"),
        (lambda path: say(path, annotations=np.zeros((0, 0))), "lists no photos"),
        (lambda path: say(path, annotations=np.zeros(3)), "names no classes"),
        (lambda path: shutil.copyfile(path.with_name("cars_test_annos.mat"), path), "names no classes: for the test"),
        (
            lambda path: say(path, annotations=structures([(1, 1, 9, 9, 3, "00001.jpg")], FIELDS)),
            "class 3 is none of the 2",
        ),
        (lambda path: say(path, annotations=structures([(1, 1, 9, 1)], FIELDS[:3] + FIELDS[4:5])), "has no 'bbox_y2'"),
        (
            lambda path: say(path, annotations=structures([(1, 1, 9, "b", 1, "1.jpg")], FIELDS)),
            "is not built like the devkit's",
        ),
        (lambda path: path.with_name("cars_meta.mat").unlink(), "put cars_meta.mat"),
        (lambda path: say(path.with_name("cars_meta.mat"), other=1), "holds no class names"),
        (
            lambda path: say(path, annotations=structures([(1, 1, 9, 9, 1, "9.jpg")], FIELDS)),
            "are not in .* 'cars_train/9.jpg'",
        ),
    ],
)
def test_wrong_files_are_one_sentence(root, damage, said):
    path = root / "devkit" / "cars_train_annos.mat"
    damage(path)
    with pytest.raises(UsageError, match=said) as raised:
        read_table(path)
    assert "\n" not in str(raised.value)
