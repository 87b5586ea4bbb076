"""Disk and seconds of both installs, each built in an environment of its own and thrown away.

    python benchmarks/install_size.py [--light] [--no-compile] [--test] [--image] [--measure ENVIRONMENT]

Needs a package index. The full install takes minutes and about 7 GB: `--light` leaves it out, and `--measure` takes
its size from an environment that is there. `--test` runs the tests of the light install in it (marker `light`).
Counted is what the install adds to site-packages, carclf and its weights included; pip and setuptools, which every
environment begins with, are not. `--image` adds up what the layers of the CPU image hold, since building one needs a
Docker daemon. Standard library only.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What the packages are built from. From a copy: a build leaves folders behind, whose old files a next one would pack.
SOURCE = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "carclf", "detection", "configs")
FULL = ".[dev]"
# What Dockerfile removes from site-packages.
LEFT_OUT = ("pandas/tests",)
# python:3.12-slim-bookworm, unpacked. Not measured here: people report 113 to 150 MB for python:3.x-slim.
BASE_IMAGE = 150
SHOWN = 12  # largest parts
OWN = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "wheel")  # of every environment


@dataclass(frozen=True)
class Install:
    """name: what was installed; seconds: None where it was there already; parts: bytes on disk by top folder."""

    name: str
    seconds: float | None
    parts: Counter[str] = field(repr=False)

    @property
    def megabytes(self) -> float:
        return sum(self.parts.values()) / 1e6


def build(target: str, folder: Path, compile: bool = True) -> Install:
    """Makes an environment in `folder` and installs `target`, `.` or `.[EXTRA]`, in it. Raises CalledProcessError.

    compile: as pip does by itself; without it, Python writes the byte code of what it imports, when it does.
    """
    source = folder.parent / f"{folder.name}-source"
    copy_source(source)
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    command = [python_of(folder), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    started = time.perf_counter()
    subprocess.run([*command, *([] if compile else ["--no-compile"]), target], cwd=source, check=True)
    seconds = time.perf_counter() - started
    if target == FULL:
        subprocess.run([python_of(folder), ROOT / "scripts" / "install_detectron2.py"], check=True)
        seconds = time.perf_counter() - started
    shutil.rmtree(source)
    return Install(f"pip install{'' if compile else ' --no-compile'} '{target}'", seconds, parts_of(folder))


def copy_source(to: Path) -> None:
    """What `pip install .` needs of the repository."""
    to.mkdir(parents=True)
    for name in SOURCE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, to / name)


def python_of(environment: Path) -> Path:
    """Its Python, on Windows and elsewhere."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def parts_of(environment: Path) -> Counter[str]:
    """Bytes on disk of each thing in site-packages, pip and setuptools apart."""
    things = (thing for place in site_packages(environment) for thing in place.iterdir())
    return Counter({thing.name: on_disk(thing) for thing in things if not is_own(thing.name)})


def site_packages(environment: Path) -> list[Path]:
    """On Windows and elsewhere."""
    places = [environment / "Lib" / "site-packages", *environment.glob("lib/python*/site-packages")]
    return [place for place in places if place.is_dir()]


def is_own(name: str) -> bool:
    return name.split("-")[0] in OWN


def on_disk(path: Path) -> int:
    """Bytes that a file, or all below a folder, takes on the disk; of a link only the link."""
    total = 0
    for one in (path, *(path.rglob("*") if path.is_dir() and not path.is_symlink() else ())):
        status = one.lstat()
        total += getattr(status, "st_blocks", -(-status.st_size // 512)) * 512  # Windows tells no blocks
    return total


def table(installs: list[Install]) -> str:
    lines = ["| install | MB on disk | seconds | largest parts, MB |", "| --- | ---: | ---: | --- |"]
    for one in installs:
        largest = ", ".join(f"{name} {size / 1e6:.0f}" for name, size in one.parts.most_common(SHOWN))
        seconds = "" if one.seconds is None else f"{one.seconds:.0f}"
        lines.append(f"| `{one.name}` | {one.megabytes:.0f} | {seconds} | {largest} |")
    return "\n".join(lines)


def image(light: Install, environment: Path) -> str:
    """The layers of the image that Dockerfile makes, from an environment that holds the same packages."""
    project = sum(size for name, size in light.parts.items() if name.startswith(("carclf", "detection")))
    (place,) = site_packages(environment)
    left_out = sum(on_disk(place / name) for name in LEFT_OUT)
    pip = sum(on_disk(thing) for thing in place.glob("pip*") if is_own(thing.name))
    layers = {
        "base image (python slim, stated and not measured)": BASE_IMAGE * 1e6,
        "packages of Debian: none": 0.0,
        "packages": light.megabytes * 1e6 - project - left_out,
        "pip": float(pip),
        "carclf and its weights": float(project),
    }
    lines = ["| layer of the CPU image | MB |", "| --- | ---: |"]
    lines += [f"| {name} | {size / 1e6:.0f} |" for name, size in layers.items()]
    return "\n".join([*lines, f"| together | {sum(layers.values()) / 1e6:.0f} |"])


def run_light_tests(environment: Path) -> int:
    """pytest beside the install, and the tests marked `light` with the installed copy; returns pytest's exit code."""
    python = python_of(environment)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "pytest>=8"], check=True)
    return subprocess.run([python, "-m", "pytest", "-m", "light", "tests/light"], cwd=ROOT).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--light", action="store_true", help="leave the full install out")
    parser.add_argument("--no-compile", action="store_true", help="install without byte code, too")
    parser.add_argument("--test", action="store_true", help="run the tests of the light install in it")
    parser.add_argument("--image", action="store_true", help="add up the layers of the CPU image")
    parser.add_argument("--measure", type=Path, help="an environment with the full install, which is only measured")
    options = parser.parse_args()
    installs, code = [], 0
    with tempfile.TemporaryDirectory(prefix="carclf-install-", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        installs.append(build(".", folder / "light"))
        print(table(installs), flush=True)
        if options.image:
            print(image(installs[0], folder / "light"), flush=True)
        if options.test:
            code = run_light_tests(folder / "light")
        shutil.rmtree(folder / "light", ignore_errors=True)
        if options.no_compile:
            installs.append(build(".", folder / "plain", compile=False))
            shutil.rmtree(folder / "plain", ignore_errors=True)
        if options.measure:
            installs.append(Install(f"{options.measure} as it is", None, parts_of(options.measure)))
        elif not options.light:
            installs.append(build(FULL, folder / "full"))
    if len(installs) > 1:
        print(table(installs))
    return code


if __name__ == "__main__":
    sys.exit(main())
