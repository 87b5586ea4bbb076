"""`--engine` of clean and predict: what does not fit is said before anything starts."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from carclf.cli import app


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--engine", "spark"], "'spark' is not an engine: choose local or ray."),
        (["--address", "head:6379"], "--address is for a cluster: pass --engine ray, too."),
        (["--cluster-workers", "3"], "--cluster-workers is for a cluster: pass --engine ray, too."),
        (["--engine", "ray", "--device", "cuda:1"], "--engine ray gives each worker a GPU of its own"),
        (["--engine", "ray", "--worker-cores", "0"], "cores"),
    ],
)
@pytest.mark.parametrize("verb", ["clean", "predict"])
def test_options_that_do_not_fit(photos, tmp_path, verb, options, said):
    arguments = [verb, str(photos), *([str(tmp_path / "out")] if verb == "clean" else []), *options]
    refused(arguments, said)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [["--watch"], ["--save-detections"], ["--devices", "cpu,cpu"]])
def test_what_clean_does_on_one_machine_only(photos, tmp_path, options):
    refused(["clean", str(photos), str(tmp_path / "out"), "--engine", "ray", *options], f"leave out {options[0]}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--save-cutouts", "--overlay"])
def test_what_predict_does_on_one_machine_only(photos, tmp_path, option):
    refused(["predict", str(photos), "--engine", "ray", option, str(tmp_path)], f"leave out {option}")


def refused(arguments, said):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2 and said in " ".join(result.output.split()), result.output
