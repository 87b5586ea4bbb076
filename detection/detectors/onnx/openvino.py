"""Networks in ONNX files, run by OpenVINO: a stand-in for ONNX Runtime's session."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from detection.common.machine import usable_cores

# By OpenVINO's names for types, as ONNX Runtime's sessions call them.
_TYPES = {"f32": "tensor(float)", "u8": "tensor(uint8)", "i64": "tensor(int64)"}


@dataclass(frozen=True)
class _End:
    """An input or output, as a session of ONNX Runtime tells of it."""

    name: str
    shape: list[int | str]
    type: str


@dataclass(frozen=True)
class _Value:
    """A result, as `onnxruntime.OrtValue` offers it. Not one itself: of an array that it was made of, `numpy` gives a
    view that does not keep it, so that one reads freed memory once the value is gone."""

    array: np.ndarray

    def numpy(self) -> np.ndarray:
        return self.array


class OpenVinoSession:
    """What `onnxruntime.InferenceSession` offers, as far as it is used here; from several threads at once, too."""

    def __init__(self, data: bytes, threads: int):
        """data: an ONNX file that holds its weights. threads: that one photo is computed in."""
        openvino = import_openvino()
        side_by_side = max(1, usable_cores() // threads)
        core = openvino.Core()
        self._compiled = core.compile_model(
            core.read_model(data),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": "f32",  # else it takes bfloat16 where the processor has it
                "NUM_STREAMS": side_by_side,
                "INFERENCE_NUM_THREADS": threads * side_by_side,
                "ENABLE_CPU_PINNING": False,
            },
        )
        self._inputs = [_end(one) for one in self._compiled.inputs]
        self._outputs = [_end(one) for one in self._compiled.outputs]
        # A request serves one caller at a time. Taking from and adding to a list is safe between threads.
        self._idle: list[Any] = []

    def get_inputs(self) -> list[_End]:
        return self._inputs

    def get_outputs(self) -> list[_End]:
        return self._outputs

    def get_providers(self) -> list[str]:
        return ["OpenVINO"]

    def run(self, names: Sequence[str] | None, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        try:
            answers = request.infer({name: np.ascontiguousarray(feed) for name, feed in feeds.items()})
            wanted = [output.name for output in self._outputs] if names is None else names
            return [np.array(answers[name]) for name in wanted]  # the request's own memory is used again
        finally:
            self._idle.append(request)

    def run_with_ort_values(self, names: Sequence[str], feeds: Mapping[str, Any]) -> list[_Value]:
        return [_Value(one) for one in self.run(names, {name: feed.numpy() for name, feed in feeds.items()})]


def _end(one: Any) -> _End:
    shape = [size.get_length() if size.is_static else str(size) for size in one.get_partial_shape()]
    kind = one.get_element_type().to_string()
    return _End(one.get_any_name(), shape, _TYPES.get(kind, kind))


def import_openvino() -> Any:
    """The module `openvino`, without what sends a message to its maker at each import."""
    reporter = "openvino_telemetry"
    blocked = "openvino" not in sys.modules and reporter not in sys.modules
    if blocked:
        sys.modules[reporter] = None  # type: ignore[assignment] # as if it were not installed, which it allows for
    try:
        return importlib.import_module("openvino")
    finally:
        if blocked:
            del sys.modules[reporter]
