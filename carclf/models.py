"""Where a model's file is by the name that people give, and which models come with carclf."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from carclf.bundled import BEST, BUNDLED, DEFAULT, bundled_file
from carclf.exported import EXPORT_FILE, is_export
from carclf.sizes import written
from detection.errors import UsageError

if TYPE_CHECKING:
    from carclf.classifier import Classifier
    from carclf.onnx_classifier import OnnxClassifier


def find_model(name: str) -> Path:
    """The file of a bundled classifier, of a run folder, of an export, or itself.

    Raises `UsageError` with what to do.

    A bundled name comes first: a folder of that name is reached as `./stanford196`.
    """
    if name == "bundled" or name in BUNDLED:
        file = bundled_file(name)
        if not file.is_file():
            raise UsageError(f"The bundled classifier '{name}' is not installed: reinstall carclf, or train a model.")
        return file
    path = Path(name)
    if is_export(path):
        return path / EXPORT_FILE
    if path.is_dir():
        if not (path / BEST).is_file():
            raise UsageError(f"The folder '{name}' holds no {BEST}: it is no run folder, or its training never ended.")
        return path / BEST
    if not path.exists():
        raise UsageError(
            f"There is no model '{name}': give {', '.join(['bundled', *BUNDLED])}, a run folder or a .safetensors file."
        )
    if path.suffix != ".safetensors":
        raise UsageError(f"'{name}' is not a .safetensors file: only those are read, since others can hold code.")
    return path


def load_classifier(name: str, device: str = "auto") -> Classifier | OnnxClassifier:
    """A classifier by whatever `find_model` takes; of an export without torch. Raises `UsageError`."""
    path = find_model(name)
    if path.name == EXPORT_FILE:
        from carclf.onnx_classifier import OnnxClassifier

        return OnnxClassifier.load(path.parent, device)
    from carclf.classifier import Classifier

    return Classifier.load(path, device)


def list_models() -> list[dict]:
    """One row for each bundled classifier: name, default, about, classes, architecture, image_size, megabytes,
    background, and the figures that its file carries."""
    from carclf.checkpoint import read_info

    rows = []
    for name, about in BUNDLED.items():
        file = bundled_file(name)
        if not file.is_file():
            continue
        info = read_info(file)
        rows.append(
            {
                "name": name,
                "default": name == DEFAULT,
                "about": about,
                "classes": len(info.classes),
                "architecture": info.shown_architecture,
                "image_size": written(info.image_size),
                "megabytes": round(file.stat().st_size / 1e6, 1),
                "background": info.style.background,
                "metrics": info.metrics,
            }
        )
    return rows
