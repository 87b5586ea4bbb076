"""The journal of rows: what a kill leaves, who may write, and which settings may resume."""

from __future__ import annotations

import json

import pytest

from detection.common.errors import UsageError
from detection.common.rows import RowJournal, json_line
from detection.version import __version__

SETTINGS = {"model": "abc", "tta": {"passes": 2}}


def written(path, rows, settings=SETTINGS):
    journal = RowJournal(path, settings)
    places = [journal.add(key, row) for key, row in rows]
    assert [journal.read(place) for place in places] == [row for _, row in rows]
    journal.close(done=False)


def test_rows_are_found_again_and_the_last_one_of_a_key_counts(tmp_path):
    written(tmp_path / "j", [("a.jpg", {"n": 1}), ("b\n\udcff.jpg", {"n": 2}), ("a.jpg", {"n": 3})])
    journal = RowJournal(tmp_path / "j", SETTINGS)
    assert len(journal) == 3 and journal.find("c.jpg") is None
    assert journal.read(journal.find("a.jpg")) == {"n": 3}
    assert journal.read(journal.find("b\n\udcff.jpg")) == {"n": 2}
    journal.close(done=True)
    assert not (tmp_path / "j").exists()


def test_a_torn_line_is_cut_off_and_a_damaged_one_passed_over(tmp_path):
    written(tmp_path / "j", [("a", {"n": 1}), ("b", {"n": 2})])
    lines = (tmp_path / "j").read_bytes().splitlines(keepends=True)
    (tmp_path / "j").write_bytes(b"".join([lines[0], b"{damaged\n", lines[2], lines[1][:9]]))
    journal = RowJournal(tmp_path / "j", SETTINGS)
    assert journal.find("a") is None and journal.read(journal.find("b")) == {"n": 2}
    assert journal.read(journal.add("c", {"n": 3})) == {"n": 3}
    journal.close(done=False)
    assert (tmp_path / "j").read_bytes().endswith(b'{"id": "c", "n": 3}\n')


def test_other_settings_are_refused_unless_begun_again_or_ended(tmp_path):
    written(tmp_path / "j", [("a", {"n": 1})])
    before = (tmp_path / "j").read_bytes()
    with pytest.raises(UsageError, match="holds rows of a run with another tta: pass the same to resume"):
        RowJournal(tmp_path / "j", SETTINGS | {"tta": None}, what="rows")
    assert (tmp_path / "j").read_bytes() == before
    journal = RowJournal(tmp_path / "j", SETTINGS)
    journal.end()
    journal.close(done=False)
    again = RowJournal(tmp_path / "j", SETTINGS)
    assert len(again) == 1, "an ended run of the same settings keeps its rows"
    again.close(done=False)
    anew = RowJournal(tmp_path / "j", SETTINGS | {"model": "other"})
    assert len(anew) == 0
    anew.close(done=False)
    assert len(RowJournal(tmp_path / "j", {"x": 1}, restart=True)) == 0


def test_two_runs_do_not_write_one_file(tmp_path):
    first = RowJournal(tmp_path / "j", SETTINGS)
    with pytest.raises(UsageError, match="Another run"):
        RowJournal(tmp_path / "j", SETTINGS)
    first.close(done=False)
    RowJournal(tmp_path / "j", SETTINGS).close(done=False)


def test_a_journal_that_somebody_empties_is_told(tmp_path):
    journal = RowJournal(tmp_path / "j", SETTINGS)
    place = journal.add("a", {"n": 1})
    (tmp_path / "j").write_bytes(b"")
    with pytest.raises(UsageError, match="changed while it was in use"):
        journal.read(place)


def test_a_journal_of_a_newer_carclf_is_refused(tmp_path):
    """Whatever else it holds; one without the note is of version 0.4, and one of the same format goes on."""
    path = tmp_path / "j"
    written(path, [("a", {"n": 1})])
    first, row = path.read_bytes().splitlines(keepends=True)
    settings = json.loads(first)
    assert settings.pop("written_by") == {"carclf": __version__, "format": 1} and settings == SETTINGS
    for note in ({}, {"written_by": {"carclf": "0.5.9", "format": 1}}, {"written_by": "x"}):
        path.write_bytes(json_line(settings | note) + row)
        journal = RowJournal(path, SETTINGS)
        assert journal.find("a") is not None
        journal.close(done=False)
    path.write_bytes(json_line({"other": 1, "written_by": {"carclf": "0.9.0", "format": 2}}) + row)
    with pytest.raises(UsageError, match=r"'.*j' was written by carclf 0\.9\.0, which is newer than this"):
        RowJournal(path, SETTINGS)
    RowJournal(path, SETTINGS, restart=True).close(done=True)
