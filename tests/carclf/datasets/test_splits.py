import hashlib
from pathlib import Path

import pandas as pd
import pytest

from carclf.datasets import choose_split, read_table, split_table
from detection.common.errors import UsageError
from detection.images.write import save_image
from tests.carclf.drawn import draw_folders


@pytest.fixture
def root(tmp_path):
    return draw_folders(tmp_path / "photos", each=6)


def held_out(split, root):
    return sorted(Path(file).relative_to(root).as_posix() for file in split["file"][split["split"] == "val"])


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

    from detection.images.read import load_image

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


def test_the_held_out_photos_of_a_seed_never_change(tmp_path):
    """Runs, model cards and published figures name them; these are what the first release held out."""
    root = draw_folders(tmp_path / "photos", each=9)
    for number in range(3):
        (root / "red" / f"copy{number}.jpg").write_bytes((root / "red" / f"{number}.jpg").read_bytes())
    assert held_out(split_table(read_table(root), 0.3, seed=4), root) == [
        "blue/0.jpg", "blue/1.jpg", "blue/2.jpg", "green/3.jpg", "green/5.jpg", "green/8.jpg",
        "red/2.jpg", "red/3.jpg", "red/7.jpg", "red/copy2.jpg",
    ]  # fmt: skip


def test_the_held_out_real_photos_never_change(shared_data):
    root = shared_data.resolve() / "dealer20"
    names = held_out(split_table(read_table(root / "labels.csv", root / "images"), 0.1, seed=1), root / "images")
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    assert (len(names), digest[:16]) == (98, "f45c7a6d421e077d")


def given(root, **sides):
    """The table with a split: by the name of the photo, else train."""
    table = read_table(root)
    return table.assign(split=[sides.get(Path(file).stem, "train") for file in table["file"]])


@pytest.fixture
def named(root):
    for folder in root.iterdir():
        for file in list(folder.iterdir()):
            file.rename(folder / f"{folder.name}{file.name}")
    return root


def test_a_given_test_side_never_trains_nor_validates(named):
    table = given(named, red0="test", green1="test", blue2="test")
    for seed in range(4):
        split = split_table(table, 0.3, seed)
        assert (split["split"] == "test").tolist() == (table["split"] == "test").tolist()
        train = table[table["split"] != "test"].drop(columns="split")
        assert held_out(split, named) == held_out(split_table(train, 0.3, seed), named)


def test_a_given_validation_is_kept(named):
    table = given(named, red0="test", green1="val", blue2="val")
    pd.testing.assert_frame_equal(split_table(table, 0.5, seed=3), table)


def test_copies_that_a_given_split_separates_are_counted(named, caplog):
    copies = {"red0": ["red1", "green3"], "blue0": ["blue1"]}
    for original, others in copies.items():
        for other in others:
            target = next(named.rglob(f"{other}.jpg"))
            target.write_bytes(next(named.rglob(f"{original}.jpg")).read_bytes())
    split = split_table(given(named, red1="test", blue1="val"))
    assert "5 photos of 2 pictures lie on several sides" in caplog.text and "carclf data check" in caplog.text
    assert split["split"].value_counts().to_dict() == {"train": 16, "val": 1, "test": 1}
    caplog.clear()
    split_table(given(named, red0="test", red1="test", green3="test", red2="val"))
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1 and said[0].startswith("3 photos of 1 picture bear more than one class")


@pytest.mark.parametrize(
    ("sides", "said"),
    [
        (
            {f"{name}{number}": "test" for name in ("red", "green", "blue") for number in range(6)},
            "only test: name some",
        ),
        ({f"{name}{number}": "test" for name in ("red", "green") for number in range(6)}, "two classes, .* only blue"),
        ({f"red{number}": "test" for number in range(6)}, r"1 class has no photo to train on .*\(red\)"),
        ({f"red{number}": "test" for number in range(5)}, r"1 class has only one photo \(red\)"),
    ],
)
def test_given_splits_that_cannot_be_trained(named, sides, said):
    with pytest.raises(UsageError, match=said) as raised:
        split_table(given(named, **sides))
    assert "\n" not in str(raised.value)


def test_which_part_is_measured():
    table = pd.DataFrame({"file": list("abc"), "label": list("xyx"), "split": ["train", "test", "train"]})
    assert list(choose_split(table)["file"]) == ["b"]
    assert list(choose_split(table, "train")["file"]) == ["a", "c"]
    assert len(choose_split(table, "all")) == len(choose_split(table.drop(columns="split"))) == 3
    with pytest.raises(UsageError, match="no part 'val': choose auto, all, test"):
        choose_split(table, "val")
