"""`carclf export`: a classifier and its detector as a folder that predicts without torch."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from carclf.classifier.catalogue import find_model
from carclf.classifier.checkpoint import load_model
from carclf.classifier.info import ModelInfo, fingerprint
from carclf.classifier.onnx.folder import CLASSIFIER
from carclf.runs.folder import git_state
from carclf.tools.export.int8 import to_int8
from carclf.tools.export.network import export_classifier
from carclf.tools.export.parity import FLOAT, INT8, Limits, Parity, check_parity
from carclf.tools.export.timing import compare_times
from detection.common.errors import UsageError
from detection.common.files import TEMP_PREFIX, file_sha256, move_over, write_json
from detection.common.output_folder import OutputFolder
from detection.detectors.onnx.folder import (
    BOXES,
    CHECK,
    EXPORT_FILE,
    EXPORT_FORMAT,
    FEATURES,
    MASKS,
    DetectorFacts,
    is_export,
)
from detection.detectors.onnx.session import open_session, probe
from detection.images.find import find_images
from detection.version import __version__

# What an export consists of: a folder that holds anything else is not replaced.
FILES = frozenset([EXPORT_FILE, CLASSIFIER, FEATURES, BOXES, MASKS, CHECK])
DETECTOR = "compact"
PRECISIONS = ("float32", "int8")
DRAWN, DRAWN_FOR_INT8 = 24, 64
_TIMED = 12
_PACKAGES = ("torch", "torchvision", "timm", "onnx", "onnxscript", "onnxruntime", "numpy")
_numbers = itertools.count()


@dataclass(frozen=True)
class Export:
    """What came of it. written: whether the folder is there, which it is not when the answers differ."""

    folder: Path
    parity: Parity
    timing: dict[str, float]
    megabytes: float
    written: bool
    limits: Limits = FLOAT

    @property
    def reason(self) -> str:
        """Why nothing was written, in a sentence."""
        return (
            f"The export does not answer as the model does (wanted: {self.limits}), so '{self.folder}' was not written."
        )


def export_model(
    name: str,
    output: Path,
    photos: Path | None = None,
    limit: int | None = None,
    say: Callable[[str], None] = lambda text: None,
    precision: str = "float32",
) -> Export:
    """Writes the folder `output` when the export answers as the model does.

    name: as `find_model` takes it. photos: a folder of photos to compare on, the first `limit` of them evenly spread;
        None draws some scenes. say: is told each step. precision: one of `PRECISIONS`; for int8 a part of the photos
        calibrates, and only the others compare.
    Raises `UsageError` for a model or detector that can't be exported, and an output that is something else.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"'{precision}' is not a precision: choose {' or '.join(PRECISIONS)}.")
    file = find_model(name).weights
    output = Path(output)
    check_output(output)
    net, info = load_model(file)
    if info.detector != DETECTOR:
        raise UsageError(
            f"'{name}' uses the detector '{info.detector}', and only '{DETECTOR}' can be exported: export a classifier "
            "that was trained with it."
        )
    limits = INT8 if precision == "int8" else FLOAT
    drawn = DRAWN_FOR_INT8 if precision == "int8" else DRAWN
    with _photos(photos, limit, say, drawn) as files, _beside(output) as draft:
        say(f"writes {info.shown_architecture} and the detector {DETECTOR} as ONNX")
        about = _write(net, info, file, name, draft)
        if precision == "int8":
            files = to_int8(draft, files, say)
            about = _as_int8(about, draft)
        say(f"compares them with the model on {len(files)} photos")
        parity, timing = _compare(file, draft, files)
        write_json(draft / EXPORT_FILE, about | {"parity": parity.row(), "seconds_a_photo": timing})
        megabytes = sum(path.stat().st_size for path in draft.iterdir()) / 1e6
        if parity.holds(limits):
            _replace(draft, output)
    return Export(output, parity, timing, megabytes, parity.holds(limits), limits)


def check_output(output: Path) -> None:
    """Raises `UsageError` unless the folder is new, empty, or an export, and nothing beside."""
    folder = OutputFolder(output, is_export)
    ours = folder.check(
        f"'{output}' exists and is not an export: name a new folder.",
        file=f"'{output}' is a file: name a folder for the export.",
    )
    if ours and (more := folder.others(*FILES)):
        raise UsageError(
            f"'{output}' holds '{more[0]}', which is not part of an export: move it away, or name a new folder."
        )


