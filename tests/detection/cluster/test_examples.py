"""The example files for clusters."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.folder_runs import ROOT

EXAMPLES = ROOT / "configs" / "cluster"


def _object(required: str, **properties: Any) -> dict[str, Any]:
    """An object with these fields and no others, as Kubernetes refuses what it does not know (or drops it unseen)."""
    return {"type": "object", "properties": properties, "required": required.split(), "additionalProperties": False}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1}


ANY: dict[str, Any] = {}
TEXT, TRUTH = {"type": "string"}, {"type": "boolean"}
COUNT = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
NAME = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}
TEXTS = {"type": "object", "additionalProperties": TEXT}
AMOUNTS = {
    "type": "object",
    "additionalProperties": {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?([mkMGTPE]|[KMGTPE]i)?$"},
}
RESOURCES = _object("", requests=AMOUNTS, limits=AMOUNTS)
# Of a pod only what an example needs; Kubernetes has much more.
CONTAINER = _object("name image", name=NAME, image=TEXT, resources=RESOURCES, env=ANY, volumeMounts=ANY)
POD_SPEC = _object(
    "containers",
    containers=_list(CONTAINER),
    serviceAccountName=NAME,
    nodeSelector=TEXTS,
    tolerations=ANY,
    volumes=ANY,
)
POD = _object("spec", metadata=ANY, spec=POD_SPEC)
# RayCluster of ray.io/v1, by the types of KubeRay's operator, from which it generates its CRD.
RAY_CLUSTER = _object(
    "apiVersion kind metadata spec",
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayCluster"},
    metadata=_object("name", name=NAME, namespace=NAME, labels=TEXTS, annotations=TEXTS),
    spec=_object(
        "headGroupSpec",
        rayVersion=TEXT,
        enableInTreeAutoscaling=TRUTH,
        suspend=TRUTH,
        headServiceAnnotations=TEXTS,
        autoscalerOptions=_object(
            "",
            idleTimeoutSeconds=COUNT,
            upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]},
            resources=RESOURCES,
            image=TEXT,
            imagePullPolicy=TEXT,
            env=ANY,
            envFrom=ANY,
            volumeMounts=ANY,
            securityContext=ANY,
        ),
        headGroupSpec=_object(
            "rayStartParams template",
            rayStartParams=TEXTS,
            template=POD,
            serviceType=TEXT,
            headService=ANY,
            enableIngress=TRUTH,
        ),
        workerGroupSpecs=_list(
            _object(
                "groupName minReplicas maxReplicas rayStartParams template",
                groupName=NAME,
                replicas=COUNT,
                minReplicas=COUNT,
                maxReplicas=COUNT,
                numOfHosts=COUNT,
                rayStartParams=TEXTS,
                template=POD,
                scaleStrategy=ANY,
            )
        ),
    ),
)


def test_ray_takes_its_example():
    autoscaler = pytest.importorskip("ray.autoscaler", reason="no Ray here: install the extra dev")
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((Path(autoscaler.__file__).parent / "ray-schema.json").read_text())
    jsonschema.validate(yaml.safe_load((EXAMPLES / "ray-up.yaml").read_text()), schema)


@pytest.fixture
def manifest():
    return yaml.safe_load((EXAMPLES / "kuberay.yaml").read_text())


def test_the_manifest_has_the_fields_of_kuberay(manifest):
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(manifest, RAY_CLUSTER)
    manifest["spec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] = 0  # what YAML makes of it without quotes
    with pytest.raises(jsonschema.ValidationError, match="0 is not of type 'string'"):
        jsonschema.validate(manifest, RAY_CLUSTER)


def test_the_manifest_fits_the_crd_itself(manifest):
    """`KUBERAY_CRD=FILE pytest ...`, FILE being ray.io_rayclusters.yaml of a release of KubeRay."""
    if "KUBERAY_CRD" not in os.environ:
        pytest.skip("KUBERAY_CRD names no CRD of KubeRay")
    jsonschema = pytest.importorskip("jsonschema")
    crd = yaml.safe_load(Path(os.environ["KUBERAY_CRD"]).read_text())
    schemas = {one["name"]: one["schema"]["openAPIV3Schema"] for one in crd["spec"]["versions"]}
    jsonschema.validate(manifest, _strict(schemas["v1"]))


def _strict(schema: Any) -> Any:
    """A CRD's schema as JSON schema, in which unknown fields are errors."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _strict(value) for key, value in schema.items()}
    if schema.get("x-kubernetes-int-or-string"):
        made = {"type": ["integer", "string"]}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        made.setdefault("additionalProperties", bool(schema.get("x-kubernetes-preserve-unknown-fields")))
    return made


def test_the_manifest_names_one_image_and_its_ray(manifest):
    groups = [manifest["spec"]["headGroupSpec"], *manifest["spec"]["workerGroupSpecs"]]
    containers = [group["template"]["spec"]["containers"][0] for group in groups]
    assert len({container["image"] for container in containers}) == 1
    assert all(one["resources"]["requests"] == one["resources"]["limits"] for one in containers)
    ray = pytest.importorskip("ray")
    assert manifest["spec"]["rayVersion"].split(".")[0] == ray.__version__.split(".")[0]
