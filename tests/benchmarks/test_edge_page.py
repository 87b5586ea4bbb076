"""The page of two edges in blind order: what it holds, and what the count of its verdicts says."""

import csv
import shutil

import cv2
import numpy as np
import pytest

from benchmarks.edge_page import backdrops_of, count, over, sign_test, write
from detection.common.errors import UsageError


def rng(seed):
    return np.random.default_rng(seed)


def drawn(number):
    """A red car-like shape before grey: photo, and a mask that is coarser than it."""
    truth = np.zeros((120, 160), np.uint8)
    cv2.ellipse(truth, (80, 60), (50 + number, 30), 0, 0, 360, 255, -1)
    photo = np.where(truth[..., None] > 0, (200, 30, 30), (90, 90, 95)).astype(np.uint8)
    coarse = cv2.resize(cv2.resize(truth, (20, 15), interpolation=cv2.INTER_AREA), (160, 120)) > 127
    return f"{number}.jpg", photo, coarse


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    write([drawn(number) for number in range(5)], folder, ("guided", "mask"), rng(1))
    return folder


@pytest.fixture
def page(written, tmp_path):
    return shutil.copytree(written, tmp_path / "page")


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def fill(page, said):
    text = "number,better\n" + "".join(f"{number},{side}\n" for number, side in said.items())
    (page / "verdicts.csv").write_text(text)


def test_both_edges_stand_on_both_sides_and_the_page_does_not_say_which(page):
    key = rows(page / "key.csv")
    assert [row["photo"] for row in key] == [f"{number}.jpg" for number in range(5)]
    assert all({row["left"], row["right"]} == {"guided", "mask"} for row in key)
    assert len({row["left"] for row in key}) == 2
    html = (page / "index.html").read_text()
    assert "guided" not in html and "mask" not in html
    assert all(f'src="{number:02d}.png"' in html for number in range(1, 6))


def test_a_picture_has_the_edge_of_the_key_on_its_left(page, tmp_path):
    write([drawn(number) for number in range(5)], tmp_path / "other", ("guided", "mask"), rng(2))
    halves = {}
    for folder in (page, tmp_path / "other"):
        for row in rows(folder / "key.csv"):
            picture = cv2.imread(str(folder / f"{int(row['number']):02d}.png"))
            half = (picture.shape[1] - 16) // 2
            for edge, pixels in ((row["left"], picture[:, :half]), (row["right"], picture[:, -half:])):
                halves.setdefault((row["number"], edge), []).append(pixels)
    assert all(np.array_equal(*both) for both in halves.values())
    assert not np.array_equal(halves["1", "guided"][0], halves["1", "mask"][0])


def test_verdicts_are_counted_against_the_key(page):
    key = {row["number"]: row for row in rows(page / "key.csv")}
    side_of = {number: next(side for side in ("left", "right") if row[side] == "mask") for number, row in key.items()}
    fill(page, {**{str(number): side_of[str(number)] for number in range(1, 4)}, "4": "same", "5": ""})
    assert count(page / "key.csv", page / "verdicts.csv") == (
        "5 pictures: guided better in 0, mask better in 3, the same in 1, no verdict in 1; sign test p = 0.250"
    )


def test_verdicts_are_not_written_over(page):
    fill(page, {"1": "left"})
    with pytest.raises(UsageError, match="holds verdicts"):
        write([drawn(0)], page, ("guided", "mask"), rng(1))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("number,better\n1,yes\n", "says 'yes'"),
        ("number,better\n99,left\n", "picture 99"),
        ("number\n1\n", "columns number and better"),
    ],
)
def test_wrong_verdicts_are_one_sentence(page, text, says):
    (page / "verdicts.csv").write_text(text)
    with pytest.raises(UsageError, match=says):
        count(page / "key.csv", page / "verdicts.csv")


def test_a_page_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(UsageError, match="write the page first"):
        count(tmp_path / "key.csv", tmp_path / "verdicts.csv")
    with pytest.raises(UsageError, match="name two"):
        write([drawn(0)], tmp_path / "new", ("mask", "mask"), rng(1))
    with pytest.raises(UsageError, match="No photo"):
        write([], tmp_path / "new", ("guided", "mask"), rng(1))


def test_the_sign_test():
    assert sign_test(4, 4) == "sign test p = 1.000"
    assert sign_test(26, 1) == "sign test p < 0.001"


def test_a_cutout_over_a_backdrop():
    cutout = np.zeros((60, 80, 4), np.uint8)
    cutout[..., :3], cutout[:, 40:, 3], cutout[0, 0, 3] = 200, 255, 51
    for backdrop in backdrops_of((60, 80)):
        seen = over(cutout, backdrop)
        assert (seen[:, 40:] == 200).all() and (seen[1:, :40] == backdrop[1:, :40]).all()
        assert np.abs(seen[0, 0] - (0.2 * 200 + 0.8 * backdrop[0, 0])).max() <= 0.5
