"""The workflow for the three systems, which does not run here: it parses, and what it runs exists."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.fixture(scope="module", params=WORKFLOWS, ids=lambda path: path.name)
def workflow(request) -> dict:
    return yaml.safe_load(request.param.read_text(encoding="utf-8"))


def commands(workflow: dict) -> list[list[str]]:
    return [shlex.split(step["run"]) for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]


def test_there_is_one():
    assert WORKFLOWS


def test_both_installs_are_tried_on_all_three_systems(workflow):
    assert set(workflow["jobs"]) == {"light", "full"}
    for job in workflow["jobs"].values():
        systems = job["strategy"]["matrix"]["os"]
        assert [system.partition("-")[0] for system in systems] == ["ubuntu", "macos", "windows"]
        assert job["runs-on"] == "${{ matrix.os }}" and job["timeout-minutes"] <= 120
        assert job["steps"][0]["uses"].startswith("actions/checkout@")


def test_yaml_read_every_version_as_a_text(workflow):
    """3.10 without quotes is the number 3.1."""
    for job in workflow["jobs"].values():
        versions = [step["with"]["python-version"] for step in job["steps"] if "with" in step]
        assert versions and all(isinstance(version, str) for version in versions)
        assert all(isinstance(version, str) for version in job["strategy"]["matrix"].get("python", []))


def test_the_scripts_that_it_runs_take_their_options(workflow):
    assert commands(workflow)
    for program, script, *arguments in commands(workflow):
        assert program == "python" and (ROOT / script).is_file(), script
        usage = subprocess.run([sys.executable, ROOT / script, "--help"], capture_output=True, text=True)
        assert usage.returncode == 0
        words = usage.stdout.replace("[", " ").replace("]", " ").split()
        assert set(arguments) <= set(words), (script, arguments)


def test_it_may_only_read(workflow):
    assert workflow["permissions"] == {"contents": "read"}
