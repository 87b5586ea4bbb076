"""Commands whose photos, models and results lie in S3: as with those of a folder here, and never in the wrong place."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from carclf.recognition.pictures.folders import MARKER
from detection.common.places import kept
from detection.common.places.paths import path_of
from tests.carclf.tiny import CLASSES, save_tiny_model
from tests.carclf.wrong_usage import sentence
from tests.detection.common.places.conftest import own_world, proxy, s3, s3_server  # noqa: F401
from tests.fakes import draw_car
from tests.folder_runs import put, run, tree


@pytest.fixture
def labelled(tmp_path, s3):  # noqa: F811
    """Six photos of three classes, one of them broken; the same are in the bucket, below `in`."""
    for number, name in enumerate(CLASSES):
        for one in range(2):
            put(tmp_path / "in" / name / f"{one}.png", draw_car((250 - 60 * number, 20 + 9 * one, 40 * number)))
    (tmp_path / "in" / CLASSES[0] / "1.png").write_bytes(b"no photo")
    for name, data in tree(tmp_path / "in").items():
        s3.put(f"{s3.bucket}/in/{name}", data)
    return tmp_path / "in"


def rows_of(result) -> list[dict]:
    return [row | {"file": row["file"].rpartition("/in/")[2]} for row in json.loads(result.stdout)]


def test_a_model_is_measured_on_photos_of_s3(carclf, model, labelled, s3):  # noqa: F811
    bucket = s3.folder / s3.bucket
    for data, output in ((labelled, labelled.parent / "here"), (f"s3://{s3.bucket}/in", f"s3://{s3.bucket}/a/there")):
        result = carclf("evaluate", model, "--data", data, "--output", output, "--slices")
        assert result.exit_code == 0, result.stderr
        assert f"written to {output}" in result.stdout
    here, there = tree(labelled.parent / "here"), tree(bucket / "a" / "there")
    assert here.keys() == there.keys() and {"metrics.json", "report.html", "slices.csv"} <= here.keys()
    # They say where the photos lie, and how long it took.
    own = ("metrics.json", "predictions.csv", "errors.csv", "errors.jpg", "report.html")
    assert [name for name in here if name not in own and here[name] != there[name]] == []
    near, far = (json.loads(files["metrics.json"]) for files in (here, there))
    for figures in (near, far):
        for name in ("seconds", "photos_per_second"):
            figures.pop(name)
    assert near == far and near["n"] == 6 and near["answered"] == 5
    near, far = (pd.read_csv(folder / "predictions.csv") for folder in (labelled.parent / "here", bucket / "a/there"))
    assert near.drop(columns="file").equals(far.drop(columns="file"))
    assert list(far["file"]) == [f"s3://{s3.bucket}/in/{name}" for name in sorted(tree(labelled))]
    assert {path.name for path in bucket.iterdir()} == {"in", "a"}


def test_figures_that_can_not_be_written_are_told_before_the_work(carclf, model, labelled, s3, proxy):  # noqa: F811
    proxy.fault = lambda number, method, path: 403 if method == "PUT" else None
    there = f"s3://{s3.bucket}/out"
    said = sentence(carclf("evaluate", model, "--data", labelled, "--output", there))
    assert f"'{there}' can't be written: access is denied" in said
    assert not [path for method, path in proxy.requests if method == "GET" and path.endswith(".png")]


def test_pictures_go_to_s3_before_their_rows(carclf, model, labelled, s3, proxy):  # noqa: F811
    bucket, rows = s3.folder / s3.bucket, labelled.parent / "rows.json"
    for source, root in ((labelled, labelled.parent), (f"s3://{s3.bucket}/in", f"s3://{s3.bucket}")):
        result = carclf(
            *("predict", source, "--model", model, "--format", "json"),
            *("--save-cutouts", f"{root}/cut", "--overlay", f"{root}/seen"),
        )
        assert result.exit_code == 3, result.stderr
    for name in ("cut", "seen"):
        here, there = tree(labelled.parent / name), tree(bucket / name)
        assert here == there and len(here) == 6 and MARKER in here
    there = f"s3://{s3.bucket}"
    again = ["predict", f"{there}/in", "--model", model, "--output", rows, "--overlay", f"{there}/seen"]
    assert "6 photos" in carclf(*again).stderr
    (bucket / "seen" / CLASSES[1] / "0.jpg").unlink()
    proxy.requests.clear()
    assert "(5 done before)" in carclf(*again).stderr  # that of the picture that is gone, and not the broken one
    assert len([path for method, path in proxy.requests if method == "PUT" and path.endswith(".jpg")]) == 1
    assert tree(labelled.parent / "seen") == tree(bucket / "seen")


def test_no_row_is_kept_of_a_picture_that_can_not_be_sent(carclf, model, labelled, s3, proxy):  # noqa: F811
    refused = f"/{CLASSES[1]}/1.jpg"
    proxy.fault = lambda number, method, path: 403 if method == "PUT" and path.endswith(refused) else None
    there, rows = f"s3://{s3.bucket}", labelled.parent / "rows.json"
    again = ("predict", f"{there}/in", "--model", model, "--output", rows, "--overlay", f"{there}/seen")
    said = carclf(*again)
    assert said.exit_code == 2 and f"'{there}/seen{refused}' can't be written (access is denied" in said.stderr
    proxy.fault = lambda *_: None
    proxy.requests.clear()
    assert carclf(*again).exit_code == 3
    sent = [path for method, path in proxy.requests if method == "PUT" and path.endswith(".jpg")]
    assert any(path.endswith(refused) for path in sent) and len(sent) < 5  # some rows were kept, and not that one
    assert len(json.loads(rows.read_text())) == 6


def test_rows_through_faults_are_those_without(carclf, model, labelled, s3, proxy, tmp_path):  # noqa: F811
    """Each request fails once, in all ways that pass; and the server is away for a while."""
    expected = rows_of(carclf("predict", labelled, "--model", model, "--format", "json"))
    seen: dict[tuple[str, str], int] = {}

    def fault(number, method, path):
        seen[method, path] = seen.get((method, path), 0) + 1
        ways = (503, 429, 500, "cut") if method == "GET" else (503, 429, 500)
        return ways[number % len(ways)] if seen[method, path] == 1 else None

    proxy.fault = fault
    result = carclf("predict", f"s3://{s3.bucket}/in", "--model", model, "--format", "json")
    assert result.exit_code == 3 and rows_of(result) == expected
    assert result.stderr.count("asks for fewer requests") == 1
    assert len([path for method, path in seen if method == "GET" and path.endswith(".png")]) == 6


def test_rows_of_a_server_that_is_killed_and_comes_back(carclf, model, labelled, s3, proxy, monkeypatch):  # noqa: F811
    """In the middle of the photos, and again when the rows are written."""
    import threading

    expected = rows_of(carclf("predict", labelled, "--model", model, "--format", "json"))
    there = ("predict", f"s3://{s3.bucket}/in", "--model", model, "--output", f"s3://{s3.bucket}/rows.json")
    state = {"kills": 0, "photos": 0}

    def fault(number, method, path):
        state["photos"] += method == "GET" and path.endswith(".png")
        if (state["kills"], method) in ((0, "GET"), (1, "PUT")) and state["photos"] >= 3:
            state["kills"] += 1
            s3.kill()
            threading.Timer(0.7, s3.start).start()
        return None

    proxy.fault = fault
    assert carclf(*there).exit_code == 3 and state["kills"] == 2
    written = json.loads((s3.folder / s3.bucket / "rows.json").read_text())
    assert [row | {"file": row["file"].rpartition("/in/")[2]} for row in written] == expected


def test_folders_for_pictures_that_are_in_the_way(carclf, model, labelled, s3):  # noqa: F811
    there = f"s3://{s3.bucket}"
    s3.put(f"{s3.bucket}/mine/letter.txt", b"mine")
    for folder, said in (
        ("mine", "holds other files"),
        ("in", "whose photos are read"),
        ("in/cut", "whose photos are read"),
    ):
        arguments = ("predict", f"{there}/in", "--model", model, "--save-cutouts", f"{there}/{folder}")
        assert said in sentence(carclf(*arguments)), folder
    before = tree(s3.folder / s3.bucket)
    assert "both" not in before and len(before) == 7
    same = ("--save-cutouts", f"{there}/both", "--overlay", f"{there}/both/in")
    assert "overlap" in sentence(carclf("predict", f"{there}/in", "--model", model, *same))
    web = ("predict", labelled, "--model", model, "--overlay", "https://127.0.0.1:9/x/")
    assert "https://127.0.0.1:9/x" in sentence(carclf(*web))
    assert tree(s3.folder / s3.bucket) == before


def test_models_and_detections_are_copied_from_s3_once(carclf, model, labelled, s3, proxy):  # noqa: F811
    with open(model, "rb") as file:
        s3.put(f"{s3.bucket}/runs/first/best.safetensors", file.read())
    s3.put(f"{s3.bucket}/runs/first/huge.ckpt", b"not wanted")
    there = f"s3://{s3.bucket}/runs/first"
    expected = rows_of(carclf("predict", labelled, "--model", model, "--format", "json"))
    for name in (there, f"{there}/best.safetensors", there):
        kept._copied.clear()  # as another process
        assert rows_of(carclf("predict", labelled, "--model", name, "--format", "json")) == expected
    fetched = [path for method, path in proxy.requests if method == "GET" and "/runs/first/" in path]
    assert len([path for path in fetched if path.endswith("best.safetensors")]) == 2  # of the folder, and of the file
    assert not [path for path in fetched if path.endswith("huge.ckpt")]
    assert sentence(carclf("predict", labelled, "--model", f"{there}/none")).startswith(
        f"There is nothing at '{there}/"
    )
    said = sentence(carclf("predict", labelled, "--model", f"{there}/huge.ckpt"))
    assert "is not a .safetensors file" in said
    run(labelled, f"s3://{s3.bucket}/out", save_detections=True)
    detections = ("--detections", f"s3://{s3.bucket}/out/detections.jsonl")
    assert rows_of(carclf("predict", labelled, "--model", there, "--format", "json", *detections)) == expected
    result = carclf("clean", labelled, f"s3://{s3.bucket}/again", *detections)
    assert result.exit_code == 3, result.stderr
    out, again = (tree(s3.folder / s3.bucket / name) for name in ("out", "again"))
    assert all(again[name] == data for name, data in out.items() if name.endswith((".jpg", "manifest.csv")))


def test_another_model_at_the_address_is_another_copy(carclf, model, labelled, tmp_path):
    there = path_of("memory://models/m.safetensors")
    with open(model, "rb") as file:
        there.write_bytes(file.read())
    first = rows_of(carclf("predict", labelled, "--model", str(there), "--format", "json"))
    save_tiny_model(tmp_path / "other.safetensors", "mobilenetv3_small_075")
    there.write_bytes((tmp_path / "other.safetensors").read_bytes())
    assert rows_of(carclf("predict", labelled, "--model", str(there), "--format", "json")) == first  # one process, one
    kept._copied.clear()
    there.store.forget(there.key)
    other = rows_of(carclf("predict", labelled, "--model", str(there), "--format", "json"))
    assert other == rows_of(carclf("predict", labelled, "--model", tmp_path / "other.safetensors", "--format", "json"))
    confidences = [np.array([row["confidence"] or 0 for row in rows]) for rows in (first, other)]
    assert not np.allclose(*confidences)


@pytest.mark.parametrize(
    "arguments",
    [
        ("worker", "--alive", "s3://me:secret@host/alive"),
        ("serve", "--save-uploads", "s3://me:secret@host/kept"),
        ("data", "audit", "photos", "--output", "s3://me:secret@host/out"),
        ("data", "fetch", "https://host/a.zip", "s3://me:secret@host/out"),
        ("prepare", "photos", "s3://me:secret@host/out"),
        ("learn", "photos", "--output", "s3://me:secret@host/garage.safetensors"),
        ("export", "bundled", "--output", "s3://me:secret@host/out"),
        ("submit", "bundled", "photos", "--output", "s3://me:secret@host/out.csv"),
        ("train", "--resume", "s3://me:secret@host/run"),
    ],
)
def test_what_must_be_of_this_machine_is_told(carclf, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    said = sentence(carclf(*arguments))
    assert "takes a path of this machine, not 's3://host/" in said and "secret" not in said
    assert not list(tmp_path.iterdir())
