import numpy as np
import pytest

from carclf.datasets import read_manifest, read_table
from detection.common.errors import UsageError
from detection.images.write import save_image
from tests.carclf.drawn import draw, draw_folders


@pytest.fixture
def root(tmp_path):
    return draw_folders(tmp_path / "photos", each=6)


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_a_folder_per_class(root):
    (root / "red" / "deeper").mkdir()
    (root / "red" / "0.jpg").rename(root / "red" / "deeper" / "0.jpg")
    write(root / "red" / "notes.txt", "no photo")
    table = read_table(root)
    assert table["label"].value_counts().to_dict() == {"red": 6, "green": 6, "blue": 6}
    assert list(table["file"]) == sorted(str(path) for path in root.rglob("*.jpg"))


@pytest.mark.parametrize("header", ["file,class", "file,label"])
def test_a_csv_beside_its_photos_and_with_a_folder(root, tmp_path, header):
    text = f"{header}\nred/1.jpg,Lada Niva\ngreen/2.jpg,Škoda Fabia\n"
    for table in (
        read_table(write(root / "some.csv", text)),
        read_table(write(tmp_path / "some.csv", text), root),
        read_table(write(tmp_path / "bom.csv", "\ufeff" + text), root),
    ):
        assert dict(zip(table["file"], table["label"], strict=True)) == {
            str(root / "red/1.jpg"): "Lada Niva",
            str(root / "green/2.jpg"): "Škoda Fabia",
        }


@pytest.mark.parametrize("by_category", [True, False])
def test_the_competition_layout(tmp_path, by_category):
    random = np.random.default_rng(0)
    for number, category in ((10, 0), (11, 9)):
        folder = tmp_path / "train" / (str(category) if by_category else "")
        folder.mkdir(parents=True, exist_ok=True)
        save_image(folder / f"{number}.jpg", draw((200, 0, 0), random))
    path = write(tmp_path / "train.csv", "Id,Category\n10.jpg,0\n11.jpg,9\n")
    assert list(read_table(path)["label"]) == ["0", "9"]
    assert list(read_table(tmp_path)["label"]) == ["0", "9"]
    write(tmp_path / "photos.csv", "Id,Category,class\n1.jpg,9,VAZ-21099\n")
    assert list(read_table(path, tmp_path / "train")["label"]) == ["0", "VAZ-21099"]


@pytest.mark.parametrize("column", ["split", "subset"])
def test_a_split_and_boxes_in_a_csv(root, column):
    rows = ["1.jpg,red,Training,1,2,30.4,40", "2.jpg,red,valid,,,,", "3.jpg,red,test,0,0,9,9", "4.jpg,red,,,,,"]
    write(root / "car_dataset_labels.csv", "\n".join([f"img_file,class,{column},x1,y1,x2,y2", *rows]))
    table = read_table(root)
    assert list(table["file"]) == [str(root / "red" / f"{number}.jpg") for number in (1, 2, 3, 4)]  # by their class
    assert list(table["split"]) == ["train", "val", "test", "train"]
    assert list(table["box"]) == [(1, 2, 30, 40), None, (0, 0, 9, 9), None]


def test_a_column_for_a_split_that_is_empty_gives_none(root):
    assert "split" not in read_table(write(root / "some.csv", "file,class,split\nred/1.jpg,a,\n"))


@pytest.mark.parametrize(
    "tops", [("train", "test"), ("Training", "valid", "test"), ("test",), ("train", "val", "rest")]
)
def test_a_folder_per_class_below_a_split(tmp_path, tops, caplog):
    for number, top in enumerate(tops):
        draw_folders(tmp_path / top, each=2 + number, classes=("red", "blue"), seed=number)
    write(tmp_path / "test" / "list.txt", "") if "test" in tops else None
    table = read_table(tmp_path)
    assert set(table["label"]) == {"red", "blue"}
    words = {"Training": "train", "valid": "val", "rest": None}
    sides = {words.get(top, top): 2 * (2 + number) for number, top in enumerate(tops)}
    assert table["split"].value_counts().to_dict() == {side: count for side, count in sides.items() if side}
    assert ("8 photos that lie in no class folder" in caplog.text) == ("rest" in tops)


def test_the_competition_without_its_list(tmp_path):
    draw_folders(tmp_path / "train", each=2, classes=("red", "blue"))
    draw_folders(tmp_path / "plain", each=2, classes=("red",))
    (tmp_path / "plain" / "red").rename(tmp_path / "test_upload")
    (tmp_path / "plain").rmdir()
    table = read_table(tmp_path)
    assert set(table["label"]) == {"red", "blue"} and set(table["split"]) == {"train"}


@pytest.mark.parametrize("names", [("test", "red"), ("train", "bus", "tram"), ("test", "train")])
def test_classes_may_be_called_train_or_test(tmp_path, names):
    table = read_table(_classes(tmp_path, names))
    assert set(table["label"]) == set(names) and "split" not in table


