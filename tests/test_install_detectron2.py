"""The Detectron2 installer: hash check, safe unpacking, the source tree it builds, what it says when all fails."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "scripts" / "install_detectron2.py"
FILES = {
    "LICENSE": "Apache License\n",
    "detectron2/__init__.py": '__version__ = "0.6"\n',
    "detectron2/modeling/__init__.py": "from detectron2 import _C\n",
    "detectron2/layers/csrc/vision.cpp": "int main() {}\n",
    "detectron2/data/__init__.py": "",
    "detectron2/data/transforms/__init__.py": "",
    "detectron2/data/transforms/transform.py": "def extent(interp=Image.LINEAR, other=Image.BILINEAR): ...\n",
    "detectron2/model_zoo/__init__.py": "",
    "detectron2/model_zoo/configs/Base.yaml": "VERSION: 2\n",
    "detectron2/model_zoo/configs/COCO/mask.yaml": "_BASE_: ../Base.yaml\n",
    "detectron2/model_zoo/configs/common/train.py": "train = {}\n",
}


@pytest.fixture(scope="module")
def installer():
    spec = importlib.util.spec_from_file_location("install_detectron2", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def sdist(tmp_path):
    return pack(tmp_path / "pb1-detectron2-0.6.tar.gz", FILES)


def pack(archive: Path, files: dict[str, str], top: str = "pb1-detectron2-0.6") -> Path:
    with tarfile.open(archive, "w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return archive


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_archive_with_another_hash_is_refused(installer, sdist, tmp_path):
    with pytest.raises(installer.InstallError, match=f"its sha256 is {sha256(sdist)}"):
        installer.unpack(sdist, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["../../escape.py", "/escape.py"])
def test_an_archive_that_reaches_outside_is_refused(installer, tmp_path, name):
    archive = tmp_path / "bad.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(installer.InstallError, match="refused"):
        installer.unpack(archive, tmp_path / "out", sha256(archive))


def test_an_archive_with_a_link_is_refused(installer, tmp_path):
    archive = tmp_path / "bad.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        link = tarfile.TarInfo("pb1/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(link)
    with pytest.raises(installer.InstallError, match="refused"):
        installer.unpack(archive, tmp_path / "out", sha256(archive))


def test_a_truncated_archive_is_one_sentence(installer, sdist, tmp_path):
    sdist.write_bytes(sdist.read_bytes()[:200])
    with pytest.raises(installer.InstallError, match="can't be unpacked"):
        installer.unpack(sdist, tmp_path / "out", sha256(sdist))


def test_the_tree_has_stand_in_patch_and_configs(installer, sdist, tmp_path):
    tree = installer.build_tree(installer.unpack(sdist, tmp_path / "out", sha256(sdist)), tmp_path / "tree")
    package = tree / "detectron2"
    assert (package / "data/transforms/transform.py").read_text() == FILES[
        "detectron2/data/transforms/transform.py"
    ].replace("Image.LINEAR", "Image.BILINEAR")
    assert (package / "_C.py").is_file()
    assert not (package / "layers/csrc").exists()
    assert (package / "model_zoo/configs/COCO/mask.yaml").is_file()
    assert (tree / "LICENSE").is_file()


def test_configs_at_the_archives_top_are_moved_into_the_package(installer, tmp_path):
    files = {name.replace("detectron2/model_zoo/configs", "configs"): text for name, text in FILES.items()}
    archive = pack(tmp_path / "a.tar.gz", files)
    tree = installer.build_tree(installer.unpack(archive, tmp_path / "out", sha256(archive)), tmp_path / "tree")
    assert (tree / "detectron2/model_zoo/configs/COCO/mask.yaml").is_file()


def test_pip_installs_the_tree_with_metadata_and_data(installer, sdist, tmp_path):
    tree = installer.build_tree(installer.unpack(sdist, tmp_path / "out", sha256(sdist)), tmp_path / "tree")
    site = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--target", str(site), str(tree)], check=True, capture_output=True)
    assert (site / "detectron2-0.6.dist-info").is_dir()
    assert (site / "detectron2/model_zoo/configs/COCO/mask.yaml").is_file()
    assert (site / "detectron2/model_zoo/configs/common/train.py").is_file()
    code = "import detectron2.modeling as m; print(m.__file__)"
    found = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(site)}, capture_output=True, text=True)
    assert found.stdout.startswith(str(site)), found.stderr


def test_download_takes_what_pip_left_though_pip_failed(installer, tmp_path, monkeypatch):
    def left_unpacked(*arguments, temporary):
        source = temporary / "pip-download-x" / "pb1-detectron2_1"
        (source / "detectron2").mkdir(parents=True)
        (source / "detectron2/__init__.py").write_text("")
        assert "--require-hashes" in arguments
        requirement = Path(arguments[arguments.index("-r") + 1]).read_text()
        assert requirement.strip() == f"pb1-detectron2==0.6 --hash=sha256:{installer.SHA256}"
        return "ERROR: Packages installed from PyPI cannot depend on packages which are not also hosted on PyPI."

    monkeypatch.setattr(installer, "pip_log", left_unpacked)
    assert installer.download(tmp_path).name == "pb1-detectron2_1"


def test_download_gives_pips_reason_when_nothing_was_left(installer, tmp_path, monkeypatch):
    monkeypatch.setattr(installer, "pip_log", lambda *a, temporary: "noise\nERROR: No matching distribution found\n")
    with pytest.raises(installer.InstallError, match="could not fetch .*: No matching distribution found"):
        installer.download(tmp_path)


def test_auto_keeps_what_can_be_imported(installer, monkeypatch, capsys):
    monkeypatch.setattr(installer, "probe", lambda: ("0.6", ""))
    monkeypatch.setattr(installer, "install_release", lambda sdist: pytest.fail("installed again"))
    assert installer.main([]) == 0
    assert "Detectron2 0.6 can be imported: nothing to do." in capsys.readouterr().out


def test_auto_tries_the_index_then_git_and_says_what_to_do(installer, monkeypatch, capsys):
    tried = []

    def fail(source):
        def install(*_):
            tried.append(source)
            raise installer.InstallError(f"no {source} here")

        return install

    monkeypatch.setattr(installer, "probe", lambda: (None, "No module named 'detectron2'"))
    monkeypatch.setattr(installer, "install_release", fail("index"))
    monkeypatch.setattr(installer, "install_git", fail("git"))
    assert installer.main([]) == 1
    assert tried == ["index", "git"]
    message = capsys.readouterr().err
    assert "no index here" in message
    assert "no git here" in message
    assert "--sdist FILE" in message


def test_an_installation_that_cannot_be_imported_is_a_failure(installer, monkeypatch, capsys):
    monkeypatch.setattr(installer, "probe", lambda: (None, "ImportError: no torch"))
    monkeypatch.setattr(installer, "install_release", lambda sdist: None)
    assert installer.main(["--source", "pypi"]) == 1
    assert "ImportError: no torch" in capsys.readouterr().err


def test_sdist_with_a_wrong_file_does_not_fall_back_to_the_index(installer, sdist, capsys):
    assert installer.main(["--sdist", str(sdist)]) == 1
    assert "is not the expected archive" in capsys.readouterr().err


def test_help_runs_in_a_bare_python():
    answer = subprocess.run([sys.executable, "-I", "-S", str(SCRIPT), "--help"], capture_output=True, text=True)
    assert answer.returncode == 0
    assert "--source" in answer.stdout
