"""Networks in ONNX files, run by ONNX Runtime on the CPU, sparing with memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from detection.common.errors import UsageError
from detection.common.machine import chosen_threads

if TYPE_CHECKING:
    import onnxruntime


def open_session(path: Path, threads: int | None = None) -> onnxruntime.InferenceSession:
    """A session that may be used from several threads at once. threads: it computes in; None: `chosen_threads`.

    Raises `UsageError` when the file or ONNX Runtime is missing or does not fit.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise UsageError("An exported model needs ONNX Runtime: pip install onnxruntime.") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or chosen_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only: its warnings are meant for whoever built the graph
    # The arena keeps the largest activations of every shape of photo for ever: without it the two bundled models take
    # 30 MiB less after some photos of different shapes, in the same time.
    options.enable_cpu_mem_arena = False
    # Threads that wait by spinning take the cores from those that read and cut photos.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not path.is_file():
        raise UsageError(f"'{path}' is missing: export the model again.")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base of their own
        raise UsageError(f"'{path}' can't be loaded ({_first_line(error)}): export the model again.") from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__
