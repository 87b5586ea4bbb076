"""The exported compact detector: the same vehicles as with torch."""

import json
import subprocess
import sys

import numpy as np
import pytest

from detection import UsageError, load_detector
from detection.detectors.onnx.detector import check_fit
from detection.detectors.onnx.folder import EXPORT_FILE, EXPORT_FORMAT, DetectorFacts, is_export
from tests.conftest import ROOT

ABOUT = {
    "name": "compact", "fingerprint": "compact-abc-0.85", "kinds": ["car"], "short_side": 352, "long_side": 528,
    "score_threshold": 0.85, "mask_scores": True, "divisor": 32, "mean": [127.5] * 3, "std": [127.5] * 3,
    "anchors": [[[-4, -4, 4, 4]]], "anchor_strides": [8], "proposals_before": 200, "proposals_after": 50,
    "proposal_overlap": 0.7, "box_levels": [3, 5], "canonical_size": 224, "canonical_level": 4,
    "box_weights": [10, 10, 5, 5], "box_overlap": 0.5, "most_vehicles": 20, "mask_margin": 0.06,
    "check_names": ["car", "locomotive"],
}  # fmt: skip


def _write(folder, **values):
    folder.mkdir(exist_ok=True)
    (folder / EXPORT_FILE).write_text(json.dumps({"format": EXPORT_FORMAT, "detector": ABOUT} | values))
    return str(folder)


def test_an_export_is_a_folder_with_its_file(tmp_path):
    assert not is_export(tmp_path) and not is_export(tmp_path / "none") and not is_export("compact")
    assert is_export(_write(tmp_path))
    assert DetectorFacts.model_validate(ABOUT).kinds == ("car",)


@pytest.mark.parametrize(
    ("values", "settings", "message"),
    [
        ({"format": "carclf-export-9"}, {}, "by a carclf that is newer than this .*update carclf"),
        ({"format": "carclf-export-0"}, {}, "has the format 'carclf-export-0'.*export it again"),
        ({"detector": {"name": "compact"}}, {}, "nothing usable about its detector"),
        ({}, {}, "detector_features.onnx' is missing: export the model again"),
        ({}, {"device": "cuda"}, "The device 'cuda' is not there for ONNX Runtime"),
        ({}, {"weights": "other.safetensors"}, "holds its weights already"),
    ],
)
def test_what_an_export_can_not_do_is_one_sentence(tmp_path, values, settings, message):
    with pytest.raises(UsageError, match=message):
        load_detector(_write(tmp_path, **values), **settings)


@pytest.mark.parametrize("change", [
    {"kinds": ("car", "truck")},
    {"box_levels": (3, 6)},
    {"anchor_strides": (8, 16, 32, 64, 128)},
    {"anchors": (((-4.0, -4.0, 4.0, 4.0),),) * 4},
])  # fmt: skip
def test_networks_of_another_detector_are_one_sentence(tmp_path, change):
    """As when files of two exports are mixed."""
    detector = load_detector("compact", "cpu")
    networks = [detector._features, detector._boxes, detector._masks]
    check_fit(tmp_path, networks, detector.settings)
    with pytest.raises(UsageError, match=r"are not those of its export.json: export the model again\.$"):
        check_fit(tmp_path, networks, detector.settings.model_copy(update=change))


def test_damaged_files_are_one_sentence(tmp_path):
    folder = _write(tmp_path)
    (tmp_path / "detector_features.onnx").write_bytes(b"no network")
    with pytest.raises(UsageError, match="can't be loaded"):
        load_detector(folder)
    (tmp_path / EXPORT_FILE).write_text("{")
    with pytest.raises(UsageError, match="can't be read: export the model again"):
        load_detector(folder)


