"""Every verb of the light install does its work without torch, and those that train say which install they need."""

from __future__ import annotations

import csv
import json
import shutil
import time
import urllib.request
import uuid
from pathlib import Path

import pytest

from tests.carclf.service.processes import Server

pytestmark = pytest.mark.light

TRAINING = [
    ["train", "configs/train/quick.yaml", "data=x"],
    ["train", "--smoke", "configs/train/quick.yaml", "data=x"],
    ["train-detector", "configs/detector/compact.yaml"],
    ["compare-backgrounds", "x"],
    ["combine", "a", "b", "--output", "c"],
    ["calibrate", "a", "--data", "b"],
    ["export"],
    ["demo"],
]

# All verbs in one process: each would load the same half second anew.
EVERY_HELP = """
import contextlib, io, typer
from carclf.cli import app

def helps(command, path=()):
    yield path
    for name, below in getattr(command, "commands", {}).items():
        yield from helps(below, (*path, name))

paths = list(helps(typer.main.get_command(app)))
assert len(paths) > 20, paths
for path in paths:
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
        app([*path, "--help"])
    assert "Usage" in said.getvalue(), path
"""


def rows(path: Path) -> list[dict]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def wait_until_ready(server: Server, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(f"{server.address}/readyz", timeout=10).close()
            return
        except OSError:  # not yet, by a status or by nobody who answers
            assert server.process.poll() is None and time.monotonic() < end, server.log
        time.sleep(0.1)


def test_nothing_that_trains_can_be_found(python):
    names = ["torch", "timm", "detectron2", "albumentations", "pytorch_lightning", "matplotlib", "scipy", "sklearn"]
    code = f"from importlib.util import find_spec; assert not [name for name in {names} if find_spec(name)]"
    done = python("-c", code)
    assert done.returncode == 0, done.stderr


def test_every_verb_has_its_help(python):
    done = python("-c", EVERY_HELP)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", TRAINING, ids=lambda arguments: " ".join(arguments[:2]))
def test_what_trains_says_which_install_it_needs(carclf, arguments):
    done = carclf(*arguments)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1 and not done.stdout
    extra = "export" if arguments[0] == "export" else "train"
    assert f'needs torch, which is not installed: run `pip install ".[{extra}]"`' in done.stderr


def test_clean_cuts_the_cars_out(carclf, drawn, tmp_path):
    done = carclf("clean", drawn, "out")
    assert done.returncode == 0, done.stderr
    found = {Path(row["source"]).name: row["status"] for row in rows(tmp_path / "out" / "manifest.csv")}
    assert found == {"sedan.jpg": "ok", "van.jpg": "ok", "street.jpg": "no_car"}
    assert (tmp_path / "out" / "more" / "van.jpg").is_file()


def test_predict_names_them(carclf, drawn, tmp_path):
    done = carclf("predict", drawn, "--output", "names.csv", "--overlay", "seen")
    assert done.returncode == 0, done.stderr
    found = {Path(row["file"]).name: row["status"] for row in rows(tmp_path / "names.csv")}
    assert found.keys() == {"sedan.jpg", "van.jpg", "street.jpg"}
    assert found.pop("street.jpg") == "no_car" and set(found.values()) <= {"ok", "unknown"}


def test_evaluate_measures_and_leaves_out_only_the_pictures(carclf, drawn, tmp_path):
    classes = json.loads(carclf("models", "--classes", "dealer19", "--format", "json").stdout)
    table = [f"{drawn / 'sedan.jpg'},{classes[0]}", f"{drawn / 'more' / 'van.jpg'},{classes[1]}"]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label", *table]), encoding="utf-8")
    done = carclf("evaluate", "dealer19", "--data", "labels.csv", "--output", "out")
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["n"] == 2 and len(rows(tmp_path / "out" / "predictions.csv")) == 2
    assert (tmp_path / "out" / "report.html").is_file()
    assert "confusion.png was not drawn: A picture of results needs matplotlib" in done.stderr
    assert 'pip install ".[plots]"' in done.stderr


def test_a_model_of_ones_own_says_which_install_it_needs(carclf, drawn, tmp_path):
    from carclf.weights import bundled_file

    shutil.copy(bundled_file("dealer19"), tmp_path / "mine.safetensors")
    done = carclf("predict", drawn / "sedan.jpg", "--model", "mine.safetensors")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert 'needs torch, which is not installed: run `pip install ".[train]"`' in done.stderr


def test_serve_answers(light, drawn, tmp_path):
    with Server("-m", "carclf", "serve", "--port", "0", environment=light, folder=tmp_path) as server:
        assert server.address, server.log
        wait_until_ready(server)
        border = uuid.uuid4().hex
        head = f'--{border}\r\nContent-Disposition: form-data; name="photos"; filename="a.jpg"\r\n\r\n'
        body = head.encode() + (drawn / "sedan.jpg").read_bytes() + f"\r\n--{border}--\r\n".encode()
        request = urllib.request.Request(
            f"{server.address}/predict", body, {"Content-Type": f"multipart/form-data; boundary={border}"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            (one,) = json.load(answer)["answers"]
        assert one["status"] in ("ok", "unknown")
        server.process.terminate()
        assert server.end() == 0, server.log


def test_a_worker_asks_for_its_broker_and_for_no_package(carclf):
    done = carclf("worker")
    assert done.returncode == 2
    assert "broker" in done.stderr.lower() and "not installed" not in done.stderr


def test_models_are_listed(carclf):
    done = carclf("models")
    assert done.returncode == 0, done.stderr
    assert "stanford196" in done.stdout and "dealer19" in done.stdout


def test_data_is_checked_and_prepared(carclf, drawn, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
    (tmp_path / "data" / "a" / "1.jpg").write_bytes((drawn / "sedan.jpg").read_bytes())
    (tmp_path / "data" / "b" / "1.jpg").write_bytes((drawn / "more" / "van.jpg").read_bytes())
    done = carclf("data", "check", "data", "--csv", "found.csv")
    assert done.returncode in (0, 3), done.stderr
    assert len(rows(tmp_path / "found.csv")) == 2
    done = carclf("prepare", "data", "sorted", "--test", "0")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "sorted").rglob("*.jpg"))) == 2


def test_data_are_audited(carclf, drawn, tmp_path):
    for name, file in (("a", "sedan.jpg"), ("a", "street.jpg"), ("b", "more/van.jpg")):
        (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name / Path(file).name).write_bytes((drawn / file).read_bytes())
    done = carclf("data", "audit", "data", "--output", "audit")
    assert done.returncode == 0, done.stderr
    outliers = [row["file"] for row in rows(tmp_path / "audit" / "audit.csv") if row["issue"] == "outlier"]
    assert outliers[0] == "a/street.jpg" and (tmp_path / "audit" / "audit.html").is_file()


def test_doctor_finds_the_light_install_whole(carclf):
    done = carclf("doctor")
    assert done.returncode == 0, done.stdout
    assert "All is there." in done.stdout and "training" in done.stdout
