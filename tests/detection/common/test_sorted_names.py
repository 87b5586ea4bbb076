"""Names in order, few in memory and many in a file: as a list of them would be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detection.common.errors import UsageError
from detection.common.files import sorted_names as module
from detection.common.files.sorted_names import SortedNames, sorted_names, without

# Any text but NUL, also halves of surrogate pairs, and few letters, so that names begin alike or are the same.
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=()), max_size=4) | st.text("ab/", max_size=5)


@pytest.fixture(autouse=True, scope="module")
def small():
    """Blocks of three names, runs of six, a file from fifty bytes on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", 3)
        patch.setattr(module, "_CHUNK", 6)
        patch.setattr(module, "_IN_MEMORY", 50)
        yield


@settings(max_examples=60)
@given(st.lists(NAMES, max_size=60), NAMES)
def test_as_a_list_would_be(names, other):
    made, expected = SortedNames((name, ()) for name in names), sorted(names)
    assert list(made) == expected and len(made) == len(expected) and list(sorted_names(names)) == expected
    assert [made[index] for index in range(len(made))] == expected and made[1:-1] == expected[1:-1]
    for name in {*names, other}:
        assert made.find(name) == (expected.index(name) if name in names else None)
        assert (name in made) == (name in names)
    with pytest.raises(IndexError):
        made[len(made)]


@settings(max_examples=40)
@given(st.lists(st.tuples(NAMES, st.integers(-(2**63), 2**63 - 1), st.integers(0, 9)), max_size=40))
def test_numbers_stay_with_their_names(rows):
    made = SortedNames(((name, numbers) for name, *numbers in rows), width=2)
    found = [(name, *made.numbers(index)) for index, name in enumerate(made)]
    assert found == [(name, *numbers) for name, numbers in made.rows()]
    assert found == sorted(rows, key=lambda row: row[0])  # those of one name in the order in which they came


@settings(max_examples=40)
@given(st.lists(NAMES, max_size=40), st.lists(NAMES, max_size=40))
def test_without(names, others):
    assert list(without(sorted(names), sorted(others))) == sorted(name for name in names if name not in others)


def test_names_in_order_are_written_once_and_others_are_merged():
    names = [f"{number:03d}" for number in range(40)]
    in_order, mixed = (SortedNames((name, ()) for name in some) for some in (names, names[::-1]))
    assert list(in_order) == list(mixed) == names


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_forked_process_reads_it_too():
    made = SortedNames((f"{number:04d}", ()) for number in range(100))
    child = os.fork()
    if not child:
        os._exit(0 if made.find("0042") == 42 and len(list(made)) == 100 else 1)
    assert os.waitpid(child, 0)[1] == 0 and made.find("0017") == 17


def test_no_room_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(UsageError, match="don't fit into '.*none'.*TMPDIR"):
        sorted_names(f"{number:04d}" for number in range(100))


def test_the_file_has_no_name_and_goes_with_the_names(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    handles = Path("/proc/self/fd")
    if not handles.is_dir():
        pytest.skip("open files can't be counted here")
    before = len(list(handles.iterdir()))
    made = sorted_names(f"{number:04d}" for number in range(100))
    assert len(list(handles.iterdir())) == before + 1 and list(tmp_path.iterdir()) == []
    del made
    assert len(list(handles.iterdir())) == before
