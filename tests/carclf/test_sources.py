import numpy as np
import pandas as pd
import pytest

from carclf.sources import read_manifest, read_table, split_table
from detection.errors import UsageError
from detection.images import save_image
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
    with pytest.raises(UsageError, match="side by side"):
        read_table(root / "red")
    with pytest.raises(UsageError, match="no photo folder"):
        read_table(write(tmp_path / "a.csv", "file,class\na.jpg,b\n"), tmp_path / "nowhere")


def test_the_split_is_stratified_and_the_same_for_a_seed(root):
    table = read_table(root)
    split = split_table(table, 0.34, seed=5)
    assert split.groupby("label")["split"].apply(lambda side: (side == "val").sum()).tolist() == [2, 2, 2]
    pd.testing.assert_frame_equal(split, split_table(table, 0.34, seed=5))
    assert any(not split["split"].equals(split_table(table, 0.34, seed=seed)["split"]) for seed in (6, 7, 8))


def test_every_class_gets_a_validation_photo_and_keeps_a_training_photo(root):
    table = read_table(root).groupby("label").head(2)
    for share in (0.01, 0.99):
        assert set(split_table(table, share).groupby("label")["split"].nunique()) == {2}


def test_copies_stay_on_one_side(root):
    import cv2

    from detection.images import load_image

    copies = []
    for number in range(6):
        original = load_image(root / "red" / f"{number}.jpg")
        again = root / "red" / f"again{number}.jpg"
        save_image(again, cv2.resize(original, (120, 80), interpolation=cv2.INTER_CUBIC), quality=80)
        same = root / "red" / f"same{number}.jpg"
        same.write_bytes((root / "red" / f"{number}.jpg").read_bytes())
        copies.append({f"{number}.jpg", again.name, same.name})
    for seed in range(5):
        split = split_table(read_table(root), 0.3, seed)
        side = {path.rsplit("/", 1)[1]: where for path, where in zip(split["file"], split["split"], strict=True)
                if "/red/" in path}  # fmt: skip
        assert all(len({side[name] for name in group}) == 1 for group in copies)
        assert set(side.values()) == {"train", "val"}


def test_classes_that_cannot_be_split(root):
    table = read_table(root)
    with pytest.raises(UsageError, match="only one photo .*red"):
        split_table(table[(table["label"] != "red") | table["file"].str.endswith("/0.jpg")])
    with pytest.raises(UsageError, match="at least two classes"):
        split_table(table[table["label"] == "red"])
    for number in range(1, 6):
        (root / "red" / f"{number}.jpg").write_bytes((root / "red" / "0.jpg").read_bytes())
    with pytest.raises(UsageError, match="'red' are copies"):
        split_table(table)


def test_unreadable_photos_are_left_out(root, caplog):
    (root / "red" / "0.jpg").write_bytes(b"not a photo")
    split = split_table(read_table(root))
    assert len(split) == 17
    assert "1 photos can't be read" in caplog.text


def test_the_real_competition_photos(shared_data):
    table = read_table(
        shared_data / "sf_dl_car_classification" / "photos.csv", shared_data / "sf_dl_car_classification/photos"
    )
    assert len(table) == 10 and table["label"].nunique() == 10
    assert "Ford Focus" in set(table["label"])
    with pytest.raises(UsageError, match="of the 15561 photos"):
        read_table(shared_data / "sf_dl_car_classification" / "train.csv")
