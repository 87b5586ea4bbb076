"""Installs Detectron2 into the Python that runs this script.

    python scripts/install_detectron2.py [--source auto|pypi|git] [--sdist FILE]

auto  keeps a Detectron2 that can be imported already; otherwise tries pypi, then git.
pypi  pure Python, from the hash-checked source archive of release 0.6 on the package index. No compiler is needed:
      Mask R-CNN takes its ROIAlign and NMS from torchvision. (`--sdist FILE` takes the archive from a file.)
git   today's official main branch with its C++ ops; needs git, a C++ compiler and the official repository.

Run it after `pip install ".[train]"`, which brings torch and all that Detectron2 needs. Standard library only.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

RELEASE = "pb1-detectron2==0.6"
# The archive whose Python files are identical to the official tag v0.6 (compared file by file).
SHA256 = "5d2e9e51e523ec72f6a31cca04b0a515492e9514b773a3d134cedc0677170b29"
REPOSITORY = "git+https://github.com/facebookresearch/detectron2.git"

SETUP = """\
from setuptools import find_packages, setup

setup(
    name="detectron2",
    version="0.6",
    description="Detectron2 0.6 as pure Python: no C++ ops",
    url="https://github.com/facebookresearch/detectron2",
    license="Apache-2.0",
    python_requires=">=3.7",
    packages=find_packages(include=["detectron2", "detectron2.*"]),
    package_data={"detectron2.model_zoo": ["configs/**/*.yaml", "configs/**/*.py"]},
    install_requires=[
        "torch", "torchvision", "Pillow", "matplotlib", "pycocotools", "termcolor", "yacs", "tabulate", "cloudpickle",
        "tqdm", "tensorboard", "fvcore", "iopath", "omegaconf", "setuptools<81",
    ],
)
"""

PYPROJECT = """\
[build-system]
requires = ["setuptools<81"]
build-backend = "setuptools.build_meta"
"""

STAND_IN = '''\
"""Stand-in for the C++ ops, which this installation does without.

Mask R-CNN with upright boxes needs none of them. What does need them (rotated boxes, deformable convolutions, fast COCO
evaluation) fails with an AttributeError that names the missing op.
"""
'''


class InstallError(RuntimeError):
    """The installation by one source failed: one sentence that says why."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, usage="%(prog)s [options]"
    )
    parser.add_argument("--source", choices=("auto", "pypi", "git"), default="auto")
    parser.add_argument("--sdist", type=Path, metavar="FILE", help="the archive of release 0.6, instead of the index")
    options = parser.parse_args(arguments)
    if options.sdist is not None and options.source == "git":
        parser.error("--sdist goes with --source pypi, not with git")

    if options.source == "auto" and options.sdist is None:
        version, _ = probe()
        if version is not None:
            print(f"Detectron2 {version} can be imported: nothing to do.")
            return 0
        sources = ("pypi", "git")
    else:
        sources = ("git",) if options.source == "git" else ("pypi",)

    failures = []
    for source in sources:
        try:
            if source == "pypi":
                install_release(options.sdist)
            else:
                install_git()
            version, trouble = probe()
            if version is None:
                raise InstallError(f"it is installed, but `import detectron2.modeling` fails: {trouble}")
        except InstallError as failure:
            failures.append(f"  {source}: {failure}")
            continue
        print(f"Detectron2 {version} is installed.")
        return 0
    print(advice(failures), file=sys.stderr)
    return 1


def probe() -> tuple[str | None, str]:
    """Tries Detectron2 in a new process; returns (version, "") or (None, last line of the error)."""
    code = "import detectron2, detectron2.modeling, detectron2.model_zoo; print(detectron2.__version__)"
    # Another folder than the current one: a source checkout named detectron2 must not pass for an installation.
    with tempfile.TemporaryDirectory() as elsewhere:
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=elsewhere)
    if answer.returncode == 0:
        return answer.stdout.strip().splitlines()[-1], ""
    return None, (answer.stderr.strip().splitlines() or ["no message"])[-1]


def install_release(sdist: Path | None = None) -> None:
    """Installs release 0.6 as pure Python, from the index or from the archive `sdist`."""
    with tempfile.TemporaryDirectory(prefix="detectron2-") as folder:
        work = Path(folder)
        source = download(work) if sdist is None else unpack(sdist, work / "sdist")
        tree = build_tree(source, work / "tree")
        if pip("install", "--no-deps", "--no-build-isolation", str(tree)):
            raise InstallError("pip could not install the prepared source: see its message above")


def install_git() -> None:
    """Installs the official main branch, compiled against the torch that is installed."""
    if shutil.which("git") is None:
        raise InstallError("there is no `git` command")
    # No isolation: its setup.py imports the installed torch. No dependencies: setup.py of carclf brings what is used,
    # and upstream's own pins (iopath below 0.1.10) would pull a working environment apart.
    if pip("install", "--no-deps", "--no-build-isolation", REPOSITORY):
        raise InstallError("pip could not fetch or compile the official repository: see its message above")


