"""Networks in ONNX files, run by ONNX Runtime on the CPU, sparing with memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detection.common.errors import UsageError, has_module
from detection.common.files import file_sha256
from detection.common.machine import chosen_threads
from detection.common.networks.providers import check_provider, onnx_providers
from detection.detectors.onnx.folder import EXPORT_FILE, read_export
from detection.detectors.onnx.graph import MOST_BYTES, GraphFacts, filled, read_network

if TYPE_CHECKING:
    import onnxruntime

_MOST_APART = 0.02  # of int8 on two processors; rounding alone gives less
_EXPORT_AGAIN, _REINSTALL = "export the model again", "reinstall carclf"


def open_session(
    path: Path, threads: int | None = None, runtime: str = "onnx", device: str = "cpu"
) -> onnxruntime.InferenceSession:
    """A session of a file that holds its weights, as those of an export; it may be used from several threads at once.

    threads: it computes in; None: `chosen_threads`. runtime: onnx, openvino, or auto, which takes the faster one.
    device: auto, cpu, cuda or cuda:N; see `onnx_providers`. Raises `UsageError` when the file or the engine is missing
    or does not fit, and for a file that asks for more than ONNX's own operators and its own bytes.
    """
    data, facts = read_network(path, _EXPORT_AGAIN)
    if facts.given:
        raise UsageError(f"'{path}' is not opened, as it takes its weights from other files: {_EXPORT_AGAIN}.")
    return _open(path, data, {}, threads, runtime, device, _EXPORT_AGAIN)


def open_part(
    folder: Path, name: str, threads: int | None = None, runtime: str = "auto", device: str = "auto"
) -> onnxruntime.InferenceSession:
    """A session of one network of an export. runtime: int8 is run by ONNX Runtime alone, which it was compared by.

    Raises `UsageError` as `open_session` does, and for a network that was not written together with the folder's
    `EXPORT_FILE`; exports of earlier versions don't say which were.
    """
    about = read_export(folder)
    written = about.get("files")
    path = folder / name
    known = written.get(name) if isinstance(written, dict) else None
    if known and path.is_file() and path.stat().st_size <= MOST_BYTES and file_sha256(path).hex() != known:
        raise UsageError(f"'{path}' is not the one of its {EXPORT_FILE}: {_EXPORT_AGAIN}.")
    if about.get("precision") == "int8":
        if runtime == "openvino":
            raise UsageError(f"'{folder}' is in int8, which OpenVINO rounds in another way: take the runtime onnx.")
        runtime = "onnx"
    session = open_session(path, threads, runtime, device)
    wanted = about.get("probes", {}).get(name)
    if wanted and not _alike(probe(session), wanted):
        raise UsageError(
            f"'{path}' computes something else here than where it was made, as int8 does on processors without VNNI: "
            "export the model on this machine, or in float32."
        )
    return session


def probe(session: onnxruntime.InferenceSession) -> list[float]:
    """What a network makes of one pattern: some numbers of each output. Empty for one with several inputs.

    Without VNNI, processors of Intel and AMD add pairs of 8-bit products in 16 bits, and the largest overflow.
    """
    image, *more = session.get_inputs()
    if more:
        return []
    shape = [1 if not place else side if isinstance(side, int) else 64 for place, side in enumerate(image.shape)]
    pattern = (np.arange(np.prod(shape)) * 37 % 251).reshape(shape)
    feed = pattern.astype(np.uint8) if image.type == "tensor(uint8)" else (pattern / 64 - 2).astype(np.float32)
    return [float(f"{value:.5g}") for one in session.run(None, {image.name: feed}) for value in one.reshape(-1)[:32]]


def _alike(found: Sequence[float], wanted: Sequence[float]) -> bool:
    return len(found) == len(wanted) and bool(
        np.linalg.norm(np.subtract(found, wanted)) <= _MOST_APART * np.linalg.norm(wanted)
    )


def open_graphs(
    graphs: Sequence[Path],
    weights: Path,
    arrays: Mapping[str, np.ndarray],
    threads: int | None = None,
    runtime: str = "onnx",
    device: str = "cpu",
) -> list[onnxruntime.InferenceSession]:
    """Sessions of graphs that take their weights from one file, as the bundled ones do; otherwise as `open_session`.

    arrays: all that the file `weights` holds, float32 by name. Raises `UsageError` also when the graphs and the weights
    don't belong together: each tensor must be in one of the graphs, under its name and in its shape.
    """
    read = [read_network(path, _REINSTALL) for path in graphs]
    _check_together(graphs, [facts for _, facts in read], weights, arrays)
    return [
        _open(path, data, {name: arrays[name] for name in facts.given}, threads, runtime, device, _REINSTALL)
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
    path: Path,
    data: bytes,
    arrays: Mapping[str, np.ndarray],
    threads: int | None,
    runtime: str,
    device: str,
    again: str,
) -> onnxruntime.InferenceSession:
    if by_openvino(runtime, device):
        from detection.detectors.onnx.openvino import OpenVinoSession

        try:
            found: Any = OpenVinoSession(filled(data, arrays) if arrays else data, threads or chosen_threads())
        except Exception as error:  # its exceptions have no common base of their own, either
            raise UsageError(f"'{path}' can't be loaded by OpenVINO ({_first_line(error)}): {again}.") from error
        return found
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
        session = onnxruntime.InferenceSession(data, options, providers=onnx_providers(device))
    except UsageError:
        raise
    except Exception as error:  # its exceptions have no common base of their own
        raise UsageError(f"'{path}' can't be loaded ({_first_line(error)}): {again}.") from error
    check_provider(session.get_providers(), device)
    # The session reads them where they lie, and does not keep them itself.
    vars(session)["carclf_weights"] = (values, tuple(arrays.values()))
    return session


def has_ends(session: onnxruntime.InferenceSession, inputs: Mapping[str, str], outputs: Collection[str]) -> bool:
    """Whether a network takes exactly these inputs, of types such as tensor(float), and gives these outputs or more."""
    found = {one.name: one.type for one in session.get_inputs()}
    return found == dict(inputs) and {*outputs} <= {one.name for one in session.get_outputs()}


def by_openvino(runtime: str, device: str) -> bool:
    """Whether OpenVINO runs a network. It is imported by nobody who neither asks for it nor has it."""
    if runtime == "openvino":
        return True
    if runtime != "auto" or device not in ("auto", "cpu") or not has_module("openvino"):
        return False
    from detection.detectors.onnx.race import openvino_wins

    return openvino_wins()


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__
