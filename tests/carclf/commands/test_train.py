"""`carclf train` and `carclf train-detector` on the command line: a config, or a run to resume."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from carclf.cli import app


@pytest.mark.parametrize(
    ("verb", "example"),
    [("train", "configs/train/quick.yaml"), ("train-detector", "configs/detector/compact.yaml")],
)
def test_both_take_a_config_or_a_run(verb, example, tmp_path):
    run = CliRunner().invoke
    for arguments in ([], ["seed=1"]):
        result = run(app, [verb, *arguments])
        assert result.exit_code == 2
        assert result.stderr == f"Name a config, for example {example}, or a run to resume: --resume RUN.\n"
    result = run(app, [verb, example, "--resume", str(tmp_path)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"--resume takes the config from the run folder: leave '{example}' out.\n"
    result = run(app, [verb, "--resume", str(tmp_path), "workers=0"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"'{tmp_path}' is no run folder, as it holds no config.yaml: check the path.\n"


def test_looking_at_a_run_folder_needs_no_torch():
    code = "import sys, carclf.runs.folder, detection.training.resume; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
