"""Kustomize's overlays as `kubectl apply -k` sees them, as far as ours use it: resources, merged patches, images."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
KUBERNETES = REPOSITORY / "docker" / "kubernetes"
FORMS = ("cpu", "gpu", "s3", "ray")
"""The ways to start the whole of it, each a folder behind ``-k``."""

_KNOWN = {"apiVersion", "kind", "namespace", "resources", "images", "patches"}
_OF_NO_NAMESPACE = {"Namespace"}
_KEYS = {"containers": "name", "volumes": "name", "env": "name", "volumeMounts": "mountPath", "ports": "containerPort"}
"""Lists whose entries are merged by a key; every other list is replaced (strategic merge)."""

Resource = dict[str, Any]


def built(directory: Path) -> list[Resource]:
    """All resources of a folder with a ``kustomization.yaml``."""
    content = yaml.safe_load((directory / "kustomization.yaml").read_text(encoding="utf-8"))
    assert set(content) <= _KNOWN, f"{directory.name}: this reader does not know {set(content) - _KNOWN}"
    resources = [each for name in content["resources"] for each in _read(directory / name)]
    for patch in content.get("patches", []):
        for each in _patches(directory, patch):
            resources = _patched(resources, each)
    for image in content.get("images", []):
        for container in (found for each in resources for found in containers(each)):
            name, _, tag = container["image"].partition(":")
            if name == image["name"]:
                container["image"] = f"{image['newName']}:{image.get('newTag', tag)}"
    for resource in resources:
        if "namespace" in content and resource["kind"] not in _OF_NO_NAMESPACE:
            resource["metadata"]["namespace"] = content["namespace"]
    return resources


def pod_specs(resource: Resource) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Labels and spec of the pods that a resource makes."""
    spec = resource.get("spec", {})
    templates = [spec["template"]] if "template" in spec else []
    if resource["kind"] == "RayService":
        cluster = spec["rayClusterConfig"]
        templates = [each["template"] for each in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
    for template in templates:
        yield template["metadata"]["labels"], template["spec"]


def containers(resource: Resource) -> list[dict[str, Any]]:
    return [container for _, spec in pod_specs(resource) for container in spec["containers"]]


def identity(resource: Resource) -> tuple[str, str]:
    return resource["kind"], resource["metadata"]["name"]


def seen_by_a_container(text: str) -> str:
    """Text of a command as Kubernetes hands it over: of two dollars one is left."""
    return text.replace("$$", "$")


def _read(path: Path) -> list[Resource]:
    if path.is_dir():
        return built(path)
    return [each for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if each is not None]


def _patches(directory: Path, patch: dict[str, str]) -> list[Resource]:
    assert set(patch) in ({"path"}, {"patch"}), patch
    text = patch["patch"] if "patch" in patch else (directory / patch["path"]).read_text(encoding="utf-8")
    return list(yaml.safe_load_all(text))


def _patched(resources: list[Resource], patch: Resource) -> list[Resource]:
    places = [place for place, each in enumerate(resources) if identity(each) == identity(patch)]
    assert len(places) == 1, f"a patch for {identity(patch)}, of which there are {len(places)}"
    (place,) = places
    if patch.get("$patch") == "delete":
        return resources[:place] + resources[place + 1 :]
    return [*resources[:place], _merged(resources[place], patch), *resources[place + 1 :]]


def _merged(earlier: Any, later: Any, key: str = "") -> Any:
    if isinstance(earlier, dict) and isinstance(later, dict):
        if later.get("type") == "Recreate":
            return later  # what stood there belongs to the other kind of update
        return earlier | {name: _merged(earlier.get(name), value, name) for name, value in later.items()}
    if isinstance(earlier, list) and isinstance(later, list) and key in _KEYS:
        return _merged_by(earlier, later, _KEYS[key])
    return later


def _merged_by(earlier: list[Any], later: list[Any], key: str) -> list[Any]:
    gone = {each[key] for each in later if each.get("$patch") == "delete"}
    changed = {each[key]: each for each in later if each[key] not in gone}
    left = [each for each in earlier if each[key] not in gone]
    kept = [_merged(each, changed.pop(each[key])) if each[key] in changed else each for each in left]
    return kept + list(changed.values())
