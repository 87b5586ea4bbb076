"""The classifiers that come with carclf: their names and files. Imports nothing that may be missing."""

from __future__ import annotations

from pathlib import Path

WEIGHTS = Path(__file__).parent

# What each knows, in a few words; all else about it is in its file and its card.
BUNDLED = {
    "stanford196": "196 makes, models and years of the American market, 1991-2012 (Stanford Cars)",
    "dealer19": "19 models of the European market, as dealers and makers photograph them",
    # Kept, so that what was measured with it can be measured again.
    "stanford196@0.4": "the stanford196 of version 0.4.0",
}
DEFAULT = "stanford196"
BEST = "best.safetensors"  # the classifier in a run folder


def graph_of(file: Path) -> Path:
    """The network of a bundled classifier without its weights, as ONNX: beside its file."""
    return file.with_suffix(".onnx")


def is_bundled(file: Path) -> bool:
    """Whether it is the file of a bundled classifier, whichever way its path is written."""
    return file.stem in BUNDLED and file.resolve() == bundled_file(file.stem).resolve()


def bundled_file(name: str) -> Path:
    """The weights of a bundled classifier; `bundled` is the default one."""
    return WEIGHTS / f"{DEFAULT if name == 'bundled' else name}.safetensors"
