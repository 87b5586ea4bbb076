"""What people name on a command line, and the photos that it means."""

from __future__ import annotations

import codecs
import io
import os

import pytest

from carclf.recognition.inputs import find_sources
from detection.common.errors import UsageError
from tests.fakes import refuse_folders


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """photos/ with a.jpg, b.PNG, notes.txt, .hidden.jpg, sub/c.jpg, sub/deep/d.webp, and empty/ beside it."""
    for name in ("a.jpg", "b.PNG", "notes.txt", ".hidden.jpg", "sub/c.jpg", "sub/deep/d.webp"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pairs(sources):
    return [(source.path, source.below) for source in sources]


def paths(*arguments, stdin=None):
    return [source.path for source in find_sources(arguments, stdin and io.BytesIO(stdin))]


def test_a_folder_is_searched(tree):
    assert pairs(find_sources(["photos/"])) == [
        ("photos/a.jpg", "a.jpg"), ("photos/b.PNG", "b.PNG"), ("photos/sub/c.jpg", "sub/c.jpg"),
        ("photos/sub/deep/d.webp", "sub/deep/d.webp"),
    ]  # fmt: skip
    assert paths(".")[0] == "photos/a.jpg"


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("photos/*.jpg", ["photos/a.jpg"]),
        ("photos/*", ["photos/a.jpg", "photos/b.PNG", "photos/sub/c.jpg", "photos/sub/deep/d.webp"]),
        ("**/*.webp", ["photos/sub/deep/d.webp"]),
        ("photos/**", ["photos/a.jpg", "photos/b.PNG", "photos/sub/c.jpg", "photos/sub/deep/d.webp"]),
        ("photos/[ab].*", ["photos/a.jpg", "photos/b.PNG"]),
        ("ph*/sub/?.jpg", ["photos/sub/c.jpg"]),
    ],
)
def test_patterns(tree, pattern, found):
    assert paths(pattern) == found
    assert paths(str(tree / pattern)) == [str(tree / name) for name in found]


def test_a_name_that_looks_like_a_pattern_is_a_name(tree):
    (tree / "car[1].jpg").touch()
    (tree / "car1.jpg").touch()
    assert paths("car[1].jpg") == ["car[1].jpg"]


def test_a_photo_named_twice_comes_twice_and_a_missing_one_stays(tree):
    assert paths("photos/a.jpg", "gone.jpg", "photos/*.jpg", "photos/a.jpg") == [
        "photos/a.jpg", "gone.jpg", "photos/a.jpg", "photos/a.jpg",
    ]  # fmt: skip


@pytest.mark.parametrize("header", ["file", "path", "img_file", "Id", "class,image"])
def test_lists_are_relative_to_their_folder(tree, header):
    before = "x," if "," in header else ""
    text = f"{header},more\n" + "".join(f"{before}{name},1\n" for name in ("sub/c.jpg", '"a,b.jpg"', "/abs.jpg"))
    (tree / "photos" / "list.csv").write_text(text, encoding="utf-8-sig")
    assert paths("photos/list.csv") == ["photos/sub/c.jpg", "photos/a,b.jpg", "/abs.jpg"]


def test_a_list_finds_the_folder_of_photos_beside_it(tree):
    (tree / "list.csv").write_text("file\na.jpg\nphotos/sub/c.jpg\ngone.jpg\n")
    assert paths("list.csv") == ["photos/a.jpg", "photos/sub/c.jpg", "gone.jpg"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,size\nx,1\n", "must have a column file, path, .* or Id; it has name, size"),
        ("", "it has none"),
        ("file\n", "lists no photos"),
        ("file,class\na.jpg,x\n,y\n", "names no photo in line 3"),
    ],
)
def test_lists_that_are_none(tree, text, said):
    (tree / "list.csv").write_text(text)
    with pytest.raises(UsageError, match=said):
        paths("list.csv")


def test_paths_from_standard_input(tree):
    assert paths("-", stdin=b"a.jpg\r\n\nb c.jpg\nlast.jpg") == ["a.jpg", "b c.jpg", "last.jpg"]
    assert paths("-", stdin=codecs.BOM_UTF8 + b"a.jpg\r\nb.jpg\r\n") == ["a.jpg", "b.jpg"], "as PowerShell pipes them"
    assert paths("-", stdin=b"a\nb.jpg\0c.jpg\0") == ["a\nb.jpg", "c.jpg"]
    assert paths("photos/a.jpg", "-", stdin="ä\n".encode() + b"\xff.jpg\n") == ["photos/a.jpg", "ä", "\udcff.jpg"]


