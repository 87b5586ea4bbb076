"""OpenVINO: the same answers from the same files, nothing sent anywhere, and taken only where it has won."""

import functools
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError

import numpy as np
import onnxruntime
import pytest

from carclf.classifier.catalogue import load_classifier
from carclf.datasets.drawn.car_shapes import CAR_SHAPES
from carclf.datasets.drawn.scenes import draw_scene
from carclf.tools import doctor
from carclf.weights import DEFAULT, bundled_file, graph_of
from detection import load_detector
from detection.common.errors import has_module
from detection.common.networks.arrays import read_arrays
from detection.detectors.onnx import race
from detection.detectors.onnx.graph import filled, read_facts
from detection.detectors.onnx.openvino import OpenVinoSession
from detection.detectors.onnx.session import by_openvino
from tests.conftest import ROOT

needs_openvino = pytest.mark.skipif(not has_module("openvino"), reason="openvino is not installed: the extra openvino")
ALONE = "CARCLF_TESTS_OPENVINO"


def runs_openvino(test):
    """Runs a test in a process of its own: OpenVINO once ended the process of all tests without a word. Freed memory
    was read then, which may have been why."""

    @needs_openvino
    @functools.wraps(test)
    def run(*given, **named):
        if os.environ.get(ALONE):
            test(*given, **named)
            return
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"{__file__}::{test.__name__}"]
        environment = os.environ | {ALONE: "1"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0 and "1 passed" in done.stdout, f"{done.returncode}\n{done.stdout}{done.stderr}"

    return run


@pytest.fixture
def kept(monkeypatch, tmp_path):
    """Where the self-test's result lies; nothing has been found out yet."""
    monkeypatch.setenv("CARCLF_CACHE", str(tmp_path))
    monkeypatch.setattr(race, "_here", lambda: {"processor": "this", "threads": 2})
    race.openvino_wins.cache_clear()
    yield tmp_path / "engines.json"
    race.openvino_wins.cache_clear()


def _load(runtime):
    return load_detector(device="cpu", runtime=runtime)


def _keep(path, **changes):
    path.write_text(json.dumps({"where": {"processor": "this", "threads": 2}, "openvino": 10, "onnx": 30} | changes))


@runs_openvino
def test_both_engines_find_the_same():
    photo = draw_scene(next(iter(CAR_SHAPES)), np.random.default_rng(3), (360, 480)).image
    one, other = (load_detector(device="cpu", runtime=runtime) for runtime in ("onnx", "openvino"))
    assert isinstance(other._features, OpenVinoSession) and one.fingerprint == other.fingerprint
    ((ours, *_),), ((theirs, *_),) = one.detect([photo]), other.detect([photo])
    np.testing.assert_allclose(theirs.box, ours.box, atol=0.1)
    assert theirs.score == pytest.approx(ours.score, abs=1e-4) and (theirs.mask == ours.mask).mean() > 0.9999


@runs_openvino
def test_results_outlive_what_they_come_in():
    session = load_detector(device="cpu", runtime="openvino")._features
    (given,), names = session.get_inputs(), [one.name for one in session.get_outputs()]
    feed = {given.name: onnxruntime.OrtValue.ortvalue_from_numpy(np.ones((1, 3, 64, 64), np.float32))}
    kept = [one.numpy().copy() for one in session.run_with_ort_values(names, feed)]
    results = [one.numpy() for one in session.run_with_ort_values(names, feed)]
    other = [np.full(one.shape, 7, np.float32) for one in results for _ in range(20)]  # takes what was freed
    for one, copied in zip(results, kept, strict=True):
        np.testing.assert_array_equal(one, copied)
    assert other


@pytest.mark.slow
@runs_openvino
def test_each_of_several_vehicles_has_its_own_mask():
    shapes = list(CAR_SHAPES)
    scenes = [draw_scene(shape, np.random.default_rng(3), (240, 320)).image for shape in shapes[:3]]
    photo = np.concatenate(scenes, axis=1)
    one, other = (load_detector(device="cpu", score_threshold=0.05, runtime=name) for name in ("onnx", "openvino"))
    (ours,), (theirs,) = one.detect([photo]), other.detect([photo])
    assert len(ours) == len(theirs) > 2
    for mine, its in zip(ours, theirs, strict=True):
        assert its.score == pytest.approx(mine.score, abs=1e-3) and (its.mask == mine.mask).mean() > 0.999


@pytest.mark.slow
@runs_openvino
def test_both_engines_name_the_same():
    photo = draw_scene(next(iter(CAR_SHAPES)), np.random.default_rng(3), (360, 480)).image
    ours, theirs = (
        load_classifier("bundled", "cpu", runtime).predict([photo, photo[:200]]) for runtime in ("onnx", "openvino")
    )
    np.testing.assert_allclose(theirs, ours, atol=1e-4)


@pytest.mark.slow
@runs_openvino
def test_several_threads_share_a_network():
    detector = load_detector(device="cpu", runtime="openvino")
    photos = [draw_scene(shape, np.random.default_rng(3), (240, 320)).image for shape in list(CAR_SHAPES)[:3]] * 2
    alone = [detector.detect([photo])[0] for photo in photos]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda photo: detector.detect([photo])[0], photos))
    assert [[one.score for one in found] for found in together] == [[one.score for one in found] for found in alone]


