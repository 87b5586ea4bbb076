"""An export in int8: photos in three parts, layers that stay in float, and fingerprints of its own."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from carclf.cli import app
from carclf.tools.export.calibration import share_photos
from carclf.tools.export.folder import CLASSIFIER, FILES, _as_int8
from carclf.tools.export.int8 import quantize_network
from carclf.tools.export.parity import INT8, Parity
from detection.common.errors import UsageError
from detection.detectors.onnx.folder import EXPORT_FILE, EXPORT_FORMAT
from detection.detectors.onnx.graph import read_facts
from detection.detectors.onnx.session import open_part, open_session, probe

onnx = pytest.importorskip("onnx")


@pytest.mark.parametrize("count", [8, 9, 64, 500])
def test_no_photo_calibrates_and_judges(tmp_path, count):
    files = [tmp_path / f"{number}.jpg" for number in range(count)]
    parts = share_photos(files)
    assert sorted(file for part in parts for file in part) == sorted(files)
    assert all(parts) and len(parts[2]) >= count // 2 and max(map(len, parts[:2])) <= 32


def test_too_few_photos_are_one_sentence(tmp_path):
    with pytest.raises(UsageError, match=r"^An int8 export needs at least 8 photos, not 7: give more\.$"):
        share_photos([tmp_path] * 7)


@pytest.mark.parametrize(
    ("figures", "holds"),
    [
        ({"cutout_difference": 0.5, "mask_iou": 0.0}, True),
        ({"same_cutouts": 0.99, "same_answers": 0.99, "mean_mask_iou": 0.99}, True),
        ({"same_cutouts": 0.989}, False),
        ({"same_answers": 0.989}, False),
        ({"mean_mask_iou": 0.9899}, False),
    ],
)
def test_the_limits(figures, holds):
    assert Parity(**({"photos": 200} | figures)).holds(INT8) is holds
    assert "masks with a mean IoU of 0.99" in str(INT8) and "99.0%" in str(INT8)


@pytest.fixture
def network(tmp_path):
    """Three convolutions with their inputs; the second is sensitive, as its weights span many sizes."""
    random, helper = np.random.default_rng(0), onnx.helper
    arrays = {f"w{n}": random.normal(size=(8, 8, 3, 3)).astype(np.float32) / 8 for n in range(3)}
    arrays["w1"][:, ::2] *= 100
    nodes = [helper.make_node("Conv", [f"x{n}", f"w{n}"], [f"x{n + 1}"], name=f"c{n}", pads=[1] * 4) for n in range(3)]
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 8, 8, 8]) for name in ("x0", "x3")]
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    path = tmp_path / "float.onnx"
    opsets = [helper.make_opsetid("", 20)]
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())
    return path, [{"x0": random.normal(size=(1, 8, 8, 8)).astype(np.float32)} for _ in range(4)]


def _in_int8(path):
    nodes = onnx.load(path).graph.node
    dequantized = {name for node in nodes if node.op_type == "DequantizeLinear" for name in node.output}
    return {node.name for node in nodes if node.op_type == "Conv" and node.input[1] in dequantized}


def test_layers_stay_in_float_until_the_answers_hold(network, tmp_path):
    source, feeds = network
    target, tries, said = tmp_path / "int8.onnx", [], []

    def holds():
        tries.append(_in_int8(target))
        return len(tries) == 5

    assert quantize_network(source, target, feeds, holds, said.append) == pytest.approx(1 / 3)
    assert tries[0] == tries[1] == {"c0", "c1", "c2"} and tries[2] == {"c0", "c1"}, "what gives the outputs goes first"
    assert len(tries[4]) == 1 and said == ["float.onnx: 1 of 3 layers in int8, weights of 7 bits"]
    assert not read_facts(target.read_bytes()).domains, "only ONNX's own operators: else it would not be opened"
    one, other = (open_session(path, 1).run(None, feeds[0])[0] for path in (source, target))
    assert 0 < np.abs(one - other).max() < 0.2 * np.abs(one).max()


def test_a_network_that_bears_nothing_is_copied(network, tmp_path):
    source, feeds = network
    said = []
    assert quantize_network(source, tmp_path / "int8.onnx", feeds, lambda: False, said.append) == 0
    assert (tmp_path / "int8.onnx").read_bytes() == source.read_bytes() and "stays in float32" in said[0]


def test_its_fingerprints_are_its_own(monkeypatch, tmp_path):
    monkeypatch.setattr("carclf.tools.export.folder.open_session", lambda path: path)
    monkeypatch.setattr("carclf.tools.export.folder.probe", lambda session: [1.0])
    about = {
        "classifier": {"fingerprint": "abc", "info": {}},
        "detector": {"fingerprint": "compact-012-0.5", "score_threshold": 0.5},
    }
    found = []
    for text in ("one", "two"):
        for name in FILES - {EXPORT_FILE}:
            (tmp_path / name).write_text(text)
        found.append(_as_int8(about, tmp_path))
        assert json.loads((tmp_path / EXPORT_FILE).read_text()) == found[-1]
    assert found[0]["precision"] == "int8" and found[0]["files"].keys() == FILES - {EXPORT_FILE}
    assert found[0]["classifier"]["fingerprint"].startswith("abc-int8-")
    name = found[0]["detector"]["fingerprint"]
    assert name.startswith("compact-012-int8-") and name.endswith("-0.5")
    assert all(found[0][part]["fingerprint"] != found[1][part]["fingerprint"] for part in ("classifier", "detector"))
    assert about["classifier"]["fingerprint"] == "abc" and CLASSIFIER in found[0]["files"]


def test_a_processor_that_computes_int8_otherwise_is_one_sentence(network, tmp_path):
    source, _ = network
    about = {"format": EXPORT_FORMAT, "precision": "int8"}
    (tmp_path / EXPORT_FILE).write_text(json.dumps(about))
    with pytest.raises(UsageError, match=r"is in int8, which OpenVINO rounds in another way: take the runtime onnx\.$"):
        open_part(tmp_path, source.name, runtime="openvino")
    wanted = probe(open_session(source))
    assert len(wanted) == 32 and np.ptp(wanted) > 0.1
    for factor, fits in ((1.0, True), (1.01, True), (1.03, False)):
        probes = {source.name: [factor * value for value in wanted]}
        (tmp_path / EXPORT_FILE).write_text(json.dumps(about | {"probes": probes}))
        if fits:
            open_part(tmp_path, source.name)
            continue
        with pytest.raises(UsageError, match=r"computes something else here .* without VNNI: export the model on this"):
            open_part(tmp_path, source.name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--precision", "int8"], "An int8 export is used only where it is named: give its folder with --output."),
        (["--precision", "int4", "--output", "x"], "'int4' is not a precision: choose float32 or int8."),
    ],
)
def test_wrong_usage_is_one_sentence(arguments, message):
    result = CliRunner().invoke(app, ["export", *arguments])
    assert result.exit_code == 2 and message in result.stderr and result.stderr.count("\n") == 1
