"""Lists of parts: whole groups, shares of each class, and no photo that ever leaves its part."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carclf.datasets import read_table, split_table
from carclf.datasets.content import with_digests
from carclf.datasets.parts import assign_parts, with_parts
from detection.common.errors import UsageError
from detection.masks.parts import PARTS, read_parts
from tests.carclf.drawn import draw_folders

SHARES = {"report": 0.25, "choose": 0.2}
photos = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 40)), min_size=1, max_size=120)


def _table(pairs):
    rows = [{"sha256": f"{number:016x}", "label": label, "group": group} for number, (label, group) in enumerate(pairs)]
    return pd.DataFrame(rows)


@settings(deadline=None, max_examples=30)
@given(photos, st.integers(0, 9))
def test_groups_stay_whole_and_the_order_of_the_photos_does_not_matter(pairs, seed):
    table = _table(pairs)
    parts = assign_parts(table, SHARES, seed=seed)
    assert set(parts) == set(table["sha256"]) and set(parts.values()) <= set(PARTS)
    assert table.assign(part=table["sha256"].map(parts)).groupby("group")["part"].nunique().max() == 1
    assert assign_parts(table.sample(frac=1, random_state=seed), SHARES, seed=seed) == parts
    assert "fit" in parts.values()


@settings(deadline=None, max_examples=30)
@given(photos, photos, st.integers(0, 9))
def test_photos_that_are_added_move_no_other(pairs, more, seed):
    before = assign_parts(_table(pairs), SHARES)
    table = _table([*pairs, *more])
    after = assign_parts(table, SHARES, before, seed)
    assert after | before == after and set(after) == set(table["sha256"])
    # A new photo of a car that is reported on is reported on, too, and never trained on.
    part = table["sha256"].map(after)
    reported = table["group"].isin(table["group"][part[: len(pairs)][part[: len(pairs)] == "report"].index])
    assert set(part[reported & (table.index >= len(pairs))]) <= {"report"}


def test_shares_are_those_of_each_class():
    table = _table([(label, 1000 * index + number) for index, label in enumerate("ab") for number in range(40)])
    parts = table["sha256"].map(assign_parts(table, SHARES))
    assert [parts[table["label"] == label].value_counts().to_dict() for label in "ab"] == [
        {"fit": 22, "report": 10, "choose": 8}
    ] * 2
    assert assign_parts(table, SHARES, seed=1) != assign_parts(table, SHARES, seed=2)


def test_a_list_is_the_split_of_photos_wherever_they_lie(tmp_path, caplog):
    table = with_digests(read_table(draw_folders(tmp_path / "photos", each=6)))
    parts = assign_parts(table.assign(group=table["file"]), SHARES)
    missing = table["sha256"][0]
    lines = [f"{digest},{part}" for digest, part in parts.items() if digest != missing]
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(["sha256,part", *lines]) + "\n")
    (tmp_path / "photos").rename(tmp_path / "moved")
    split = with_parts(read_table(tmp_path / "moved"), path)
    assert len(split) == len(table) - 1 and "1 photos are not in" in caplog.text
    words = {"fit": "train", "choose": "val", "report": "test"}
    assert split["split"].tolist() == [words[parts[digest]] for digest in split["sha256"]]
    pd.testing.assert_series_equal(split_table(split)["split"], split["split"])


@pytest.mark.parametrize(("text", "told"), [
    ("file,part\na,fit\n", "must have the columns"),
    ("sha256,part\n00,train\n", "part 'train'"),
    ("sha256,part\n00,fit\n00,report\n", "several parts"),
    ("sha256,part\n00,fit\n", "none of the 18 photos"),
    (None, "can't be read"),
])  # fmt: skip
def test_lists_that_are_none(tmp_path, text, told):
    path = tmp_path / "list.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=told):
        with_parts(read_table(draw_folders(tmp_path / "photos", each=6)), path)


def test_the_lists_of_the_project_can_be_read():
    from pathlib import Path

    folder = Path(__file__).parents[3] / "data" / "splits"
    lists = {path.stem: read_parts(path) for path in folder.glob("*.csv")}
    assert {
        "stanford_cars",
        "stanford196",
        "dealer20",
        "car_masks",
        "weather",
        "not_car",
        "porsche",
        "plates",
        "colours",
        "sides",
    } == set(lists)
    assert all(set(parts.values()) == set(PARTS) for parts in lists.values())
