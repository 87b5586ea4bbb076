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
from typing import Any

import numpy as np

from carclf.classifier.onnx.folder import CLASSIFIER
from carclf.tools.export.calibration import record_feeds, share_photos
from carclf.tools.export.parity import CHOOSING, check_parity
from detection.detectors.onnx.folder import BOXES, CHECK, EXPORT_FILE, FEATURES, MASKS, read_export

Feeds = dict[str, np.ndarray]

# Those first that gain most.
ORDER = (FEATURES, CLASSIFIER, CHECK, BOXES, MASKS)
# What is tried, one after the other: bits of the weights, and which share of a network's layers stays in float beside
# those that give its outputs; None: all are in int8. After the last one the network stays as it was. Eight bits are
# finer, but pairs of products can overflow where a kernel adds them in 16 bits; seven never do.
TRIES: tuple[tuple[int, float | None], ...] = ((8, None), (7, None), (7, 0.0), (7, 0.125), (7, 0.25), (7, 0.5))
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
        model = CarRecognizer(str(source), top=every, runtime="onnx", levels=False)

        def holds() -> bool:
            trial = CarRecognizer(str(tried), top=every, runtime="onnx", levels=False)
            return check_parity(model, trial, choosing).holds(CHOOSING)

        for file in ORDER:  # each beside those that are in int8 already: together they have to bear it
            if file in feeds:
                quantize_network(source / file, tried / file, feeds.pop(file), holds, say)
                shutil.copyfile(tried / file, export / file)
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
        for bits, share in TRIES:
            kept = network.sensitive(share)
            network.write(target, bits, kept)
            if holds():
                inside = len(network.layers) - len(kept)
                say(f"{source.name}: {inside} of {len(network.layers)} layers in int8, weights of {bits} bits")
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
        graph = onnx.load(self._prepared).graph
        self.layers = [node.name for node in graph.node if node.op_type in _LAYERS]
        self._last = _last_layers(graph)
        self._errors: dict[str, float] = {}

    def write(self, target: Path, bits: int, kept: Collection[str] = (), only: str | None = None) -> None:
        """In int8, its weights in as many bits, but for the layers `kept`; or with the one layer `only` in int8."""
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
            reduce_range=bits == 7,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=list(kept),
            nodes_to_quantize=None if only is None else [only],
            calibration_providers=["CPUExecutionProvider"],
            **cache,
        )

    def sensitive(self, share: float | None) -> list[str]:
        """The layers that give the outputs, and that share of all: those first that change the outputs most when they
        alone are in int8. None: no layer."""
        if share is None:
            return []
        count = round(share * len(self.layers))
        if not count:
            return list(self._last)
        if not self._errors:
            wanted = self._answers(self._prepared)
            alone = self._folder / "alone.onnx"
            for layer in self.layers:
                self.write(alone, 7, only=layer)
                self._errors[layer] = _distance(wanted, self._answers(alone))
        ranked = sorted(self.layers, key=lambda layer: -self._errors[layer])
        return list(dict.fromkeys([*self._last, *ranked[:count]]))

    def _answers(self, path: Path) -> list[list[np.ndarray]]:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return [session.run(None, feeds) for feeds in self._feeds[:: max(1, len(self._feeds) // _RANKED_ON)]]


def _last_layers(graph: Any) -> list[str]:
    """The layers whose results become outputs of an ONNX graph with no other layer between."""
    makers = {name: node for node in graph.node for name in node.output}
    waiting, seen, found = [output.name for output in graph.output], set(), []
    while waiting:
        node = makers.get(waiting.pop())
        if node is None or node.name in seen:
            continue
        seen.add(node.name)
        if node.op_type in _LAYERS:
            found.append(node.name)
        else:
            waiting += node.input
    return found


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
