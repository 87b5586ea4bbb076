"""Where cut-outs and overlays go, and what is never written over."""

from __future__ import annotations

import pytest

from carclf.recognition.inputs import find_sources
from carclf.recognition.pictures.folders import MARKER, Pictures
from detection.common.errors import UsageError


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name in ("a.jpg", "sub/a.jpg", "sub/b.png", "other/c.jpg"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stems(*arguments, **folders):
    sources = find_sources(arguments)
    pictures = Pictures(sources, **folders)
    return [pictures._stem(source) for source in sources]


def test_the_tree_is_mirrored_below_what_all_photos_share(tree):
    assert stems("photos") == ["a", "other/c", "sub/a", "sub/b"]
    assert stems("photos/sub", "photos/a.jpg", "photos/a.jpg") == ["sub/a", "sub/b", "a", "a"]
    assert stems("photos/sub/b.png") == ["b"]
    assert stems("photos/s*/*") == ["sub/a", "sub/b"]


def test_photos_that_would_share_a_file_are_told(tree):
    (tree / "photos/sub/a.PNG").touch()
    with pytest.raises(UsageError, match="'photos/sub/a.PNG' and 'photos/sub/a.jpg' would both be 'sub/a.jpg'"):
        stems("photos", overlays=tree / "out")
    assert not (tree / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "folders", "said"),
    [
        (["photos"], {"overlays": "photos/out"}, "lies inside 'photos', whose photos are read"),
        (["photos/a.jpg"], {"cutouts": "photos"}, "'photos/a.jpg' lies inside '"),
        (["photos/sub/a.jpg", "photos/a.jpg"], {"overlays": "photos/sub"}, "'photos/sub/a.jpg' lies inside"),
        (["photos/a.jpg"], {"cutouts": "out", "overlays": "out"}, "overlap"),
        (["photos/a.jpg"], {"cutouts": "out", "overlays": "out/sub"}, "overlap"),
        (["photos/a.jpg"], {"cutouts": "kept"}, "holds other files"),
        (["photos/a.jpg"], {"cutouts": "kept/x.jpg"}, "can't be written"),
    ],
)
def test_nothing_of_others_is_written_over(tree, arguments, folders, said):
    (tree / "kept").mkdir()
    (tree / "kept" / "x.jpg").write_text("mine")
    with pytest.raises(UsageError, match=said):
        Pictures(find_sources(arguments), **{name: tree / folder for name, folder in folders.items()})
    assert (tree / "kept" / "x.jpg").read_text() == "mine" and not (tree / "photos" / MARKER).exists()


def test_a_folder_beside_the_photos_and_one_of_an_earlier_run_will_do(tree):
    for _ in range(2):
        Pictures(find_sources(["photos/*.jpg"]), tree / "photos" / "cut", tree / "seen")
        (tree / "seen" / "a.jpg").touch()
    assert (tree / "photos" / "cut" / MARKER).is_file()
