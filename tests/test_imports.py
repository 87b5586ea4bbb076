"""Nothing is imported that a job does not use: what is bundled runs without torch, tables and charts; and not much."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from carclf.datasets.drawn.car_shapes import CAR_SHAPES
from carclf.datasets.drawn.scenes import draw_scene
from detection.images.write import save_image
from tests.conftest import ROOT

FORBIDDEN = {
    *("torch", "torchvision", "timm", "detectron2", "pytorch_lightning", "albumentations", "tensorboard"),
    *("omegaconf", "pandas", "scipy", "sklearn", "matplotlib", "pyarrow", "onnx", "pycocotools"),
    *("rich.progress", "jinja2", "asyncio", "multiprocessing", "xml.etree", "unittest", "httpx", "markdown_it"),
}
SERVED = {"asyncio", "multiprocessing", "httpx"}  # what a service, and a client in its process, does need
# Modules that each imports at most, a tenth more than when this was written: other releases of packages may differ.
MOST = {
    "predict": 610,
    "predict of a list, resumable": 625,
    "clean": 625,
    "clean all vehicles": 670,
    "models": 475,
    "serve": 905,
}

VERBS = {
    "predict": ["predict", "photos/photo.png"],
    "predict of a list, resumable": ["predict", "list.csv", "--output", "names.csv", "--tta", "mirror"],
    "clean": ["clean", "photos", "out"],
    "clean all vehicles": ["clean", "photos", "out", "--all-vehicles", "--contact-sheet", "--save-detections"],
    "models": ["models"],
}
RUN = """
from carclf.cli import main
sys.argv = ["carclf", *{!r}]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""
SERVE = """
from starlette.testclient import TestClient
from carclf.service import server
from carclf.service.choose import make_backend
from carclf.service.metrics import Metrics
from carclf.service.settings import ServiceSettings
from carclf.service.web.app import create_app

settings = ServiceSettings.of(device="cpu")
metrics = Metrics()
with TestClient(create_app(make_backend(settings, metrics), settings, metrics)) as client:
    while client.get("/readyz").status_code == 503:
        pass
    answer = client.post("/predict", files=[("files", ("photo.png", open("photos/photo.png", "rb")))])
    assert answer.status_code == 200, answer.text
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With a drawn photo of a car, and a list that names it."""
    folder = tmp_path_factory.mktemp("light")
    scene = draw_scene(next(iter(CAR_SHAPES)), np.random.default_rng(3), (360, 480))
    (folder / "photos").mkdir()
    save_image(folder / "photos" / "photo.png", scene.image)
    (folder / "list.csv").write_text("file\nphotos/photo.png\n")
    return folder


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_bundled_needs_neither_torch_nor_tables(folder, tmp_path, verb):
    _check(folder, tmp_path, RUN.format(VERBS[verb]), MOST[verb])


def test_the_service_needs_neither_torch_nor_tables(folder, tmp_path):
    pytest.importorskip("fastapi")
    _check(folder, tmp_path, SERVE, MOST["serve"], SERVED)


def _check(folder, tmp_path, code, most, allowed=frozenset()):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    whole = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}\nprint('modules', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", whole], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    modules = set(done.stdout.splitlines()[-1].split())
    assert "modules" in modules
    assert modules & FORBIDDEN - allowed == set()
    assert len(modules) <= most, "more is imported than before: is all of it used?"
