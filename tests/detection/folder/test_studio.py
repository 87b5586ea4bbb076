"""A folder run that sets cars in a studio: names, rows, resume."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from detection.common.errors import UsageError
from detection.folder.merge import merge_shards
from detection.folder.options import CleanOptions
from detection.folder.out.manifest import COLUMNS, HIDDEN_COLUMNS, STUDIO_COLUMNS
from detection.images.read import load_image
from detection.images.write import save_image
from detection.publishing.hiding import private
from detection.publishing.hiding.cover import HideStyle
from detection.publishing.studio.style import studio_style
from tests.fakes import FakePlates
from tests.folder_runs import rows, run, times, tree

SIZE = "320x240"


def studio(source, output, backdrop="studio-grey", **options):
    style = studio_style(SIZE, backdrop=backdrop, **options.pop("style", {}))
    return run(source, output, studio=style, **options)


def test_each_car_becomes_a_picture_and_a_photo_without_one_a_row(photos, tmp_path):
    (photos / "sub" / "bad.jpg").write_bytes(b"")
    before = times(photos)
    summary = studio(photos, tmp_path / "out")
    assert summary.counts == {"ok": 2, "no_car": 1, "unreadable": 1} and summary.exit_code == 3
    assert times(photos) == before
    found = rows(tmp_path / "out")
    assert tuple(found["red.jpg"]) == (*COLUMNS, *STUDIO_COLUMNS)
    red, blue, bad = (found[name] for name in ("red.jpg", "sub/blue.png", "sub/bad.jpg"))
    assert (red["output"], blue["output"]) == ("red.jpg", "sub/blue.jpg")
    assert (red["view"], red["cut"]) == ("corner", "") and 0 < float(red["scale"]) <= 2
    assert len(red["tone"].split()) == 4 and red["glass"] == ""
    assert (bad["output"], bad["view"]) == ("", "")
    for row in (red, blue):
        assert Image.open(tmp_path / "out" / row["output"]).size <= (320, 240)
    picture = load_image(tmp_path / "out" / "red.jpg").astype(int)
    assert ((picture[..., 0] - picture[..., 2]) > 80).mean() > 0.05  # the car, in its colour


def test_a_photo_without_a_car_is_kept_or_left_out_as_no_car_says(photos, tmp_path):
    from detection.cutout.cut import CutoutStyle

    studio(photos, tmp_path / "kept")
    assert (tmp_path / "kept" / "grey.jpg").is_file()
    run(photos, tmp_path / "skipped", CutoutStyle(no_car="skip"), studio=studio_style(SIZE))
    assert rows(tmp_path / "skipped")["grey.jpg"]["output"] == ""


def test_a_stopped_run_resumes_and_ends_as_an_undisturbed_one(photos, tmp_path):
    studio(photos, tmp_path / "whole")
    studio(photos, tmp_path / "out")
    (tmp_path / "out" / "red.jpg").unlink()
    lines = (tmp_path / "out" / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "out" / "journal.jsonl").write_bytes(b"".join(lines[:2]) + lines[2][:20])
    (tmp_path / "out" / "manifest.csv").unlink()
    assert studio(photos, tmp_path / "out").processed == 2
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    assert studio(photos, tmp_path / "out").processed == 0


@pytest.mark.parametrize("change", [{"backdrop": "dusk"}, {"style": {"light": "left"}}, {"style": {"reflection": 0.2}}])
def test_another_style_is_not_mixed_into_the_same_folder(photos, tmp_path, change):
    studio(photos, tmp_path / "out")
    with pytest.raises(UsageError, match="was made with studio"):
        studio(photos, tmp_path / "out", **change)
    assert studio(photos, tmp_path / "out", restart=True, **change).processed == 3


def test_edges_of_another_kind_are_not_mixed_into_the_same_folder(photos, tmp_path):
    trained, guided = tmp_path / "trained", tmp_path / "guided"
    studio(photos, trained)
    studio(photos, guided, style={"edge": "guided"})
    assert tree(trained)["red.jpg"] != tree(guided)["red.jpg"]
    noted = json.loads((guided / "settings.json").read_text())  # as it was before there were trained edges
    assert "edge" not in noted and "edge" not in noted["studio"]
    with pytest.raises(UsageError, match="was made with edge 'edge-[0-9a-f]{12}', and now it is 'None'"):
        studio(photos, trained, style={"edge": "guided"})
    with pytest.raises(UsageError, match="was made with edge 'None'"):
        studio(photos, guided)


def test_a_changed_backdrop_picture_is_noticed(photos, tmp_path):
    picture = tmp_path / "hall.png"
    save_image(picture, np.full((240, 320, 3), 90, np.uint8))
    studio(photos, tmp_path / "out", backdrop=str(picture))
    save_image(picture, np.full((240, 320, 3), 91, np.uint8))
    with pytest.raises(UsageError, match="was made with studio"):
        studio(photos, tmp_path / "out", backdrop=str(picture))


def test_shards_make_the_same_folder(photos, tmp_path):
    studio(photos, tmp_path / "whole")
    for shard in ("1/2", "2/2"):
        studio(photos, tmp_path / "out", shard=shard)
    merge_shards([tmp_path / "out"])
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    with open(tmp_path / "out" / "manifest.csv", newline="") as file:
        assert tuple(next(csv.reader(file))) == (*COLUMNS, *STUDIO_COLUMNS)


def test_a_folder_of_cut_outs_is_not_continued_as_a_studio(photos, tmp_path):
    run(photos, tmp_path / "out")
    assert tuple(rows(tmp_path / "out")["red.jpg"]) == COLUMNS
    with pytest.raises(UsageError, match="was made with studio 'None'"):
        studio(photos, tmp_path / "out")


def test_the_studio_has_contact_sheets_too(photos, tmp_path):
    studio(photos, tmp_path / "out", contact_sheet=True)
    assert (tmp_path / "out" / "contact-sheet" / "index.html").is_file()
    shutil.rmtree(tmp_path / "out")


@pytest.mark.parametrize("more", [{"all_vehicles": True}, {"max_size": 100}])
def test_what_does_not_go_with_a_studio(more):
    with pytest.raises(UsageError, match="main vehicle"):
        CleanOptions.of(studio=studio_style(SIZE), **more)


def test_what_is_private_is_hidden_in_the_studio_too(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(private, "plate_finder", FakePlates)
    studio(photos, tmp_path / "plain")
    studio(photos, tmp_path / "out", hide=HideStyle())
    found, plain = rows(tmp_path / "out"), rows(tmp_path / "plain")
    assert tuple(found["red.jpg"]) == (*HIDDEN_COLUMNS, *STUDIO_COLUMNS)
    assert [found[name]["hidden"] for name in ("red.jpg", "sub/blue.png", "grey.jpg")] == ["1", "0", "0"]
    for name, row in found.items():
        assert {key: row[key] for key in ("status", "view", "scale")} == {
            key: plain[name][key] for key in ("status", "view", "scale")
        }
    one, other = (load_image(tmp_path / folder / "red.jpg").astype(int) for folder in ("plain", "out"))
    changed = np.abs(one - other).max(axis=2) > 20
    assert 0.001 < changed.mean() < 0.1
    assert (tmp_path / "plain/sub/blue.jpg").read_bytes() == (tmp_path / "out/sub/blue.jpg").read_bytes()
    assert studio(photos, tmp_path / "out", hide=HideStyle()).processed == 0
