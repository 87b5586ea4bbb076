import os

import pytest

from detection.common.errors import UsageError
from detection.common.output_folder import OutputFolder, changed_keys, check_apart, lies_in

OTHER, FILE = "It holds other things.", "It is a file."


def ours(path):
    return OutputFolder(path, "mark")


def test_a_new_and_an_empty_folder_are_free(tmp_path):
    assert ours(tmp_path / "new").check(OTHER) is False
    assert ours(tmp_path).check(OTHER) is False
    assert not (tmp_path / "new").exists()


def test_a_folder_with_the_marker_is_ours_whatever_else_is_in_it(tmp_path):
    for name in ("mark", "more"):
        (tmp_path / name).touch()
    assert ours(tmp_path).check(OTHER) is True
    assert ours(tmp_path).others("mark") == ["more"]


def test_a_function_may_know_what_is_ours(tmp_path):
    (tmp_path / "index.html").write_text("made by us")
    known = OutputFolder(tmp_path, lambda folder: "us" in (folder / "index.html").read_text())
    assert known.ours
    (tmp_path / "index.html").write_text("made by others")
    with pytest.raises(UsageError, match=OTHER):
        known.check(OTHER)


def test_other_things_are_in_the_way(tmp_path):
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(UsageError, match=OTHER):
        ours(tmp_path).check(OTHER, FILE)
    with pytest.raises(UsageError, match=FILE):
        ours(tmp_path / "photo.jpg").check(OTHER, FILE)
    with pytest.raises(UsageError, match=OTHER):
        ours(tmp_path / "photo.jpg").check(OTHER)


def test_leftovers_leave_a_folder_free(tmp_path):
    (tmp_path / ".lock").touch()
    folder = OutputFolder(tmp_path, "mark", leftover=lambda entry: entry.name == ".lock")
    assert folder.check(OTHER) is False and folder.others() == []
    with pytest.raises(UsageError, match=OTHER):
        ours(tmp_path).check(OTHER)


def test_a_folder_is_made_and_marked(tmp_path):
    path = tmp_path / "a" / "b"
    ours(path).make((path / "mark").touch)
    assert ours(path).check(OTHER) is True


def test_what_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    folder = OutputFolder(tmp_path / "file" / "below", "mark", failed="The output can't be written")
    with pytest.raises(UsageError, match=r"^The output can't be written: Not a directory\.$"):
        folder.make(lambda: None)

    def full():
        raise OSError(28, os.strerror(28))

    with pytest.raises(UsageError, match="can't be written: No space left"):
        ours(tmp_path / "new").make(full)


def test_emptying_removes_what_is_in_it_and_nothing_that_a_link_leads_to(tmp_path):
    outside, path = tmp_path / "outside", tmp_path / "out"
    (path / "tree" / "deep").mkdir(parents=True)
    outside.mkdir()
    for file in (outside / "kept", path / "mark", path / "tree" / "deep" / "file"):
        file.touch()
    (path / "link").symlink_to(outside)
    ours(path).empty()
    assert list(path.iterdir()) == [] and (outside / "kept").is_file()
    ours(tmp_path / "none").empty()


def test_changed_settings_are_named():
    assert changed_keys({"a": 1, "b": 2, "c": None}, {"a": 1, "b": 3, "d": 4}) == ["b"]


def test_a_path_lies_in_another_through_links_too(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert lies_in(tmp_path / "a" / "b", tmp_path / "a") and lies_in(tmp_path / "a", tmp_path / "a")
    assert lies_in(tmp_path / "link" / "b" / "new", tmp_path / "a")
    assert not lies_in(tmp_path / "a", tmp_path / "a" / "b") and not lies_in(tmp_path / "ab", tmp_path / "a")


@pytest.mark.parametrize(
    ("source", "output", "said"),
    [("in", "in", "same"), ("in", "in/out", "inside"), ("out/in", "out", "around"), ("in", "out", None)],
)
def test_what_is_read_and_what_is_written_lie_apart(tmp_path, source, output, said):
    sentences = {name: f"{name}." for name in ("same", "inside", "around")}
    if said is None:
        check_apart(tmp_path / source, tmp_path / output, **sentences)
        return
    with pytest.raises(UsageError, match=said):
        check_apart(tmp_path / source, tmp_path / output, **sentences)
