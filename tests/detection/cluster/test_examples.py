"""The example files for clusters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.folder_runs import ROOT

EXAMPLES = ROOT / "configs" / "cluster"


def test_ray_takes_its_example():
    autoscaler = pytest.importorskip("ray.autoscaler", reason="no Ray here: install the extra dev")
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((Path(autoscaler.__file__).parent / "ray-schema.json").read_text())
    jsonschema.validate(yaml.safe_load((EXAMPLES / "ray-up.yaml").read_text()), schema)


def test_the_manifest_names_one_image_and_its_ray():
    manifest = yaml.safe_load((EXAMPLES / "kuberay.yaml").read_text())
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", "RayCluster")
    groups = [manifest["spec"]["headGroupSpec"], *manifest["spec"]["workerGroupSpecs"]]
    containers = [group["template"]["spec"]["containers"][0] for group in groups]
    assert len({container["image"] for container in containers}) == 1
    assert all(one["resources"]["requests"] == one["resources"]["limits"] for one in containers)
