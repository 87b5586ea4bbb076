"""A short self-check that chooses how detectors compute on this processor: precision, fused calls, threads."""

from __future__ import annotations

import copy
import functools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from detection.common.machine import usable_cores
from detection.common.networks.device import cpu_has_bfloat16
from detection.detectors.fast.fused import fuse_convolutions, use_bfloat16

# Where the processor has no instructions for it, bfloat16 is taken only if it gains this part of the time.
_LEAST_GAIN = 0.1
# Fused calls are taken unless they are clearly slower: on a busy machine equal times differ by some hundredths even so.
_NOISE = 0.1
_ROUNDS, _SECONDS = 6, 1.0


@dataclass(frozen=True)
class CpuChoice:
    """How to compute on this processor. `milliseconds` of the self-check by variant: eager, fused, bf16."""

    precision: str
    fused: bool
    threads: int
    milliseconds: dict[str, float]

    def __str__(self) -> str:
        times = ", ".join(f"{name} {value:.2f} ms" for name, value in self.milliseconds.items())
        plural = "s" * (self.threads != 1)
        return f"{self.precision}, channels_last, {self.threads} thread{plural} (self-check: {times})"


@functools.cache
def choose_for_cpu() -> CpuChoice:
    """Measures once in a process, in a fraction of a second, and sets torch to the threads that `limit_threads` allows.

    Three variants of the same layers in turns: `eager` (PyTorch's own calls, float32), `fused` (float32) and `bf16`.
    The least time of each counts, as what else runs on the machine only ever adds to it. A variant that fails, or
    whose results are off, is left out: eager always remains.
    """
    threads = limit_threads()
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode(False), torch.no_grad():
        image = torch.randn(1, 48, 40, 112, generator=generator).contiguous(memory_format=torch.channels_last)
        layers = _layers(generator)
        wanted = layers(image)
        variants: dict[str, Callable[[Tensor], Tensor]] = {"eager": layers}
        for name, tolerance in (("fused", 1e-3), ("bf16", 3e-2)):
            variant = _variant(name, layers, image, wanted, tolerance)
            if variant is not None:
                variants[name] = variant
        milliseconds = _least_times(variants, image)
    fused = milliseconds.get("fused", float("inf")) <= (1 + _NOISE) * milliseconds["eager"]
    float32 = milliseconds["fused" if fused else "eager"]
    # Where the hardware has it, a busy machine must not talk it away; elsewhere it has to prove itself.
    limit = 1 + _NOISE if cpu_has_bfloat16() else 1 - _LEAST_GAIN
    bf16 = milliseconds.get("bf16", float("inf")) <= limit * float32
    # bf16 layers run in the fused calls, too; without these the gain was not measured.
    return CpuChoice("bf16" if bf16 and fused else "float32", fused, threads, milliseconds)


def limit_threads() -> int:
    """Keeps torch from starting more threads than this process has cores for; returns how many it uses.

    A container is often given a few cores of a large machine, and torch counts the machine's. `OMP_NUM_THREADS`, when
    set, is somebody's decision and stays.
    """
    if not os.environ.get("OMP_NUM_THREADS") and torch.get_num_threads() > usable_cores():
        torch.set_num_threads(usable_cores())
    return torch.get_num_threads()


def _layers(generator: torch.Generator) -> nn.Sequential:
    """Narrow and wide 1x1 convolutions and a 3x3 one, as in the backbones and pyramids of detectors."""
    layers = nn.Sequential(
        nn.Conv2d(48, 192, 1), nn.ReLU6(), nn.Conv2d(192, 48, 1),
        nn.Conv2d(48, 192, 1), nn.ReLU6(), nn.Conv2d(192, 48, 1),
        nn.Conv2d(48, 48, 3, padding=1), nn.ReLU(),
    ).eval()  # fmt: skip
    for parameter in layers.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return layers.to(memory_format=torch.channels_last)


def _variant(name: str, layers: nn.Module, image: Tensor, wanted: Tensor, tolerance: float) -> nn.Module | None:
    variant = copy.deepcopy(layers)
    try:
        fuse_convolutions(variant)
        if name == "bf16":
            use_bfloat16(variant)
        error = (variant(image) - wanted).abs().max() / wanted.abs().max()
    except Exception:  # another build of torch may lack these calls, and says so in its own way
        return None
    return variant if error <= tolerance else None


def _least_times(variants: dict[str, Callable[[Tensor], Tensor]], image: Tensor) -> dict[str, float]:
    """In one thread, and by its own clock where that is fine enough, so that other work on the machine hardly counts.

    Goes on for `_SECONDS` while the fastest variants are not clearly ahead, as on a busy machine.
    """
    fine = time.get_clock_info("thread_time").resolution < 1e-5
    clock = time.thread_time if fine else time.perf_counter
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        least = dict.fromkeys(variants, float("inf"))
        rounds, end = 0, time.perf_counter() + _SECONDS
        while rounds < _ROUNDS or (time.perf_counter() < end and not _clear(least)):
            rounds += 1
            for name, variant in variants.items():
                start = clock()
                variant(image)
                least[name] = min(least[name], clock() - start)
    finally:
        torch.set_num_threads(threads)
    return {name: 1e3 * value for name, value in least.items()}


def _clear(least: dict[str, float]) -> bool:
    order = [least[name] for name in ("eager", "fused", "bf16") if name in least]
    return all(later <= (1 - _LEAST_GAIN) * earlier for earlier, later in pairwise(order))
