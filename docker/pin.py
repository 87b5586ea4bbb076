"""Prints docker/requirements.txt: what the images install, at the versions of the environment that runs this.

    python docker/pin.py > docker/requirements.txt

Run it in an environment whose tests pass. torch and torchvision are not in it: the images take them from elsewhere,
one for the CPU, one for CUDA; nor is Detectron2, which has a script of its own.
"""

from __future__ import annotations

import os
from importlib.metadata import distribution
from pathlib import Path

import setuptools  # noqa: F401 - brings distutils to the Pythons that have none
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ELSEWHERE = {"torch", "torchvision", "detectron2"}
EXTRAS = ("serve", "queue")


def requirements() -> list[str]:
    """What setup.py asks for."""
    from distutils.core import run_setup

    os.chdir(Path(__file__).resolve().parents[1])
    package = run_setup("setup.py", stop_after="init")
    return [*package.install_requires, *(one for extra in EXTRAS for one in package.extras_require[extra])]


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


def main() -> None:
    found: dict[str, str] = {}
    pin(requirements(), set(), found)
    print("# Made by docker/pin.py.")
    for name, version in sorted(found.items()):
        print(f"{name}=={version}")


if __name__ == "__main__":
    main()
