"""The command, what it left, and archives to give it."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

from typer.testing import CliRunner

from carclf.cli import app
from tests.carclf.tools.file_server import SIGNATURE, TOKEN
from tests.detection.common.places.conftest import own_world, s3, s3_server  # noqa: F401


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as content:
        for name, data in members.items():
            content.writestr(name, data)
    return buffer.getvalue()


def tarred(members: dict[str, bytes], mode: str = "w:gz", **more) -> bytes:
    """more: name -> the type of a member without content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as content:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            content.addfile(info, io.BytesIO(data))
        for name, kind in more.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            content.addfile(info)
    return buffer.getvalue()


def carclf(*arguments):
    result = CliRunner().invoke(app, ["data", "fetch", *(str(argument) for argument in arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def refused(*arguments) -> str:
    """The one sentence with which it ends; what was tried before it is told above."""
    result = carclf(*arguments)
    assert result.exit_code == 2 and result.stdout == "", result.output
    said = result.stderr.splitlines()[-1]
    assert said.endswith((".", "?")) and SIGNATURE not in result.stderr and TOKEN not in result.stderr
    return said


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
