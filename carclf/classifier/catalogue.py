"""The one door to classifiers: bundled ones, run folders, files, exports and garages, by the name that people give."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from carclf.classifier.garage.file import is_garage, read_garage, read_garage_info
from carclf.classifier.garage.names import joined_info
from carclf.classifier.garage.prior import Prior, prior_file, read_prior
from carclf.classifier.info import ModelInfo, read_info
from carclf.classifier.onnx.folder import read_classifier
from carclf.weights import BEST, BUNDLED, DEFAULT, bundled_file, is_bundled
from detection.common.errors import UsageError, need
from detection.common.files import user_path
from detection.common.networks.runtime import check_export_runtime, choose_engine
from detection.common.places.address import without_secrets
from detection.common.places.kept import copied_here
from detection.detectors.onnx.folder import EXPORT_FILE, is_export

if TYPE_CHECKING:
    from carclf.classifier.contract import Classifier


@dataclass(frozen=True)
class FoundModel:
    """A classifier on disk. path: of `weights` and of a `garage` the file, of an `export` its folder. beside: the
    folder that a garage was taken from, where `path` is a copy."""

    path: Path
    kind: Literal["weights", "export", "garage"]
    beside: Path | None = None

    @property
    def is_export(self) -> bool:
        return self.kind == "export"

    @property
    def runs_by_onnx(self) -> bool:
        """Whether ONNX Runtime can run it."""
        return self.network.is_export or is_bundled(self.network.path)

    @property
    def is_garage(self) -> bool:
        return self.kind == "garage"

    @property
    def network(self) -> FoundModel:
        """What holds the network: of a garage its base, else itself. Raises `UsageError` where that is not there."""
        return self.base if self.is_garage else self

    @property
    def base(self) -> FoundModel:
        """The classifier that a garage stands on. Raises `UsageError` where it is not there."""
        name = read_garage_info(self.path).base
        bundled = name in BUNDLED
        place = name if bundled else str((self.beside or self.path.parent) / name)
        if not bundled and not user_path(place).exists():
            raise UsageError(f"The garage '{self.path}' stands on '{place}', which is not there: put it back.")
        found = find_model(place)
        if found.is_garage:
            raise UsageError(f"The garage '{self.path}' stands on another garage, '{place}': learn it again.")
        return found

    @property
    def weights(self) -> Path:
        """The .safetensors file. Raises `UsageError` for an export and a garage, which only predict."""
        if self.is_export:
            raise UsageError(f"'{self.path}' is an export, which only predicts: name the model it was made from.")
        if self.is_garage:
            raise UsageError(
                f"'{self.path}' is a garage, which only predicts: name the model that it stands on, "
                f"'{read_garage_info(self.path).base}'."
            )
        return self.path

    def prior(self, loaded: Classifier) -> Prior | None:
        """What is known of its vectors, for garages; None where there is no such file. loaded: the classifier of it.

        Raises `UsageError` for a file that is damaged or of another classifier.
        """
        file = prior_file(self.path)
        if self.kind != "weights" or not file.is_file():
            return None
        return read_prior(file, loaded.fingerprint, len(loaded.classes))

    def info(self) -> ModelInfo:
        """What it says of itself. Raises `UsageError` when it is damaged, or no classifier of carclf."""
        if self.is_export:
            return read_classifier(self.path)[0]
        if self.is_garage:
            return joined_info(self.base.info(), read_garage_info(self.path))
        return read_info(self.path)

    def load(self, device: str = "auto", runtime: str = "auto", threads: int | None = None) -> Classifier:
        """The classifier, by the engine that `load_classifier` says. Raises `UsageError`."""
        if self.is_garage:
            from carclf.classifier.garage.classifier import GarageClassifier

            garage, base = read_garage(self.path), self.base
            classifier = base.load(device, runtime, threads)
            return GarageClassifier(
                classifier, garage, self.path, base.prior(classifier) if garage.info.prior else None
            )
        if self.is_export:
            from carclf.classifier.onnx.classifier import OnnxClassifier

            check_export_runtime(str(self.path), runtime, device)
            return OnnxClassifier.load(self.path, device, threads, runtime)
        hindrance = "" if self.runs_by_onnx else "which is neither bundled nor an export (`carclf export` makes one)"
        if choose_engine(f"'{self.path}'", runtime, device, hindrance) == "onnx":
            from carclf.classifier.onnx.classifier import OnnxClassifier

            return OnnxClassifier.bundled(self.path, threads, runtime, device)
        need("timm", f"Running '{self.path}' by torch")
        from carclf.classifier.classifier import TorchClassifier

        return TorchClassifier.load(self.path, device)


def find_model(name: str) -> FoundModel:
    """A bundled classifier, that of a run folder, an export, a .safetensors file, or a garage.

    A bundled name comes first: a folder of that name is reached as `./stanford196`. What an address names is copied to
    this machine. Raises `UsageError` with what to do when there is no such model.
    """
    if name == "bundled" or name in BUNDLED:
        file = bundled_file(name)
        if not file.is_file():
            raise UsageError(f"The bundled classifier '{name}' is not installed: reinstall carclf, or train a model.")
        return FoundModel(file, "weights")
    there = user_path(name)
    name = without_secrets(str(name))
    path = copied_here(there, BEST, EXPORT_FILE, "*.onnx")
    if is_export(path):
        return FoundModel(path, "export")
    if path.is_dir():
        if not (path / BEST).is_file():
            raise UsageError(f"The folder '{name}' holds no {BEST}: it is no run folder, or its training never ended.")
        return FoundModel(path / BEST, "weights")
    if not path.exists():
        raise UsageError(
            f"There is no model '{name}': give {', '.join(['bundled', *BUNDLED])}, a run folder or a .safetensors file."
        )
    if is_garage(path):
        return FoundModel(path, "garage", None if there is path else there.parent)
    if path.suffix != ".safetensors":
        raise UsageError(f"'{name}' is not a .safetensors file: only those are read, since others can hold code.")
    return FoundModel(path, "weights")


def load_classifier(name: str, device: str = "auto", runtime: str = "auto", threads: int | None = None) -> Classifier:
    """A classifier by whatever `find_model` takes.

    runtime: "auto" takes ONNX Runtime for bundled classifiers and for exports on a CPU, and torch for everything else;
    "onnx", "openvino" and "torch" insist. Where OpenVINO is installed, "auto" takes it in place of ONNX Runtime if a
    self-test has found it faster. threads: that ONNX Runtime computes in; None: one per core. Raises `UsageError`.
    """
    return find_model(name).load(device, runtime, threads)


def list_models() -> list[dict]:
    """One row per bundled classifier: name, default, about, classes, architecture, image_size, megabytes, background,
    and the figures that its file carries."""
    rows = []
    for name, about in BUNDLED.items():
        file = bundled_file(name)
        if not file.is_file():
            continue
        info = FoundModel(file, "weights").info()
        rows.append(
            {
                "name": name,
                "default": name == DEFAULT,
                "about": about,
                "classes": len(info.classes),
                "architecture": info.shown_architecture,
                "image_size": info.shown_size,
                "megabytes": round(file.stat().st_size / 1e6, 1),
                "background": info.style.background,
                "metrics": info.metrics,
            }
        )
    return rows
