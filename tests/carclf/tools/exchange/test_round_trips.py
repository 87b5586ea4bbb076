"""What a format can hold comes back from it, and a sentence says what does not."""

import shutil
from importlib import import_module

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from carclf.tools.exchange.exchange import FORMATS, export_data, import_data
from carclf.tools.exchange.record import Holds, Photo, Thing, losses, with_label
from carclf.tools.exchange.shapes import Shape
from tests.carclf.tools.exchange.records import SIZE, held, photo_lists, plain, write_photos

FORMS = {
    name: import_module(f"carclf.tools.exchange.formats.{name}")
    for name in ("coco", "yolo", "voc", "label_studio", "cvat", "fiftyone", "tables")
}
SHAPES = {"yolo": "none"}  # in one file all outlines are alike: only their pixels are compared


@pytest.mark.parametrize("name", FORMS)
def test_what_a_format_can_hold_comes_back(name, tmp_path_factory):
    root = tmp_path_factory.mktemp(name)
    files = write_photos(root / "files")
    form = FORMS[name]

    @given(photo_lists(files))
    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
    def check(photos):
        shutil.rmtree(root / "out", ignore_errors=True)
        (root / "out").mkdir()
        form.write(photos, root / "out")
        found, notes = form.read(root / "out", None)
        kind = SHAPES.get(name, form.HOLDS.shapes)
        assert plain([with_label(photo) for photo in found], kind) == plain(held(photos, form.HOLDS), kind)
        assert not notes
        if name not in ("yolo", "voc"):
            assert sorted(photo.name for photo in found) == sorted(photo.name for photo in photos)

    check()


@pytest.mark.parametrize("format", FORMATS)
def test_export_then_import_can_be_trained_on(format, tmp_path):
    from carclf.datasets import read_table

    files = write_photos(tmp_path / "files")
    for number, (label, split) in enumerate([("Audi A3", "train"), ("Opel Astra", "train"), ("Opel Astra", "val")]):
        (files / split / label).mkdir(parents=True, exist_ok=True)
        (files / f"{number}.png").rename(files / split / label / f"{number}.png")
    lines = [f"{path.relative_to(files)},{path.parent.name},{path.parent.parent.name},2,3,20,15"
             for path in sorted(files.rglob("*.png"))]  # fmt: skip
    (files / "labels.csv").write_text("\n".join(["file,class,split,x1,y1,x2,y2", *lines]))
    made = export_data(files, format, tmp_path / "out")
    assert made.photos == 3 and made.exit_code == 0
    assert bool(made.notes) == (format == "folders")
    again = import_data(tmp_path / "out", format, tmp_path / "in")
    assert again.photos == 3 and not again.notes
    table = read_table(tmp_path / "in")
    assert sorted(zip(table["label"], table["split"], strict=True)) == [
        ("Audi A3", "train"), ("Opel Astra", "train"), ("Opel Astra", "val")
    ]  # fmt: skip
    if format != "folders":
        assert set(table["box"]) == {(2, 3, 20, 15)}
    # And what an import wrote can be exported with all that it holds.
    assert export_data(tmp_path / "in", "coco", tmp_path / "coco").things == again.things


@given(st.data())
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
def test_an_import_keeps_everything_for_the_next_export(data):
    import tempfile
    from pathlib import Path

    from carclf.tools.exchange.source import read_source

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        photos = data.draw(photo_lists(write_photos(root / "files")))
        (root / "out").mkdir()
        FORMS["tables"].write(photos, root / "out")
        import_data(root / "out", "csv", root / "in")
        found, _ = read_source(root / "in")
        assert plain(found, "pieces") == plain(photos, "pieces")


def test_losses_are_told_one_by_one(tmp_path):
    ring, hole = ((0, 0), (9, 0), (9, 9), (0, 9)), ((2, 2), (4, 2), (4, 4))
    thing = Thing("car", (1, 1, 9, 9), Shape(((ring, hole),)), 0.5, {"a": 1})
    photo = Photo("a.png", tmp_path, SIZE, "Audi", "val", 0.9, {"b": 2}, (thing,))
    other = Photo("b.png", tmp_path, SIZE, "Audi")
    holds = Holds("X", label=False, shapes="ring", box_beside=False, mixed_split=False, score=False, attributes=False)
    told = losses([photo, other], holds)
    assert [note.split(":")[0] for note in told] == [
        "X can't hold 2 classes of photos",
        "X can't hold 2 confidences",
        "X can't hold 2 attributes",
        "1 polygon is written as pixels or in one line, as X can't hold them with holes or in pieces",
        "1 photo is in no part of the split, and go to train.",
        "1 box is left out",
    ]
    assert losses([photo, other], Holds("Y")) == []
    assert losses([photo], Holds("Z", boxes=False, split=False)) == [
        "Z can't hold 1 photo's part of the split: left out.", "Z can't hold 1 box or mask: left out."
    ]  # fmt: skip