def _write(net, info: ModelInfo, file: Path, name: str, folder: Path) -> dict:
    """All but the figures."""
    from detection.detectors.load import load_as_trained
    from detection.detectors.onnx.export import export_detector

    export_classifier(net, info, folder / CLASSIFIER)
    detector: DetectorFacts = export_detector(load_as_trained(DETECTOR, "cpu"), folder)
    about = {
        "format": EXPORT_FORMAT,
        "model": name if not Path(name).exists() else Path(name).name,  # no path of this machine
        "carclf": __version__,
        "git": git_state(),
        "versions": {package: _version(package) for package in _PACKAGES},
        "classifier": {"fingerprint": fingerprint(file), "info": info.model_dump(mode="json")},
        "detector": detector.model_dump(mode="json"),
        "precision": "float32",
        "files": _digests(folder),
    }
    write_json(folder / EXPORT_FILE, about)
    return about


def _as_int8(about: dict, draft: Path) -> dict:
    """What a float export says of itself, as its networks in int8 have to: their results must not be mixed."""
    detector, classifier = dict(about["detector"]), dict(about["classifier"])
    digests = _digests(draft)
    own = hashlib.sha256("".join(digests[name] for name in (FEATURES, BOXES, MASKS, CHECK)).encode()).hexdigest()
    threshold = f"-{detector['score_threshold']:g}"  # comes last: see `OnnxDetector.with_threshold`
    detector["fingerprint"] = f"{detector['fingerprint'].removesuffix(threshold)}-int8-{own[:12]}{threshold}"
    classifier["fingerprint"] = f"{classifier['fingerprint']}-int8-{digests[CLASSIFIER][:12]}"
    # By these a machine that computes int8 in another way is told from this one.
    probes = {name: probe(open_session(draft / name)) for name in (FEATURES, CHECK, CLASSIFIER)}
    changed = {"precision": "int8", "files": digests, "probes": probes, "classifier": classifier, "detector": detector}
    write_json(draft / EXPORT_FILE, about | changed)
    return about | changed


def _digests(folder: Path) -> dict[str, str]:
    return {name: file_sha256(folder / name).hex() for name in sorted(FILES - {EXPORT_FILE})}


def _compare(file: Path, draft: Path, files: list[Path]) -> tuple[Parity, dict[str, float]]:
    from carclf.recognition.recognizer import CarRecognizer
    from detection.detectors.load import load_detector

    every = 2**31
    # In float32: the detector may otherwise compute in half precision, and the difference would be that.
    model = CarRecognizer(
        str(file),
        load_detector(DETECTOR, "cpu", precision="float32", runtime="torch"),
        "cpu",
        top=every,
        runtime="torch",
        levels=False,
    )
    export = CarRecognizer(str(draft), top=every, levels=False)
    parity = check_parity(model, export, files)
    # The model as it is used, at its fastest.
    fast = CarRecognizer(model.classifier, load_detector(DETECTOR, "cpu", runtime="torch"))
    return parity, compare_times(fast, export, files[:: max(1, len(files) // _TIMED)][:_TIMED])


@contextmanager
def _photos(
    folder: Path | None, limit: int | None, say: Callable[[str], None], drawn: int = DRAWN
) -> Iterator[list[Path]]:
    if folder is not None:
        files = find_images(folder)
        if not files:
            raise UsageError(f"The folder '{folder}' holds no photo (.jpg, .png, .webp, ...): check the path.")
        if limit is not None and limit < len(files):
            files = [files[round(index * len(files) / limit)] for index in range(limit)]
        yield files
        return
    from carclf.datasets.drawn.car_shapes import CAR_SHAPES
    from carclf.datasets.drawn.scenes import draw_scene
    from detection.images.write import save_image

    count = drawn if limit is None else limit
    say(f"no photos are given: drawing {count} scenes")
    with tempfile.TemporaryDirectory(prefix="carclf-export-") as name:
        shapes, files = list(CAR_SHAPES), []
        for number in range(count):
            scene = draw_scene(shapes[number % len(shapes)], np.random.default_rng([7, number]), (480, 640))
            files.append(Path(name) / f"{number:03}.png")
            save_image(files[-1], scene.image)
        yield files


@contextmanager
def _beside(output: Path) -> Iterator[Path]:
    """A folder beside the output, which is gone in the end."""
    draft = output.absolute().parent / f"{TEMP_PREFIX}{os.getpid()}-{next(_numbers)}.export"
    try:
        draft.mkdir(parents=True)
    except OSError as error:
        raise UsageError(f"The folder '{output}' can't be written: {error.strerror}.") from error
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _replace(draft: Path, output: Path) -> None:
    """A rename can't replace a folder that holds something: the old export steps aside first."""
    old = draft.with_suffix(".old")
    if output.exists():
        move_over(output, old)
    try:
        move_over(draft, output)
    except OSError:
        if old.exists():
            move_over(old, output)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # or another package brings the module, as onnxruntime-gpu does
        return getattr(sys.modules.get(package), "__version__", None)
