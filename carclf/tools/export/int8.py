"""An export's networks in int8: which of their layers bear it is found out by trying, within bounds."""

from __future__ import annotations

import inspect
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from carclf.tools.export.calibration import record_feeds, share_photos
from carclf.tools.export.parity import ONE_IN_INT8, check_parity
from detection.detectors.onnx.folder import EXPORT_FILE, read_export

Feeds = dict[str, np.ndarray]

# Of a network's layers with weights, which share stays in float in each try; the last one is the network as it was.
SHARES = (0.0, 0.125, 0.25, 0.5)
_LAYERS = ("Conv", "Gemm", "MatMul")
_RANKED_ON = 3  # photos' feeds, by which the layers are ranked


def to_int8(export: Path, files: Sequence[Path], say: Callable[[str], None]) -> list[Path]:
    """Turns the networks of a float export into int8, as far as they bear it.

    Returns the photos that had no part in it, to compare on. Raises `UsageError` for too few photos.
    """
    from carclf.recognition.recognizer import CarRecognizer

    calibrating, choosing, others = share_photos(files)
    say(f"calibrates int8 on {len(calibrating)} photos; {len(choosing)} others choose which layers bear it")
    with tempfile.TemporaryDirectory(prefix="carclf-int8-") as name:
        source, tried = Path(name) / "float", Path(name) / "tried"
        shutil.copytree(export, source)
        shutil.copytree(export, tried)
        (tried / EXPORT_FILE).write_text(json.dumps(read_export(source) | {"files": {}}), encoding="utf-8")
        feeds, every = record_feeds(source, calibrating), 2**31
        model = CarRecognizer(str(source), top=every, runtime="onnx")

        def holds() -> bool:
            trial = CarRecognizer(str(tried), top=every, runtime="onnx")
            return check_parity(model, trial, choosing).holds(ONE_IN_INT8)

        for file in feeds:
            # Each beside the others in float: else the first would use up what all together may change.
            quantize_network(source / file, tried / file, feeds[file], holds, say)
            shutil.copyfile(tried / file, export / file)
            shutil.copyfile(source / file, tried / file)
    return others


def quantize_network(
    source: Path, target: Path, feeds: Sequence[Feeds], holds: Callable[[], bool], say: Callable[[str], None]
) -> float:
    """Writes the network `source` as `target`, with as many layers in int8 as bear it; a copy where too few do.

    feeds: what it was given on the photos that calibrate. holds: whether what `target` is now answers well enough.
    Returns the share of layers that are in int8.
    """
    with tempfile.TemporaryDirectory(prefix="carclf-int8-") as folder, _quiet():
        network = _Network(source, feeds, Path(folder))
        for share in SHARES:
            kept = network.most_sensitive(share)
            network.write(target, kept)
            if holds():
                inside = len(network.layers) - len(kept)
                say(f"{source.name}: {inside} of {len(network.layers)} layers in int8")
                return inside / max(1, len(network.layers))
    shutil.copyfile(source, target)
    say(f"{source.name}: stays in float32, as its answers change too much otherwise")
    return 0.0


class _Network:
    """A float network with its layers and the ranges of its values."""

    def __init__(self, source: Path, feeds: Sequence[Feeds], folder: Path):
        import onnx
        from onnxruntime.quantization.shape_inference import quant_pre_process

        self._feeds, self._folder = feeds, folder
        self._prepared = folder / "prepared.onnx"
        # Its symbolic shapes need SymPy, and only transformers need them.
        quant_pre_process(str(source), str(self._prepared), skip_symbolic_shape=True)
        nodes = onnx.load(self._prepared).graph.node
        self.layers = [node.name for node in nodes if node.op_type in _LAYERS]
        self._errors: dict[str, float] = {}

    def write(self, target: Path, kept: Collection[str] = (), only: str | None = None) -> None:
        """In int8, but for the layers `kept`; or with the one layer `only` in int8."""
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

        # The ranges are measured once, where this version can keep them.
        known = "calibration_cache_path" in inspect.signature(quantize_static).parameters
        cache = {"calibration_cache_path": str(self._folder / "ranges.json")} if known else {}
        quantize_static(
            str(self._prepared),
            str(target),
            _Reader(self._feeds),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            # Seven bits of weights: processors without VNNI add pairs of products in 16 bits, and eight would overflow.
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=list(kept),
            nodes_to_quantize=None if only is None else [only],
            calibration_providers=["CPUExecutionProvider"],
            **cache,
        )

    def most_sensitive(self, share: float) -> list[str]:
        """That share of the layers, those first that change the outputs most when they alone are in int8."""
        count = round(share * len(self.layers))
        if not count:
            return []
        if not self._errors:
            wanted = self._answers(self._prepared)
            alone = self._folder / "alone.onnx"
            for layer in self.layers:
                self.write(alone, only=layer)
                self._errors[layer] = _distance(wanted, self._answers(alone))
        return sorted(self.layers, key=lambda layer: -self._errors[layer])[:count]

    def _answers(self, path: Path) -> list[list[np.ndarray]]:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return [session.run(None, feeds) for feeds in self._feeds[:: max(1, len(self._feeds) // _RANKED_ON)]]


def _distance(wanted: list[list[np.ndarray]], found: list[list[np.ndarray]]) -> float:
    """The largest relative error of any output."""
    return max(
        float(np.linalg.norm(one - other) / (np.linalg.norm(one) + 1e-9))
        for mine, its in zip(wanted, found, strict=True)
        for one, other in zip(mine, its, strict=True)
    )


class _Reader:
    """Feeds as the quantization asks for them; a base class of its own would import it."""

    def __init__(self, feeds: Sequence[Feeds]):
        self._rest: Iterator[Feeds] = iter(feeds)

    def get_next(self) -> Feeds | None:
        return next(self._rest, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the quantization's advice to whoever calls it by hand."""
    logger = logging.getLogger()
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