@needs_openvino
def test_its_import_sends_nothing():
    code = (
        "import sys; from detection.detectors.onnx.openvino import import_openvino; import_openvino();"
        "assert not [name for name in sys.modules if name.startswith('openvino_telemetry')]"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


@runs_openvino
def test_a_file_that_it_can_not_read_is_one_sentence(tmp_path):
    from detection.common.errors import UsageError
    from detection.detectors.onnx.session import open_session

    (tmp_path / "a.onnx").write_bytes(b"")
    with pytest.raises(UsageError, match=r"a.onnx' can't be loaded by OpenVINO \(.*\): export the model again\.$"):
        open_session(tmp_path / "a.onnx", runtime="openvino")


def test_tensors_are_put_into_a_graph():
    file = bundled_file(DEFAULT)
    data = graph_of(file).read_bytes()
    arrays, _ = read_arrays(file)
    whole = filled(data, arrays)
    assert read_facts(data).given and not read_facts(whole).given
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(whole)
    found = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    assert len(found) == len({*found}) and arrays.keys() <= found.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
    before = onnx.load_from_string(data)
    assert before.graph.node == model.graph.node and before.opset_import == model.opset_import


@pytest.mark.parametrize(("milliseconds", "wins"), [(10, True), (28, True), (29, False), (40, False)])
def test_auto_takes_it_only_where_it_has_won(monkeypatch, kept, milliseconds, wins):
    monkeypatch.setattr(race, "has_module", lambda name: True)
    monkeypatch.setattr("detection.detectors.onnx.session.has_module", lambda name: True)
    _keep(kept, openvino=milliseconds)
    assert by_openvino("auto", "auto") is wins
    assert by_openvino("openvino", "cpu") and not by_openvino("onnx", "cpu") and not by_openvino("auto", "cuda")


def test_what_brings_onnx_runtime_does_not_matter(monkeypatch, tmp_path):
    """With onnxruntime-gpu there is the module, and no package of its name."""

    def version(name):
        if name != "openvino":
            raise PackageNotFoundError(name)
        return "2025.3"

    monkeypatch.setattr(race, "version", version)
    monkeypatch.setattr(race, "has_module", lambda name: True)
    monkeypatch.setenv("CARCLF_CACHE", str(tmp_path))
    race.openvino_wins.cache_clear()
    monkeypatch.setattr(race, "measure", lambda load, where, seconds: race.Race(where, 10.0, 30.0))
    assert race.self_test(_load).where["onnxruntime"] == onnxruntime.__version__ and race.openvino_wins()
    race.openvino_wins.cache_clear()


def test_a_folder_of_its_name_is_no_openvino(monkeypatch):
    def version(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(race, "version", version)
    monkeypatch.setattr(race, "has_module", lambda name: True)
    race.openvino_wins.cache_clear()
    assert not race.openvino_wins()
    race.openvino_wins.cache_clear()


def test_nothing_is_measured_where_it_is_not_installed(monkeypatch, kept):
    for module in (race, sys.modules["detection.detectors.onnx.session"]):
        monkeypatch.setattr(module, "has_module", lambda name: False)
    monkeypatch.setattr(race, "measure", lambda *_: pytest.fail("measured"))
    assert not by_openvino("auto", "auto") and not race.openvino_wins() and not kept.exists()


def test_the_result_is_kept_per_machine(monkeypatch, kept):
    measured = []

    def measure(load, where, seconds):
        measured.append(where)
        return race.Race(where, 10.0, 30.0)

    monkeypatch.setattr(race, "measure", measure)
    for text in ("{", json.dumps({"openvino": 1}), None):
        kept.write_text(text) if text else _keep(kept, where={"processor": "another"})
        assert race.self_test(_load).openvino_wins and json.loads(kept.read_text())["where"]["processor"] == "this"
        assert race.self_test(_load) == race.Race({"processor": "this", "threads": 2}, 10.0, 30.0)
    assert len(measured) == 3
    assert "OpenVINO 10 ms, ONNX Runtime 30 ms per photo, 2 threads" in str(race.self_test(_load))


def test_auto_itself_measures_nothing(monkeypatch, kept):
    monkeypatch.setattr(race, "has_module", lambda name: True)
    monkeypatch.setattr(race, "measure", lambda *_: pytest.fail("measured"))
    assert not race.openvino_wins() and not kept.exists()


def test_the_doctor_shows_it(monkeypatch, kept):
    monkeypatch.setattr(doctor, "has_module", lambda name: name == "openvino")
    monkeypatch.setattr(race, "measure", lambda load, where, seconds: race.Race(where, 10.0, 30.0))
    (check,) = doctor.check_openvino()
    assert check.ok and check.detail.startswith("OpenVINO (self-test: OpenVINO 10 ms") and kept.is_file()

    def broken(*_):
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(race, "measure", broken)
    kept.unlink()
    (check,) = doctor.check_openvino()
    assert check.ok and check.detail.endswith("could not be measured: RuntimeError: no such instruction")
    monkeypatch.setattr(doctor, "has_module", lambda name: False)
    assert doctor.check_openvino() == []


@pytest.mark.slow
@runs_openvino
def test_the_self_test_runs_both():
    found = race.measure(_load, {"threads": 2}, 0.0)
    assert found.openvino > 0 and found.onnx > 0
