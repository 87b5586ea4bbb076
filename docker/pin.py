"""Prints what the images install, at the versions of the environment that runs this.

    python docker/pin.py > docker/requirements.txt                    # the light install: both images
    python docker/pin.py train > docker/requirements-train.txt        # what the extra `train` adds: the image for GPUs

Run it in an environment whose tests pass. torch and torchvision are not in it: Dockerfile.gpu names them; nor is
Detectron2, which has a script of its own.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import distribution
from pathlib import Path

import setuptools  # noqa: F401 - brings distutils to the Pythons that have none
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ELSEWHERE = {"torch", "torchvision", "detectron2"}


def requirements(extra: str) -> list[str]:
    """What setup.py asks for: always, or for an extra."""
    from distutils.core import run_setup

    os.chdir(Path(__file__).resolve().parents[1])
    package = run_setup("setup.py", stop_after="init")
    return package.extras_require[extra] if extra else package.install_requires


def pin(texts: list[str], extras: set[str], found: dict[str, str]) -> None:
    """Adds to `found` the versions of these, and of what they need."""
    for text in texts:
        one = Requirement(text)
        if one.marker is not None and not any(one.marker.evaluate({"extra": extra}) for extra in extras or {""}):
            continue
        key = canonicalize_name(one.name)
        # with extras again: they may bring more than an earlier look without them
        if key not in ELSEWHERE and (key not in found or one.extras):
            here = distribution(key)
            found[key] = here.version
            pin(here.requires or [], one.extras, found)


def main(extra: str = "") -> None:
    light: dict[str, str] = {}
    pin(requirements(""), set(), light)
    found = dict(light)
    if extra:
        pin(requirements(extra), set(), found)
    print(f"# Made by docker/pin.py{f' {extra}' if extra else ''}.")
    for name, version in sorted(found.items()):
        if not extra or name not in light:
            print(f"{name}=={version}")


if __name__ == "__main__":
    main(*sys.argv[1:])
