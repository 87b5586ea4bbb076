"""Files of weights: reading them without running anything, and fetching the model zoo's."""

from __future__ import annotations

import os
import pickle
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from detection.common.errors import UsageError
from detection.common.files import cache_folder, user_cache_folder
from detection.common.networks.pickles import read_pickled_arrays
from detection.common.networks.weights import write_safetensors

_HOST = "https://dl.fbaipublicfiles.com/detectron2/"
_BACKBONES = "ImageNetPretrained/"


def fetch_zoo_weights(zoo_name: str, target: Path | None = None) -> Path:
    """Path of a zoo model's weights as safetensors, downloaded on first use.

    zoo_name: also `ImageNetPretrained/MSRA/R-50` and the like, the backbones that zoo models were trained from.
    target: where to write them; None is the cache (`cache_folder`). Raises `UsageError` when the zoo can't be reached.
    """
    from detectron2 import model_zoo

    zoo_name = zoo_name.removesuffix(".yaml")
    if zoo_name.startswith(_BACKBONES):
        return _fetch(f"{_HOST}{zoo_name}.pkl", zoo_name, target, "--weights")
    try:
        url = model_zoo.get_checkpoint_url(f"{zoo_name}.yaml")
    except RuntimeError as error:
        raise UsageError(f"The model zoo has no weights for '{zoo_name}': pass --weights FILE.safetensors.") from error
    return _fetch(url, zoo_name, target, "--weights")


def fetch_backbone_weights(reference: str) -> Path:
    """Path of the ImageNet weights that a zoo config names in MODEL.WEIGHTS (detectron2://ImageNetPretrained/...)."""
    name = reference.removeprefix("detectron2://").removesuffix(".pkl")
    if not name.startswith(_BACKBONES):
        raise UsageError("This config names no ImageNet weights of the model zoo: write init=random or a file.")
    return _fetch(f"{_HOST}{name}.pkl", name, None, "init=")


def _fetch(url: str, name: str, target: Path | None, option: str) -> Path:
    if target is None:
        target = _in_cache(Path("zoo", f"{name}.safetensors"))
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    download = target.with_suffix(".download")
    try:
        with urllib.request.urlopen(url, timeout=30) as response, download.open("wb") as file:
            while chunk := response.read(1 << 20):
                file.write(chunk)
        tensors = _zoo_tensors(download)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        separator = "" if option.endswith("=") else " "
        raise UsageError(
            f"The weights of '{name}' can't be fetched here: on a machine with network run"
            f" 'python scripts/fetch_zoo_weights.py {name} OUT.safetensors', then pass"
            f" {option}{separator}OUT.safetensors, or use the detector compact, which is bundled."
        ) from error
    finally:
        download.unlink(missing_ok=True)
    write_safetensors(target, tensors)
    return target


def _in_cache(file: Path) -> Path:
    """Where a file lies or goes. What versions before 0.5 fetched, which knew no `XDG_CACHE_HOME`, stays found."""
    target = cache_folder() / file
    if os.environ.get("CARCLF_CACHE") or target.is_file():
        return target
    before = user_cache_folder() / file
    return before if before.is_file() else target


def _zoo_tensors(path: Path) -> dict[str, Tensor]:
    try:
        content = read_pickled_arrays(path)
        arrays = content.get("model", content.get("blobs", content))  # blobs: Caffe2
    except (pickle.UnpicklingError, EOFError, AttributeError) as error:
        raise UsageError(f"What the model zoo sent is not a file of arrays: {error}. Try again later.") from error
    return {key: torch.from_numpy(np.array(value)) for key, value in arrays.items() if isinstance(value, np.ndarray)}