def download(work: Path) -> Path:
    """Fetches the release with pip, which brings index, proxy, certificates and the hash check; returns its source.

    The archive lacks its C++ files and asks for a dependency by address, so pip always refuses it in the end. It does
    so after it has checked the hash and unpacked the source; `--no-clean` leaves that in its temporary folder.
    """
    temporary = work / "pip"
    temporary.mkdir()
    requirement = work / "requirement.txt"
    requirement.write_text(f"{RELEASE} --hash=sha256:{SHA256}\n", encoding="utf-8")
    # fmt: off
    log = pip_log(
        "download", "--no-clean", "--no-deps", "--no-build-isolation", "--no-binary=:all:", "--require-hashes",
        "-r", str(requirement), "-d", str(work), temporary=temporary,
    )
    # fmt: on
    for archive in sorted([*work.glob("*.tar.gz"), *temporary.rglob("pb1*detectron2*.tar.gz")]):
        return unpack(archive, work / "sdist")
    for package in sorted(temporary.glob("*/*/detectron2/__init__.py")):
        return package.parents[1]
    reason = next((line for line in reversed(log.splitlines()) if line.startswith("ERROR")), log.strip()[-300:])
    raise InstallError(f"pip could not fetch {RELEASE}: {reason.removeprefix('ERROR: ')}")


def unpack(archive: Path, target: Path, sha256: str = SHA256) -> Path:
    """Checks the archive's hash and unpacks it; returns the folder that holds the package `detectron2`."""
    if not archive.is_file():
        raise InstallError(f"there is no file '{archive}'")
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != sha256:
        raise InstallError(f"'{archive.name}' is not the expected archive: its sha256 is {found}, not {sha256}")
    target.mkdir(parents=True)
    try:
        with tarfile.open(archive) as tar:
            for member in tar.getmembers():
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
                    raise InstallError(f"'{archive.name}' holds an entry that is refused: {member.name}")
            # The check above is for Pythons from before the filter (3.10.11, 3.11.3 and older).
            tar.extractall(target, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InstallError(f"'{archive.name}' can't be unpacked: {error}") from error
    for package in sorted(target.glob("*/detectron2/__init__.py")):
        return package.parents[1]
    raise InstallError(f"'{archive.name}' holds no package detectron2")


def build_tree(source: Path, tree: Path) -> Path:
    """Makes from the release's `source` a folder `tree` that pip can install without a compiler."""
    package = tree / "detectron2"
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", "csrc")
    shutil.copytree(source / "detectron2", package, ignore=ignored)
    configs = package / "model_zoo" / "configs"
    if not configs.exists() and (source / "configs").is_dir():  # a source archive may still have them at its top
        shutil.copytree(source / "configs", configs, ignore=ignored)
    if not configs.exists():
        raise InstallError("the source holds no model-zoo configs")
    (package / "_C.py").write_text(STAND_IN, encoding="utf-8")
    # Pillow 10 dropped Image.LINEAR, which was another name for BILINEAR.
    transform = package / "data" / "transforms" / "transform.py"
    transform.write_text(
        transform.read_text(encoding="utf-8").replace("Image.LINEAR", "Image.BILINEAR"), encoding="utf-8"
    )
    (tree / "setup.py").write_text(SETUP, encoding="utf-8")
    (tree / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    for licence in source.glob("LICENSE*"):
        shutil.copy(licence, tree / licence.name)
    return tree


def pip(*arguments: str) -> int:
    """Runs this Python's pip with its output shown; returns its exit code."""
    return subprocess.run([sys.executable, "-m", "pip", *arguments]).returncode


def pip_log(*arguments: str, temporary: Path) -> str:
    """Runs this Python's pip with `temporary` as its temporary folder; returns what it printed."""
    command = [sys.executable, "-m", "pip", *arguments]
    environment = {**os.environ, "TMPDIR": str(temporary), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    return answer.stdout


def advice(failures: list[str]) -> str:
    """The message after every source failed: why, and what to do."""
    python = sys.executable
    return "\n".join(
        [
            "Detectron2 could not be installed:",
            *failures,
            "What to do:",
            f'  1. Is torch there? {python} -m pip install ".[train]"    (then run this script again)',
            "  2. No package index in reach? On a machine that has one, get the source archive of",
            f"     {RELEASE} from its page on the index, bring it here, and run",
            f"     {python} {sys.argv[0]} --source pypi --sdist FILE",
            "  3. With git and a C++ compiler:",
            f"     {python} {sys.argv[0]} --source git",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
