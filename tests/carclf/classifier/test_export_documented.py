"""The Python of docs/export.md: enough to use an exported classifier where there is no carclf, no torch, no OpenCV."""

import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from carclf.classifier.onnx.classifier import OnnxClassifier
from detection.images.read import load_image
from tests.carclf.classifier.test_onnx_classifier import export, model  # noqa: F401 (fixtures)
from tests.conftest import ROOT

ALONE = """
import sys
for name in ("carclf", "detection", "cv2", "torch", "timm"):
    sys.modules[name] = None  # an import of it fails
"""


@pytest.fixture(scope="module")
def documented():
    """The code block as it stands in the document."""
    (block,) = re.findall(r"```python\n(.+?)```", (ROOT / "docs" / "export.md").read_text(encoding="utf-8"), re.DOTALL)
    return block


# Shrunk, enlarged, one side each, and already of the size 64x96; one is turned by its EXIF tag.
SIZES = [(200, 300), (150, 96), (30, 40), (40, 500), (300, 50), (64, 96), (96, 64), (190, 311)]


def test_its_answers_are_those_of_carclf(documented, export, tmp_path):  # noqa: F811
    random = np.random.default_rng(5)
    files = []
    for number, (height, width) in enumerate(SIZES):
        coarse = random.integers(0, 256, (5, 7, 3), dtype=np.uint8)
        photo = Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR)
        exif = Image.Exif()
        exif[0x0112] = 6 if number == 7 else 1
        photo.save(tmp_path / f"{number}.png", exif=exif)
        files.append(str(tmp_path / f"{number}.png"))
    run = f"{ALONE}{documented}\n" + (
        "answers = [classify(sys.argv[1], file) for file in sys.argv[3:]]\n"
        "np.savez(sys.argv[2], probabilities=[p for _, p in answers], labels=[str(label) for label, _ in answers])\n"
    )
    out = tmp_path / "out.npz"
    done = subprocess.run([sys.executable, "-c", run, str(export), out, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with np.load(out) as answers:
        found, labels = answers["probabilities"], answers["labels"]
    ours = OnnxClassifier.load(export)
    wanted = ours.predict([load_image(file) for file in files])
    assert np.ptp(wanted, axis=0).max() > 0.05, "the crops are answered differently"
    np.testing.assert_allclose(found, wanted, atol=2e-3)
    names = [ours.classes[row.argmax()] if row.max() >= ours.threshold else "None" for row in wanted]
    assert list(labels) == names
