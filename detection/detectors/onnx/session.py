"""Networks in ONNX files, run by ONNX Runtime on the CPU, sparing with memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from detection.common.errors import UsageError
from detection.common.machine import chosen_threads
from detection.detectors.onnx.graph import GraphFacts, read_network

if TYPE_CHECKING:
    import onnxruntime

_EXPORT_AGAIN, _REINSTALL = "export the model again", "reinstall carclf"


def open_session(path: Path, threads: int | None = None) -> onnxruntime.InferenceSession:
    """A session of a file that holds its weights, as those of an export; it may be used from several threads at once.

    threads: it computes in; None: `chosen_threads`. Raises `UsageError` when the file or ONNX Runtime is missing or
    does not fit, and for a file that asks for more than ONNX's own operators and its own bytes.
    """
    data, facts = read_network(path, _EXPORT_AGAIN)
    if facts.given:
        raise UsageError(f"'{path}' is not opened, as it takes its weights from other files: {_EXPORT_AGAIN}.")
    return _open(path, data, {}, threads, _EXPORT_AGAIN)


def open_graphs(
    graphs: Sequence[Path], weights: Path, arrays: Mapping[str, np.ndarray], threads: int | None = None
) -> list[onnxruntime.InferenceSession]:
    """Sessions of graphs that take their weights from one file, as the bundled ones do; otherwise as `open_session`.

    arrays: all that the file `weights` holds, float32 by name. Raises `UsageError` also when the graphs and the weights
    don't belong together: each tensor must be in one of the graphs, under its name and in its shape.
    """
    read = [read_network(path, _REINSTALL) for path in graphs]
    _check_together(graphs, [facts for _, facts in read], weights, arrays)
    return [
        _open(path, data, {name: arrays[name] for name in facts.given}, threads, _REINSTALL)
        for path, (data, facts) in zip(graphs, read, strict=True)
    ]


def _check_together(
    graphs: Sequence[Path], read: Sequence[GraphFacts], weights: Path, arrays: Mapping[str, np.ndarray]
) -> None:
    def fail(path: Path, why: str) -> None:
        raise UsageError(
            f"'{path}' and the weights in '{weights}' don't belong together ({why}): {_REINSTALL}, or, after a change "
            "of the weights, run scripts/write_graphs.py."
        )

    taken: set[str] = set()
    for path, facts in zip(graphs, read, strict=True):
        for name, shape in facts.given.items():
            if name not in arrays:
                fail(path, f"the tensor {name} is missing")
            if arrays[name].shape != shape or arrays[name].dtype != np.float32 or not facts.floats:
                fail(path, f"the tensor {name} has another shape or type")
        taken |= facts.given.keys()
    if more := sorted(arrays.keys() - taken):
        fail(graphs[0], f"the tensor {more[0]} is too many")


def _open(
    path: Path, data: bytes, arrays: Mapping[str, np.ndarray], threads: int | None, again: str
) -> onnxruntime.InferenceSession:
    try:
        import onnxruntime
    except ImportError as error:
        raise UsageError("Running a model without torch needs ONNX Runtime: pip install onnxruntime.") from error

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or chosen_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only: its warnings are meant for whoever built the graph
    # The arena keeps the largest activations of every shape of photo for ever, and a pattern of one shape takes memory
    # for all activations of a photo at once: without them the two bundled models take 50 MiB less, in the same time.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    # Threads that wait by spinning take the cores from those that read and cut photos.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in arrays.values()]
    if values:
        options.add_external_initializers(list(arrays), values)
    try:
        # From bytes: whatever the file says, there is no folder in which other files could be looked for.
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base of their own
        raise UsageError(f"'{path}' can't be loaded ({_first_line(error)}): {again}.") from error
    # The session reads them where they lie, and does not keep them itself.
    vars(session)["carclf_weights"] = (values, tuple(arrays.values()))
    return session


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__
