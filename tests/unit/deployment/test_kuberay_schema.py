"""The RayService by KubeRay's own schema, which is not kept here: KUBERAY_CRD names the file.

docker/README.md has the command that fetches it.
"""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.kustomization import KUBERNETES, Resource, built

_PATH = os.environ.get("KUBERAY_CRD")


def ray_service() -> Resource:
    (found,) = (each for each in built(KUBERNETES / "ray") if each["kind"] == "RayService")
    return found


def schema(definition: dict[str, Any], version: str) -> dict[str, Any]:
    (found,) = (each for each in definition["spec"]["versions"] if each["name"] == version)
    return dict(strict(found["schema"]["openAPIV3Schema"], is_top=True))


def strict(node: Any, *, is_top: bool = False) -> Any:
    """The same as JSON Schema, in which fields that nobody named are wrong."""
    if isinstance(node, list):
        return [strict(each) for each in node]
    if not isinstance(node, dict):
        return node
    kept = {name: strict(value) for name, value in node.items() if name != "properties"}
    if node.get("x-kubernetes-int-or-string"):
        kept["type"] = ["integer", "string"]
    if "properties" not in node:
        return kept
    kept["properties"] = {name: strict(value) for name, value in node["properties"].items()}
    if is_top:
        kept["properties"]["metadata"] = {"type": "object"}
    if not node.get("x-kubernetes-preserve-unknown-fields"):
        kept.setdefault("additionalProperties", False)
    return kept


def mistakes(wanted: dict[str, Any], resource: Resource) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(wanted).iter_errors(resource)]


def test_a_field_that_nobody_named_is_a_mistake_and_a_quantity_is_none() -> None:
    quantity = {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}
    limits = {"type": "object", "additionalProperties": quantity}
    spec = {"type": "object", "properties": {"limits": limits, "free": {"type": "object"}}}
    wanted = strict({"type": "object", "properties": {"spec": spec}}, is_top=True)
    assert mistakes(wanted, {"metadata": {"name": "x"}, "spec": {"limits": {"cpu": 2, "memory": "1Gi"}}}) == []
    assert len(mistakes(wanted, {"spec": {"limts": {}}})) == 1
    assert len(mistakes(wanted, {"spec": {"limits": {"cpu": 0.5}}})) >= 1


@pytest.mark.skipif(_PATH is None, reason="KUBERAY_CRD is not set: the path of ray.io_rayservices.yaml")
def test_kuberay_takes_the_ray_service() -> None:
    assert _PATH is not None
    definition = yaml.safe_load(Path(_PATH).read_text(encoding="utf-8"))
    service = ray_service()
    assert definition["spec"]["names"]["kind"] == service["kind"]
    group, _, version = service["apiVersion"].partition("/")
    assert definition["spec"]["group"] == group
    wanted = schema(definition, version)
    assert mistakes(wanted, service) == []
    service["spec"]["rayClusterConfig"]["headGroupSpec"]["rayStartParms"] = {}
    assert len(mistakes(wanted, service)) == 1
