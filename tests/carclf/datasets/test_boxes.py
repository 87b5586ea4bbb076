import numpy as np
import pytest

from carclf.datasets.layouts.boxes import box_problem, crop_to_box, parse_box
from carclf.datasets.names import safe_name, safe_names
from detection.common.errors import UsageError
from detection.images.find import find_images


@pytest.mark.parametrize(
    "text", ["1,2,30,40", "1 2 30 40", "(1, 2, 30, 40)", "[1;2;30;40]", "1.2,1.6,30.0,40", (1, 2, 30, 40)]
)
def test_boxes_are_read_as_people_write_them(text):
    assert parse_box(text) == (1, 2, 30, 40)


@pytest.mark.parametrize("empty", [None, "", float("nan")])
def test_no_box(empty):
    assert parse_box(empty) is None


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3,4,5", "x1,2,3,4", "1,2,3,4px", "box", "(1,2),(3,4)", [1, 2]])
def test_what_is_no_box(text):
    with pytest.raises(UsageError, match="is not a box"):
        parse_box(text)


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ((0, 0, 20, 10), ""),
        ((5, 5, 6, 6), ""),
        ((5, 5, 5, 6), "is empty"),
        ((9, 5, 5, 6), "is empty"),
        ((0, 0, 21, 10), "extends beyond"),
        ((-1, 0, 5, 5), "extends beyond"),
        ((20, 0, 30, 5), "lies outside"),
        ((-9, -9, 0, 0), "lies outside"),
    ],
)
def test_boxes_against_a_photo(box, said):
    problem = box_problem(box, 20, 10)
    assert said in problem and bool(said) == bool(problem)
    image = np.arange(600, dtype=np.uint16).astype(np.uint8).reshape(10, 20, 3)
    if said in ("is empty", "lies outside"):
        with pytest.raises(ValueError, match=said):
            crop_to_box(image, box)
    else:
        x1, y1, x2, y2 = (max(0, value) for value in box)
        np.testing.assert_array_equal(crop_to_box(image, box), image[y1:y2, x1:x2])
        assert not np.shares_memory(crop_to_box(image, box), image)
        assert crop_to_box(image, box, padding=30).shape == image.shape


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("BMW 3 Series", "BMW 3 Series"),
        ("Škoda Fabia", "Škoda Fabia"),
        ("Ram C/V Cargo Van", "Ram C-V Cargo Van"),
        ("../../etc", "_..-..-etc"),
        ("a\nb\\c:d", "a-b-c-d"),
        (" Golf. ", "Golf"),
        (".hidden", "_.hidden"),
        ("...", "_"),
        ("", "_"),
        ("NUL", "_NUL"),
        ("com1.x", "_com1.x"),
    ],
)
def test_class_names_as_folders(name, safe, tmp_path):
    assert safe_name(name) == safe and safe_name(safe) == safe
    (tmp_path / safe).mkdir()
    (tmp_path / safe / "1.jpg").touch()
    assert len(find_images(tmp_path)) == 1


def test_long_names_stay_different():
    names = safe_names(["Ö" * 300 + "1", "Ö" * 300 + "2"])
    assert len(set(names.values())) == 2 and all(len(name.encode()) <= 120 for name in names.values())