def test_the_runtime_imports_no_torch():
    code = (
        "import sys, detection.detectors.onnx.detector, detection.detectors.load, detection.detectors.onnx.session;"
        "heavy = {'torch', 'torchvision', 'detectron2', 'timm', 'pandas', 'matplotlib'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_vehicles_that_it_is_unsure_of_are_outlined_when_they_are_asked_for():
    from carclf.datasets.drawn.car_shapes import CAR_SHAPES
    from carclf.datasets.drawn.scenes import draw_scene

    shapes = list(CAR_SHAPES)
    photo = np.concatenate(
        [draw_scene(shapes[n], np.random.default_rng(n), (240, 320)).image for n in range(3)], axis=1
    )
    detector = load_detector("compact", "cpu", score_threshold=0.01, runtime="onnx").without_check
    (whole,) = detector.detect([photo])
    sure = whole[0].score - 0.01
    drawn = []
    detector._outline = lambda *given, draw=detector._outline: drawn.append(len(given[1])) or draw(*given)
    (first,) = detector.detect_sure([photo], sure)
    assert 0 < len(first) < len(whole)
    together = [*first, *first.rest()]
    assert len(drawn) == 2 and all(drawn)
    for one, other in zip(together, whole, strict=True):
        assert one.box == other.box and one.score == other.score and np.array_equal(one.mask, other.mask)
    assert len(detector.detect_sure([photo], 0.99999)[0]) == len(whole)  # sure of none


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    from detection.detectors.load import load_as_trained
    from detection.detectors.onnx.export import export_detector

    folder = tmp_path_factory.mktemp("export")
    about = export_detector(load_as_trained("compact", "cpu"), folder)
    return _write(folder, detector=about.model_dump(mode="json"))


@pytest.mark.slow
def test_the_exported_detector_finds_what_the_model_finds(exported):
    from carclf.datasets.drawn.car_shapes import CAR_SHAPES
    from carclf.datasets.drawn.scenes import draw_scene

    ours = load_detector("compact", "cpu", precision="float32", runtime="torch")
    theirs = load_detector(exported)
    assert (theirs.name, theirs.kinds, theirs.fingerprint) == (ours.name, ours.kinds, ours.fingerprint)
    shapes = list(CAR_SHAPES)
    sizes = [(360, 480), (480, 360), (200, 800), (352, 352), (900, 700)]
    photos = [draw_scene(shapes[n % len(shapes)], np.random.default_rng(n), size).image for n, size in enumerate(sizes)]
    photos += [np.full((40, 3000, 3), 127, np.uint8), np.zeros((1, 1, 3), np.uint8)]
    assert [ours.input_shape(*one.shape[:2]) for one in photos] == [theirs.input_shape(*o.shape[:2]) for o in photos]
    found = 0
    for one, other in zip(ours.detect(photos), theirs.detect(photos), strict=True):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            found += 1
            assert a.kind == b.kind and a.score == pytest.approx(b.score, abs=1e-3)
            np.testing.assert_allclose(a.box, b.box, atol=0.1)
            assert (a.mask & b.mask).sum() > 0.99 * (a.mask | b.mask).sum()
    assert found >= 4
    with pytest.raises(ValueError, match="RGB uint8"):
        theirs.detect([np.zeros((9, 9), np.uint8)])


@pytest.mark.slow
def test_a_low_threshold_shows_the_crowd_that_the_model_shows(exported):
    """Four scenes in one picture: more than one batch of masks, and a doubtful vehicle among them."""
    from carclf.datasets.drawn.car_shapes import CAR_SHAPES
    from carclf.datasets.drawn.scenes import draw_scene

    shapes = list(CAR_SHAPES)
    scenes = [draw_scene(shapes[n], np.random.default_rng(n), (300, 400)).image for n in range(4)]
    photo = np.concatenate([np.concatenate(scenes[:2], axis=1), np.concatenate(scenes[2:], axis=1)])
    ours = load_detector("compact", "cpu", score_threshold=0.001, precision="float32", runtime="torch")
    theirs = load_detector(exported, score_threshold=0.001)
    assert theirs.fingerprint == ours.fingerprint and theirs.fingerprint.endswith("-0.001")
    (one,), (other,) = ours.detect([photo]), theirs.detect([photo])
    assert len(one) == len(other) > 4
    np.testing.assert_allclose([v.score for v in one], [v.score for v in other], atol=1e-4)
