"""ONNX files that a stranger has made: refused before ONNX Runtime sees them."""

import numpy as np
import pytest

from detection.common.errors import UsageError
from detection.detectors.onnx import graph
from detection.detectors.onnx.session import open_session

onnx = pytest.importorskip("onnx")
helper = onnx.helper


def _save(path, nodes, initializers=(), opsets=(("", 17),), functions=()):
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in ("x", "y")]
    body = helper.make_graph(nodes, "g", ends[:1], ends[1:], list(initializers))
    imports = [helper.make_opsetid(*one) for one in opsets]
    model = helper.make_model(body, opset_imports=imports, functions=list(functions), ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def _tensor(external=False):
    tensor = onnx.numpy_helper.from_array(np.ones(2, np.float32), "w")
    if external:
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../secret.bin")
    return tensor


ADD = helper.make_node("Add", ["x", "w"], ["y"])


def test_a_plain_network_is_run(tmp_path):
    session = open_session(_save(tmp_path / "a.onnx", [ADD], [_tensor()]))
    assert session.run(None, {"x": np.zeros(2, np.float32)})[0].tolist() == [1, 1]


def test_data_in_other_files_are_refused(tmp_path):
    with pytest.raises(UsageError, match="takes its weights from other files"):
        open_session(_save(tmp_path / "a.onnx", [ADD], [_tensor(external=True)]))
    constant = helper.make_node("Constant", [], ["w"], value=_tensor(external=True))
    with pytest.raises(UsageError, match="takes its weights from other files"):
        open_session(_save(tmp_path / "a.onnx", [constant, ADD]))
    inner = helper.make_graph([ADD], "inner", [], [helper.make_empty_tensor_value_info("y")], [_tensor(external=True)])
    branch = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    with pytest.raises(UsageError, match="takes its weights from other files"):
        open_session(_save(tmp_path / "a.onnx", [branch]))


def test_operators_of_others_are_refused(tmp_path):
    own = helper.make_node("Add", ["x", "x"], ["y"], domain="com.stranger")
    with pytest.raises(UsageError, match="has operators of 'com.stranger' beside ONNX's own: export the model again"):
        open_session(_save(tmp_path / "a.onnx", [own], opsets=(("", 17), ("com.stranger", 1))))
    function = helper.make_function(
        "com.stranger",
        "Twice",
        ["a"],
        ["b"],
        [helper.make_node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 17)],
    )
    call = helper.make_node("Twice", ["x"], ["y"], domain="com.stranger")
    opsets = (("", 17), ("com.stranger", 1))
    with pytest.raises(UsageError, match="operators of 'com.stranger'"):
        open_session(_save(tmp_path / "a.onnx", [call], opsets=opsets, functions=[function]))


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    path = _save(tmp_path / "a.onnx", [ADD], [_tensor()])
    monkeypatch.setattr(graph, "MOST_BYTES", path.stat().st_size - 1)
    with pytest.raises(UsageError, match="GiB of any network"):
        open_session(path)


def test_messages_in_messages_without_end_are_refused(tmp_path):
    data = b""
    for _ in range(2000):  # a graph in an attribute of a node of a graph, again and again
        for field in (6, 5, 1):
            data = bytes([field << 3 | 2]) + _length(len(data)) + data
    (tmp_path / "a.onnx").write_bytes(bytes([7 << 3 | 2]) + _length(len(data)) + data)
    with pytest.raises(UsageError, match="no ONNX file"):
        open_session(tmp_path / "a.onnx")


def _length(number):
    found = b""
    while number > 127:
        found += bytes([number & 127 | 128])
        number >>= 7
    return found + bytes([number])
