"""What an install lacks is one sentence that names the install."""

import sys

import pytest

from detection.common.errors import UsageError, brief, has_module, need


def test_what_is_there_is_not_asked_for():
    need("json", "Nothing")
    need(("json", "csv"), "Nothing")


@pytest.mark.parametrize(
    ("modules", "extra", "said"),
    [
        ("no_such", "train", 'Training needs no_such, which is not installed: run `pip install ".[train]"` in the'),
        (("json", "no_such"), "", "Training needs no_such, which is not installed: run `pip install .` in the folder"),
    ],
)
def test_what_is_missing_is_told_with_its_install(modules, extra, said):
    with pytest.raises(UsageError) as raised:
        need(modules, "Training", extra)
    assert str(raised.value).startswith(said)


def test_detectron2_has_an_installer_of_its_own(monkeypatch):
    monkeypatch.setitem(sys.modules, "detectron2", None)  # as if it could not be found
    with pytest.raises(UsageError, match="needs detectron2, which is not installed: run `python scripts/install_det"):
        need(("json", "detectron2"), "Training a detector")
    with pytest.raises(UsageError, match=r"`pip install \"\.\[train\]\"`, then `python scripts/install_detectron2.py`"):
        need(("no_such", "detectron2"), "Training a detector")


def test_only_modules_that_can_be_found_are_there():
    assert has_module("json")
    assert not has_module("no_such") and not has_module("no_such.below")


def test_an_error_in_a_few_words():
    assert brief(ValueError("one\ntwo")) == "ValueError: one"
    assert brief(ValueError()) == "ValueError"
