"""The rules of Windows for names, and of its drives."""

import ntpath
from pathlib import PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detection.common.errors import UsageError
from detection.common.files.names import common_folder, name_fault, windows_path

NAMES = st.text("aA.% :\\<|1n\0", max_size=6) | st.sampled_from(
    ["CON", "con.jpg", "Nul ", "nul .txt", "COM1", "com¹.x", "LPT9.tar.gz", "CONIN$", "aux", "prn.", "%43ON", "a%3A"]
)


@pytest.mark.parametrize(
    "name",
    ["CON", "con.jpg", "NUL .txt", "Com1.a.b", "lpt9", "COM³", "aux", "PRN", "a:b", "a?", 'a"', "a*", "a|b", "<", ">",
     "a\\b", "a/b", "a\x1f", "a\0", "end.", "end ", "", ".", "é" * 256, "😀" * 128],
)  # fmt: skip
def test_what_windows_forbids(name):
    assert name_fault(name)


@pytest.mark.parametrize("name", ["a.jpg", "console.jpg", "COM.jpg", "com12", ".carclf-x.tmp", "auxiliary", "é" * 255,
                                  "a%3Ab", " a", "nul-1.jpg", "caf\udce9.jpg"])  # fmt: skip
def test_what_windows_takes(name):
    assert name_fault(name) == "" and windows_path(f"x/{name}").count("/") == 1


@given(st.lists(NAMES.filter(bool), min_size=1, max_size=3), st.lists(NAMES.filter(bool), min_size=1, max_size=3))
def test_a_path_of_another_system_becomes_one_of_windows_and_stays_itself(one, other):
    made = windows_path("/".join(one))
    assert all(part in (".", "..") or not name_fault(part) for part in made.split("/")), made
    assert PureWindowsPath(made).drive == ""
    assert (made == windows_path("/".join(other))) == (one == other)


def test_photos_on_several_drives_have_no_folder_in_common():
    assert common_folder([r"C:\a\b", "C:/a/c"], ntpath.commonpath) == r"C:\a"
    with pytest.raises(UsageError, match="on several drives, as 'C:.*' and '.*server.*' do"):
        common_folder([r"C:\a", r"\\server\b\c"], ntpath.commonpath)
