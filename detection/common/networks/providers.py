"""What ONNX graphs can be computed with here. Imports no engine before one is asked for a device."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

from detection.common.console import say
from detection.common.errors import UsageError, need


def check_onnx_device(runtime: str, device: str) -> None:
    """Raises `UsageError` where OpenVINO or the device is not there."""
    if runtime == "openvino":
        need("openvino", "The runtime openvino", "openvino")
        if device not in ("auto", "cpu"):
            raise UsageError(
                f"The runtime openvino runs on the CPU only: leave '{device}' out, or take another runtime."
            )
    onnx_providers(device)


def onnx_providers(device: str) -> list[Any]:
    """What ONNX Runtime is to compute with, first choice first. device: auto, cpu, cuda or cuda:N; auto is CUDA where
    this build of ONNX Runtime has it. Raises `UsageError` for a device that can't be had, as torch's devices do."""
    cpu, cuda = "CPUExecutionProvider", "CUDAExecutionProvider"
    if device == "cpu":
        return [cpu]
    named = re.fullmatch(r"cuda(?::(\d+))?", device)
    if device != "auto" and named is None:
        raise UsageError(f"'{device}' is not a device: write auto, cpu, cuda or cuda:1.")
    import onnxruntime

    if cuda not in onnxruntime.get_available_providers():
        if named:
            raise _no_gpu(device)
        return [cpu]
    number = int(named[1] or 0) if named else 0
    return [(cuda, {"device_id": number, "use_tf32": 0}), cpu]  # TF32 rounds: boxes would move


def check_provider(taken: Sequence[str], device: str) -> None:
    """What a session says that it took, after `onnx_providers`: CUDA can be built in without a GPU that works.

    Raises `UsageError` where a GPU was named; with `auto` there is a sentence on stderr, and the CPU.
    """
    if any(name.startswith("CUDA") for name in taken) or len(onnx_providers(device)) == 1:
        return
    if device != "auto":
        raise _no_gpu(device)
    _say_once("ONNX Runtime finds no GPU that works, so it runs on the CPU.")


def _no_gpu(device: str) -> UsageError:
    return UsageError(
        f"The device '{device}' is not there for ONNX Runtime: write cpu or auto, take the runtime torch, or install "
        "onnxruntime-gpu in place of onnxruntime."
    )


@functools.cache
def _say_once(text: str) -> None:
    say(text)