def _classes(root, names):
    for name in names:
        draw_folders(root, each=2, classes=("red",))
        (root / "red").rename(root / name)
    return root


def test_a_split_that_stage_1_has_mirrored(root):
    rows = [
        "source,output,status",
        "train/red/0.png,red/0.jpg,ok",
        "test/red/1.jpg,red/1.jpg,ok",
        "test/2.jpg,red/2.jpg,ok",
    ]
    write(root / "manifest.csv", "\n".join(rows))
    table = read_table(root)
    assert list(zip(table["label"], table["split"], strict=True)) == [("red", "train"), ("red", "test")]


def test_a_folder_that_stage_1_wrote(root):
    (root / "quarantine" / "blue").mkdir(parents=True)
    (root / "blue" / "0.jpg").rename(root / "quarantine" / "blue" / "0.jpg")
    rows = ["source,output,status,reason", "red/0.png,red/0.jpg,ok,", "red/x.jpg,,unreadable,empty",
            "green/1.jpg,green/1.jpg,no_car,", "blue/0.jpg,quarantine/blue/0.jpg,no_car,"]  # fmt: skip
    write(root / "manifest.csv", "\n".join(rows))
    made = read_manifest(root)
    assert made["red/x.jpg"] is None and made["blue/0.jpg"] is None
    assert list(read_table(root)["label"]) == ["green", "red"]
    listed = write(root.parent / "labels.csv", "file,class\nred/0.png,a\nred/x.jpg,b\ngreen/1.jpg,c\n")
    assert sorted(read_table(listed, root)["label"]) == ["a", "c"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,class\nred/1.jpg,a\nred/99.jpg,a\nred/98.jpg,a\n", r"2 of the 3 photos .* the first is 'red/99.jpg'"),
        ("file,class\nred/1.jpg,a\nred/1.jpg,b\n", "1 photo twice"),
        ("name,kind\nred/1.jpg,a\n", "columns file,class"),
        ("file,class\n", "lists no photos"),
        ("file,class\nred/1.jpg,a\nred/2.jpg,\n", "line 3"),
        ("", "can't be read as a csv"),
        ("file,class,subset\nred/1.jpg,a,train\nred/2.jpg,a,holdout\n", "subset 'holdout' in line 3: known are train"),
        ("file,class,box\nred/1.jpg,a,1 2 3\n", "wrong box in line 2: '1 2 3' is not a box"),
    ],
)
def test_a_wrong_csv_is_one_sentence(root, text, said):
    with pytest.raises(UsageError, match=said) as raised:
        read_table(write(root / "some.csv", text))
    assert "\n" not in str(raised.value)


def test_missing_and_empty_folders(tmp_path, root):
    with pytest.raises(UsageError, match="There is no"):
        read_table(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no photos"):
        read_table(tmp_path / "empty")
    with pytest.raises(UsageError, match="are not in class folders"):
        read_table(root / "red")
    with pytest.raises(UsageError, match="no photo folder"):
        read_table(write(tmp_path / "a.csv", "file,class\na.jpg,b\n"), tmp_path / "nowhere")


def test_the_real_competition_photos(shared_data):
    table = read_table(
        shared_data / "sf_dl_car_classification" / "photos.csv", shared_data / "sf_dl_car_classification/photos"
    )
    assert len(table) == 10 and table["label"].nunique() == 10
    assert "Ford Focus" in set(table["label"])
    with pytest.raises(UsageError, match="of the 15561 photos"):
        read_table(shared_data / "sf_dl_car_classification" / "train.csv")


def test_a_manifest_names_photos_whose_names_are_not_utf8(tmp_path):
    import os

    for name in (b"caf\xe9.jpg", b"ok.jpg"):
        (tmp_path / os.fsdecode(name)).write_bytes(b"x")
    for line in (rb"caf\xe9.jpg,caf\xe9.jpg,ok", b"caf\xe9.jpg,caf\xe9.jpg,ok"):  # as written now, and by 0.4.0
        (tmp_path / "manifest.csv").write_bytes(b"source,output,status\n" + line + b"\nok.jpg,ok.jpg,ok\n")
        made = read_manifest(tmp_path)
        assert set(made) == {"caf\udce9.jpg", "ok.jpg"} and all(made.values())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("start", ["", "sep=;\n"])
def test_a_csv_as_spreadsheets_write_it(tmp_path, encoding, start):
    (tmp_path / "sub").mkdir()
    for name in ("sub/a.jpg", "b.jpg"):
        (tmp_path / name).touch()
    text = start + "FILE;Class;Split\nsub\\a.jpg;Citro\u00ebn;train\nb;Audi, 80;test\n"
    (tmp_path / "list.csv").write_bytes(text.encode(encoding))
    table = read_table(tmp_path / "list.csv")
    assert table.to_dict("list") == {
        "file": [str(tmp_path / "b.jpg"), str(tmp_path / "sub" / "a.jpg")],
        "label": ["Audi, 80", "Citro\u00ebn"],
        "split": ["test", "train"],
    }
