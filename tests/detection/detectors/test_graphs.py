"""The bundled graphs: made by the script that is named, and refused where they don't fit their weights."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from carclf.weights import BUNDLED, bundled_file, graph_of
from detection.common.errors import UsageError
from detection.common.networks.arrays import read_arrays
from detection.detectors.compact.files import bundled_path, compact_weights
from detection.detectors.onnx.folder import BOXES, CHECK, FEATURES, MASKS, NETWORKS
from detection.detectors.onnx.graph import read_network
from detection.detectors.onnx.session import open_graphs, open_session
from tests.conftest import ROOT

COMPACT_GRAPHS = [bundled_path(name) for name in (FEATURES, BOXES, MASKS)]
ALL = [*COMPACT_GRAPHS, bundled_path(CHECK), *(graph_of(bundled_file(name)) for name in BUNDLED)]


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_each_graph_is_small_and_tells_nothing_of_the_machine(path):
    data = path.read_bytes()
    assert len(data) < 4e5
    assert b"site-packages" not in data and str(ROOT).encode() not in data


@pytest.mark.slow
def test_the_script_makes_the_graphs_that_are_committed(tmp_path):
    onnx = pytest.importorskip("onnx")
    subprocess.run([sys.executable, "scripts/write_graphs.py", str(tmp_path)], cwd=ROOT, check=True)
    for path in ALL:
        ours, theirs = (
            onnx.load(path, load_external_data=False),
            onnx.load(tmp_path / path.name, load_external_data=False),
        )
        assert _shapes(ours) == _shapes(theirs)
        if ours.producer_version == theirs.producer_version:  # another torch may write the same in other words
            # Node for node: the exporter notes names of its own beside the inputs and outputs, which come as they like.
            for one, other in (
                (ours.graph.node, theirs.graph.node),
                (ours.graph.initializer, theirs.graph.initializer),
            ):
                assert list(one) == list(other), path.name
    assert bundled_path(NETWORKS).read_text() == (tmp_path / NETWORKS).read_text()


def _shapes(model):
    given = {one.name: tuple(one.dims) for one in model.graph.initializer if one.data_location == 1}
    ends = [(one.name, str(one.type)) for one in (*model.graph.input, *model.graph.output)]
    return given, ends


def test_what_is_read_without_onnx_is_what_onnx_reads():
    onnx = pytest.importorskip("onnx")
    for path in ALL:
        _, facts = read_network(path, "")
        model = onnx.load(path, load_external_data=False)
        assert facts.given == _shapes(model)[0] and facts.floats
        assert facts.domains == {node.domain for node in model.graph.node if node.domain}


def test_a_graph_and_weights_that_do_not_belong_together_are_one_sentence():
    arrays, _ = read_arrays(compact_weights())
    name = "roi_heads.box_head.fc1.weight"
    without = {key: array for key, array in arrays.items() if key != name}
    for other, message in (
        (without, f"the tensor {name} is missing"),
        (arrays | {name: arrays[name].T}, f"the tensor {name} has another shape"),
        (arrays | {name: arrays[name].astype(np.float64)}, f"the tensor {name} has another shape or type"),
        (arrays | {"more": arrays[name]}, "the tensor more is too many"),
    ):
        with pytest.raises(UsageError, match=rf"don't belong together \({message}.*write_graphs.py\.$"):
            open_graphs(COMPACT_GRAPHS, compact_weights(), other)


def test_a_graph_takes_no_weights_by_itself(tmp_path):
    shutil.copy(bundled_path(BOXES), tmp_path)
    with pytest.raises(UsageError, match="takes its weights from other files: export the model again"):
        open_session(tmp_path / BOXES)


def test_a_missing_or_damaged_graph_is_one_sentence(tmp_path):
    with pytest.raises(UsageError, match="none.onnx' is missing: reinstall carclf"):
        open_graphs([tmp_path / "none.onnx"], compact_weights(), {})
    whole = bundled_path(BOXES).read_bytes()
    for data in (b"no network", b"\xff" * 40, whole[:-3]):
        (tmp_path / "half.onnx").write_bytes(data)
        with pytest.raises(UsageError, match=r"half.onnx'.*(can't be loaded|don't belong together).*reinstall carclf"):
            open_graphs([tmp_path / "half.onnx"], compact_weights(), {})
