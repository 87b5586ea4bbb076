"""Detectron2's model zoo, and configs of one's own in its format, as detectors."""

from __future__ import annotations

import difflib
import hashlib
import os
import pickle
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from detection.errors import UsageError
from detection.files import replace_file
from detection.mask_rcnn import COCO_VEHICLES, Detector, DetectorSettings

DEFAULT_THRESHOLD = 0.5


def load_zoo(name: str, device: torch.device, weights: str | Path | None, score_threshold: float | None) -> Detector:
    """A model-zoo model by name (with or without .yaml), or the model of a Detectron2 YAML config file.

    weights: .safetensors, or a .pth that holds tensors only; None takes the zoo's own, fetched once and cached.
    Raises `UsageError` for an unknown name, unusable weights, and when weights are neither given nor to be had.
    """
    from detectron2.modeling import build_model

    cfg, zoo_name = _config(name)
    threshold = DEFAULT_THRESHOLD if score_threshold is None else score_threshold
    cfg.MODEL.WEIGHTS = ""
    cfg.MODEL.DEVICE = str(device)
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = threshold
    if weights is None and zoo_name is None:
        raise UsageError(f"The config '{name}' needs weights: pass --weights FILE.safetensors.")
    path = Path(weights) if weights is not None else fetch_zoo_weights(zoo_name)
    state = read_weights(path)
    model = build_model(cfg)
    _load_state(model, state, path)
    classes = cfg.MODEL.ROI_HEADS.NUM_CLASSES
    kinds = COCO_VEHICLES if classes == 80 else dict.fromkeys(range(classes), "car")
    settings = DetectorSettings(
        name=name,
        kinds=kinds,
        short_side=cfg.INPUT.MIN_SIZE_TEST,
        long_side=cfg.INPUT.MAX_SIZE_TEST,
        score_threshold=threshold,
        rgb=cfg.INPUT.FORMAT == "RGB",
        fingerprint=f"{name}-{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}-{threshold:g}",
    )
    return Detector(model, settings)


def _config(name: str):
    """The Detectron2 config and, for a zoo model, its zoo name (else None)."""
    from detectron2 import model_zoo
    from detectron2.config import CfgNode, get_cfg

    zoo_name = None
    if Path(name).suffix in {".yaml", ".yml"} and Path(name).is_file():
        path = name
    else:
        zoo_name = name.removesuffix(".yaml") + ".yaml"
        try:
            path = model_zoo.get_config_file(zoo_name)
        except RuntimeError as error:
            raise UsageError(f"There is no detector '{name}': {_suggestion(zoo_name)}") from error
    try:
        # merge_from_file would fall back to yaml's unsafe loader, which runs what a file tells it to.
        loaded = CfgNode(CfgNode.load_yaml_with_base(path, allow_unsafe=False))
        cfg = get_cfg()
        cfg.merge_from_other_cfg(loaded)
    except Exception as error:
        raise UsageError(
            f"'{name}' is not a Detectron2 config of this version: {str(error).splitlines()[0]}"
        ) from error
    return cfg, zoo_name


def _suggestion(zoo_name: str) -> str:
    from detectron2 import model_zoo

    folder = Path(model_zoo.__file__).parent / "configs"
    known = [path.relative_to(folder).as_posix() for path in folder.rglob("*.yaml")]
    close = difflib.get_close_matches(zoo_name, known, n=1, cutoff=0.4)
    meant = f" (did you mean {close[0].removesuffix('.yaml')}?)" if close else ""
    return f"use compact, a model-zoo name such as COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x{meant}, or a file."


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors file, or of a .pth file that holds nothing but tensors."""
    if not path.is_file():
        raise UsageError(f"There is no weights file '{path}': check the path.")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise UsageError(f"'{path}' is not a whole safetensors file: fetch it again.") from error
    if path.suffix == ".pth":
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise UsageError(f"'{path}' holds more than tensors, or is damaged: convert it to safetensors.") from error
        state = state.get("model", state)
        return {key: value for key, value in state.items() if isinstance(value, Tensor)}
    raise UsageError(
        f"'{path.name}' is not loaded, since reading it could run code: on a machine with network run"
        " 'python scripts/fetch_zoo_weights.py NAME OUT.safetensors' and pass --weights OUT.safetensors."
    )


def _load_state(model: torch.nn.Module, state: dict[str, Tensor], path: Path) -> None:
    own = model.state_dict()
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    missing = [key for key in missing if not key.startswith("pixel_")]
    wrong = [key for key in own if key in state and own[key].shape != state[key].shape]
    if missing or wrong:
        raise UsageError(f"'{path}' does not fit the model: {(missing + wrong)[0]} is missing or of another shape.")
    model.load_state_dict({key: value for key, value in state.items() if key in own}, strict=False)


def fetch_zoo_weights(zoo_name: str, target: Path | None = None) -> Path:
    """Path of a zoo model's weights as safetensors, downloaded on first use.

    target: where to write them; None is the cache (`CARCLF_CACHE`, else ~/.cache/carclf). Raises `UsageError` when
    the zoo can't be reached.
    """
    from detectron2 import model_zoo

    zoo_name = zoo_name.removesuffix(".yaml") + ".yaml"
    if target is None:
        cache = Path(os.environ.get("CARCLF_CACHE") or Path.home() / ".cache" / "carclf")
        target = cache / "zoo" / Path(zoo_name).with_suffix(".safetensors")
    if target.is_file():
        return target
    try:
        url = model_zoo.get_checkpoint_url(zoo_name)
    except RuntimeError as error:
        raise UsageError(f"The model zoo has no weights for '{zoo_name}': pass --weights FILE.safetensors.") from error
    target.parent.mkdir(parents=True, exist_ok=True)
    download = target.with_suffix(".download")
    try:
        with urllib.request.urlopen(url, timeout=30) as response, download.open("wb") as file:
            while chunk := response.read(1 << 20):
                file.write(chunk)
        tensors = _zoo_tensors(download)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise UsageError(
            f"The weights of '{zoo_name.removesuffix('.yaml')}' can't be fetched here: on a machine with network run"
            f" 'python scripts/fetch_zoo_weights.py {zoo_name.removesuffix('.yaml')} OUT.safetensors', then pass"
            " --weights OUT.safetensors, or use the detector compact, which is bundled."
        ) from error
    finally:
        download.unlink(missing_ok=True)
    from safetensors.torch import save

    replace_file(target, save(tensors))
    return target


class _ArraysOnly(pickle.Unpickler):
    """Reads the zoo's own files, which are pickles of NumPy arrays, and can build nothing else."""

    _ALLOWED = frozenset({"_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer", "OrderedDict", "encode"})
    _MODULES = frozenset({"numpy", "numpy.core.multiarray", "numpy._core.multiarray", "collections", "_codecs"})

    def find_class(self, module: str, name: str):
        if module in self._MODULES and name in self._ALLOWED:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise pickle.UnpicklingError(f"{module}.{name} is not an array")


def _zoo_tensors(path: Path) -> dict[str, Tensor]:
    try:
        with path.open("rb") as file:
            content = _ArraysOnly(file, encoding="latin1").load()
        arrays = content.get("model", content)
    except (pickle.UnpicklingError, EOFError, AttributeError) as error:
        raise UsageError(f"What the model zoo sent is not a file of arrays: {error}. Try again later.") from error
    return {key: torch.from_numpy(np.array(value)) for key, value in arrays.items() if isinstance(value, np.ndarray)}
