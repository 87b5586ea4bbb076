"""Commands run in this process, with the fake detector and a tiny classifier."""

import pytest
from typer.testing import CliRunner

from carclf.cli import app
from tests.carclf.tiny import save_tiny_model
from tests.fakes import FakeDetector


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(save_tiny_model(tmp_path_factory.mktemp("model") / "tiny.safetensors"))


@pytest.fixture
def carclf(monkeypatch):
    """Runs a command with the fake detector; gives the result with exit_code, stdout and stderr."""
    monkeypatch.setattr("carclf.recognition.loading._load_detector", lambda *_: FakeDetector())

    def run(*arguments, **more):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], **more)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run
