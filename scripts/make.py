"""The targets of the Makefile, for machines without make: `python scripts/make.py demo`, `... test` and the others.

    python scripts/make.py [TARGET ...] [NAME=VALUE ...]

Names: PHOTOS (of `demo`), VENV, VENV_OPTIONS and PYTHON; they may stand in the environment as well. Without a target it
lists them. The Makefile calls this script, so both do the same. Standard library only.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The environment is stale exactly when one of these changes, or its place, whatever a checkout does to their times.
INPUTS = ("setup.py", "pyproject.toml", "detection/version.py", "scripts/install_detectron2.py")
WINDOWS = os.name == "nt"
OLDEST, NEWEST = (3, 10), (3, 12)
INSTALL_VENV = "its venv module (Debian, Ubuntu: apt-get install python3-venv), or name"

# A file's tests stay in one process: many share what a fixture has made. Each process may take 2 GB.
SIDE_BY_SIDE = ["--numprocesses", "auto", "--maxprocesses", "4", "--dist", "loadfile"]
# Target: what it is for, and its commands in the environment.
TARGETS: dict[str, tuple[str, list[list[str]]]] = {
    "help": ("list the targets", []),
    "venv": ("build .venv when it is missing or stale (the other targets do it by themselves)", []),
    "test": (
        "run the fast tests, a process per core (offline, about four minutes on 2 cores)",
        [["python", "-m", "pytest", "-m", "not slow and not gpu", *SIDE_BY_SIDE]],
    ),
    "test-all": ("run all tests but those that need a GPU", [["python", "-m", "pytest", "-m", "not gpu"]]),
    "test-light": (
        "build the light install in an environment of its own, measure it, and run its tests there",
        [["python", "benchmarks/install_size.py", "--light", "--test"]],
    ),
    "test-queue": (
        "run the tests of the queue, with a RabbitMQ server that they start",
        [["python", "-m", "pytest", "tests/carclf/service/broker"]],
    ),
    "test-notebooks": (
        "run the notebooks of docs/notebooks on drawn cars",
        [["python", "-m", "pytest", "-m", "slow", "tests/test_notebooks.py", "-k", "not real", "--numprocesses", "2"]],
    ),
    "lint": (
        "check style, format, types, which room imports which, and the map of the rooms",
        [
            ["python", "-m", "ruff", "check", "."],
            ["python", "-m", "ruff", "format", "--check", "."],
            ["python", "-m", "mypy"],
            ["python", "-m", "mypy", "--platform", "win32"],
            ["lint-imports", "--no-logo"],
            ["python", "scripts/draw_architecture.py", "--check"],
        ],
    ),
    "format": (
        "mend style and format",
        [["python", "-m", "ruff", "check", "--fix", "."], ["python", "-m", "ruff", "format", "."]],
    ),
    "demo": (
        "the whole job on drawn scenes; PHOTOS=dir names the cars on your own photos instead",
        [["carclf", "demo"]],
    ),
    "doctor": ("say what is installed and what mends what is missing", [["carclf", "doctor"]]),
    "clean": ("remove caches and build leftovers; .venv, runs and data stay", []),
}
LEFTOVERS = ("build", "dist", ".pytest_cache", ".ruff_cache", ".mypy_cache", ".import_linter_cache", ".hypothesis")


class MakeError(Exception):
    """Its message is one sentence that says what is wrong and what to do."""


def main(arguments: list[str]) -> int:
    settings = dict(os.environ)
    settings.update(argument.split("=", 1) for argument in arguments if "=" in argument)
    targets = [argument for argument in arguments if "=" not in argument]
    os.environ.setdefault("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    os.chdir(ROOT)
    try:
        for target in targets or ["help"]:
            make(target, settings)
    except MakeError as error:
        print(f"make: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        return error.returncode if error.returncode > 0 else 1
    except KeyboardInterrupt:
        return 130
    return 0


def make(target: str, settings: dict[str, str]) -> None:
    """Does what the target is for. Raises `MakeError`, and CalledProcessError where a command failed."""
    if target in ("-h", "--help"):
        target = "help"
    if target == "help":
        print("make TARGET, or python scripts/make.py TARGET, where TARGET is one of")
        for name, (what, _) in TARGETS.items():
            print(f"  {name:<10} {what}")
        return
    if target not in TARGETS:
        raise MakeError(f"there is no target '{target}': choose one of {', '.join(TARGETS)}.")
    environment = Path(settings.get("VENV") or ".venv")
    if target == "clean":
        clean(environment)
        return
    prepare(environment, settings)
    commands = TARGETS[target][1]
    if target == "demo" and settings.get("PHOTOS"):
        commands = [["carclf", "predict", settings["PHOTOS"]]]
    for name, *rest in commands:
        run([program(environment, name), *rest])


def prepare(environment: Path, settings: dict[str, str]) -> None:
    """Builds the environment, or completes it, where its stamp is not that of today's files.

    An environment that runs is kept and completed (no network is needed for what it has); one that does not is made
    anew. Where setuptools is there already, the build uses it: no isolated download.
    """
    stamp = environment / f".ready-{fingerprint(environment)}"
    if stamp.is_file():
        return
    python = program(environment, "python")
    if not works(python, "-m", "pip", "--version"):
        maker = settings.get("PYTHON") or sys.executable
        check_maker(maker)
        print(f"Building {environment} with {maker}: some minutes and about 7 GB, once.", flush=True)
        options = settings.get("VENV_OPTIONS", "").split()
        if subprocess.run([maker, "-m", "venv", "--clear", *options, str(environment)]).returncode:
            raise MakeError(
                f"{maker} could not make {environment}: install {INSTALL_VENV} another Python: PYTHON=/path/to/python"
            )
    here = ["--no-build-isolation"] if works(python, "-c", "import setuptools.command.bdist_wheel") else []
    run([python, "-m", "pip", "install", "-e", ".[dev]", *here])
    run([python, "scripts/install_detectron2.py"])
    for old in environment.glob(".ready-*"):
        old.unlink()
    stamp.touch()


def check_maker(python: str) -> None:
    """Raises `MakeError` for a Python that can't make an environment, or not one that carclf runs in."""
    code = f"import sys, venv, ensurepip; sys.exit(not {OLDEST} <= sys.version_info[:2] <= {NEWEST})"
    if not works(python, "-c", code):
        raise MakeError(
            f"'{python}' is no Python 3.10-3.12 that can make an environment: install one together with {INSTALL_VENV} "
            "one: PYTHON=/path/to/python"
        )