def test_standard_input_is_taken_as_it_comes(tree):
    read, write = os.pipe()
    os.write(write, b"one.jpg\ntwo")
    with open(read, "rb") as stdin:
        sources = find_sources(["-"], stdin)
        assert sources.total is None
        stream = iter(sources)
        assert next(stream).path == "one.jpg"  # while the writer still writes
        os.write(write, b".jpg\n")
        assert next(stream).path == "two.jpg"
        os.close(write)
        assert list(stream) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gone"], "'gone' does not exist: check the path"),
        (["gone", "too"], "nor do the other 1"),
        (["empty"], "'empty' holds no photo"),
        (["photos/a.jpg", "*.tiff"], r"pattern '\*\.tiff' matches no photo"),
        (["photos/a.jpg", "gone.csv"], "'gone.csv' can't be read as a csv: No such file"),
        (["-", "-"], "only once: give - only once"),
        (["-"], "named no photos"),
    ],
)
def test_what_gives_no_photo_is_one_sentence(tree, arguments, said):
    with pytest.raises(UsageError, match=said):
        list(find_sources(arguments, io.BytesIO(b"\n\n")))


def test_total_and_root(tree):
    folder = find_sources(["photos"])
    assert (folder.total, folder.root, folder.folders) == (4, str(tree / "photos"), ["photos"])
    several = find_sources(["photos/sub", "photos/a.jpg"])
    assert (several.total, several.root) == (3, str(tree / "photos"))
    assert find_sources(["photos/sub/c.jpg"]).root == str(tree / "photos/sub")
    kept = find_sources(["-"], io.BytesIO(b"photos/a.jpg\nphotos/sub/c.jpg\n")).keep()
    assert (kept.total, kept.root, paths_of(kept)) == (2, str(tree / "photos"), paths_of(kept))
    (tree / "photos" / "list.csv").write_text("file\na.jpg\n../empty/x.jpg\n")
    assert find_sources(["photos/list.csv"]).root == str(tree)


def paths_of(sources):
    return [source.path for source in sources]


def test_a_list_of_ours_names_photos_whose_names_are_not_utf8(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"x")
    for line in (rb"caf\xe9.jpg", b"caf\xe9.jpg"):  # as `carclf predict --output` writes it now, and did before 0.5.0
        (tmp_path / "rows.csv").write_bytes(b"file\n" + line + b"\n")
        (source,) = find_sources([str(tmp_path / "rows.csv")])
        assert os.path.exists(source.path) and source.below == "caf\udce9.jpg"


def test_what_is_passed_over_is_told(tree):
    jpeg = b"\xff\xd8\xff\xe0" + bytes(40)
    (tree / "photos" / "scan").write_bytes(jpeg)
    (tree / "photos" / "@eaDir").mkdir()
    (tree / "photos" / "@eaDir" / "thumb.jpg").write_bytes(jpeg)
    found = find_sources(["photos"])
    assert [source.below for source in found] == ["a.jpg", "b.PNG", "scan", "sub/c.jpg", "sub/deep/d.webp"]
    assert (found.notes, found.missed) == (["1 file was passed over: 1 .txt."], 0)
    assert "photos/scan" in paths("photos/*") and not any("@eaDir" in path for path in paths("**/*.jpg"))


def test_a_folder_in_it_that_cannot_be_read_is_told(tree, monkeypatch):
    refuse_folders(monkeypatch, "deep")
    found = find_sources(["photos"])
    assert found.missed == 1 and "deep' can't be read: Permission denied" in found.notes[0]
    assert len(list(found)) == 3


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_lists_as_spreadsheets_write_them(tree, encoding, delimiter):
    (tree / "photos" / "stra\u00dfe.jpg").touch()
    number = "1" if delimiter == "," else "1,5"
    rows = [("More", "FileName"), (number, "sub\\c.jpg"), ("2", "stra\u00dfe.jpg"), ("3", "a")]
    text = "\r\n".join(delimiter.join(row) for row in rows)
    (tree / "photos" / "list.csv").write_bytes(text.encode(encoding))
    assert paths("photos/list.csv") == ["photos/sub/c.jpg", "photos/stra\u00dfe.jpg", "photos/a.jpg"]
