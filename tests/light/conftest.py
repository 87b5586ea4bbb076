"""carclf as the light install has it: as a process in which what only training needs can't be found.

In the light install itself there is nothing to hide, and the same tests try the installed copy.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from carclf.datasets.drawn.scenes import draw_background, draw_scene
from detection.images.write import save_image

# Modules, and the distributions that bring them where they are called otherwise.
HIDDEN = [
    *("torch", "torchvision", "timm", "torchmetrics", "triton", "pytorch_lightning", "pytorch-lightning"),
    *("lightning_utilities", "albumentations", "albucore", "tensorboard", "detectron2", "fvcore", "iopath", "yacs"),
    *("tabulate", "termcolor", "cloudpickle", "matplotlib", "mpl_toolkits", "scipy", "sklearn", "scikit-learn"),
    *("onnx", "onnxscript", "pyarrow"),
]

# As sitecustomize.py on the path it runs first in each Python, child processes included. Wrapped finders and no finder
# that raises: a module that is not there is not found, and `find_spec` says so quietly.
HIDE = f"""
import sys
HIDDEN = {HIDDEN!r}

class Without:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in HIDDEN else self.finder.find_spec(name, path, target)
    def find_distributions(self, context):
        if context.name in HIDDEN or not hasattr(self.finder, "find_distributions"):
            return []
        return self.finder.find_distributions(context)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""


@pytest.fixture(scope="session")
def light(tmp_path_factory) -> dict[str, str]:
    """The environment of a process that has the light install."""
    folder = tmp_path_factory.mktemp("light")
    (folder / "sitecustomize.py").write_text(HIDE)
    cache = str(tmp_path_factory.mktemp("cache"))
    return {**os.environ, "PYTHONPATH": str(folder), "CARCLF_CACHE": cache}


@pytest.fixture
def python(light, tmp_path) -> Callable[..., subprocess.CompletedProcess]:
    """Runs Python with these arguments, in a folder that is not the repository's: what is installed is what runs."""

    def run(*arguments: object) -> subprocess.CompletedProcess:
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, env=light, capture_output=True, text=True)

    return run


@pytest.fixture
def carclf(python) -> Callable[..., subprocess.CompletedProcess]:
    """Runs a verb."""
    return lambda *arguments: python("-m", "carclf", *arguments)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory) -> Path:
    """Two streets with a car, one of them in a sub-folder, and one without."""
    folder = tmp_path_factory.mktemp("drawn")
    random = np.random.default_rng(3)
    (folder / "more").mkdir()
    save_image(folder / "sedan.jpg", draw_scene("sedan", random).image)
    save_image(folder / "more" / "van.jpg", draw_scene("van", random).image)
    save_image(folder / "street.jpg", draw_background(random))
    return folder