def fingerprint(environment: Path) -> str:
    """Of what the environment is made from, and of where it lies."""
    digest = hashlib.sha256(str(ROOT / environment).encode())
    for name in INPUTS:
        file = ROOT / name
        digest.update(file.read_bytes() if file.is_file() else b"")
    return digest.hexdigest()[:16]


def program(environment: Path, name: str) -> str:
    """A program of the environment, on Windows and elsewhere."""
    return str(environment / "Scripts" / f"{name}.exe" if WINDOWS else environment / "bin" / name)


def works(*command: str) -> bool:
    """Whether it ran and ended well; a name that nothing answers to did not."""
    try:
        return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


def run(command: list[str]) -> None:
    """As make does: says the command, runs it. Raises CalledProcessError."""
    print(subprocess.list2cmdline(command), flush=True)
    subprocess.run(command, check=True)


def clean(environment: Path) -> None:
    """Removes what builds, tests and checks leave; never what lies in the environment."""
    for name in (*LEFTOVERS, *(str(path) for path in Path().glob("*.egg-info"))):
        shutil.rmtree(name, ignore_errors=True)
    keep = environment.resolve()
    for folder, below, _ in os.walk("."):
        below[:] = [name for name in below if Path(folder, name).resolve() != keep]
        if "__pycache__" in below:
            below.remove("__pycache__")
            shutil.rmtree(os.path.join(folder, "__pycache__"), ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
