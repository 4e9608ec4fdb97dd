"""Compose files as an engine sees them: variables put in, several files merged into one (compose specification)."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
BASE = REPOSITORY / "docker-compose.yml"
GPU = REPOSITORY / "docker" / "compose.gpu.yml"
SCALE = REPOSITORY / "docker" / "compose.scale.yml"
STORE = REPOSITORY / "docker" / "compose.store.yml"
FORMS = {
    "cpu": [BASE],
    "gpu": [BASE, GPU],
    "scale": [BASE, SCALE],
    "gpu and scale": [BASE, GPU, SCALE],
    "store": [BASE, STORE],
    "gpu, store and scale": [BASE, GPU, STORE, SCALE],
}
"""The ways to start the stack, each the files behind ``-f``."""

_VARIABLE = re.compile(r"\$(?:(?P<escaped>\$)|\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\})")
_REPLACED = {"command", "entrypoint", "test"}  # where a later file's list takes the place of an earlier one's
_DURATION = re.compile(r"(\d+)(ms|s|m|h)")
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES = {"k": 1024, "m": 1024**2, "g": 1024**3}


class _Reset:
    """What ``!reset`` stands for: the earlier files' value is taken away."""


class _Loader(yaml.SafeLoader):
    pass


_Loader.add_constructor("!reset", lambda _loader, _node: _Reset())


def read_compose(files: list[Path], variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The merged content of ``files``; variables that are not given have their defaults."""
    merged: Any = {}
    for path in files:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
        merged = _merged(merged, _filled(content, variables or {}))
    return dict(merged)


def seconds(duration: str) -> float:
    """``1m30s`` as 90."""
    parts = _DURATION.findall(duration)
    assert "".join(number + unit for number, unit in parts) == duration, f"no duration: {duration!r}"
    return sum(int(number) * _UNITS_S[unit] for number, unit in parts)


def num_bytes(size: str) -> int:
    """``4g`` as bytes."""
    return int(size[:-1]) * _BYTES[size[-1]]


def _filled(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(each, variables) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, variables) for each in value]
    return _VARIABLE.sub(lambda match: _value(match, variables), value) if isinstance(value, str) else value


def _value(match: re.Match[str], variables: Mapping[str, str]) -> str:
    if match["escaped"]:
        return "$"
    return variables.get(match["name"]) or match["default"] or ""


def _merged(earlier: Any, later: Any, key: str = "") -> Any:
    """Mappings key by key, lists one behind the other without repetitions, everything else replaced."""
    if isinstance(earlier, dict) and isinstance(later, dict):
        plain = {name: value for name, value in later.items() if not isinstance(value, _Reset)}
        kept = {name: value for name, value in earlier.items() if not isinstance(later.get(name), _Reset)}
        return kept | {name: _merged(kept.get(name), value, name) for name, value in plain.items()}
    if isinstance(earlier, list) and isinstance(later, list) and key not in _REPLACED:
        return earlier + [value for value in later if value not in earlier]
    return later
