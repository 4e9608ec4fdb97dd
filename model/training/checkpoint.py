"""Training checkpoints: one safetensors file each, with its JSON state inside; written whole, verified on load."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from model.errors import WeightsCorrupted
from model.storage import write_atomically

_NAME = re.compile(r"^step-(\d{9})\.safetensors$")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything a run needs to go on.

    Attributes:
        tensors: By name.
        state: JSON types only.
    """

    tensors: dict[str, Tensor]
    state: dict[str, Any]


def save_checkpoint(directory: Path, step: int, checkpoint: Checkpoint, *, keep: int = 2) -> Path:
    """Writes ``step-N.safetensors`` (32 bytes of sha256 before the content), then removes all but the newest ``keep``.

    Raises:
        StorageFull: The disk took no more; the previous checkpoints are as they were.
    """
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    content = safetensors.save(tensors, metadata={"state": json.dumps(checkpoint.state)})
    path = directory / f"step-{step:09d}.safetensors"
    write_atomically(path, hashlib.sha256(content).digest() + content)
    for old in _newest_first(directory)[keep:]:
        old.unlink()
    return path


def latest_checkpoint(directory: Path) -> Path | None:
    """The newest checkpoint that is whole; a damaged one is passed over."""
    for path in _newest_first(directory):
        try:
            _verified(path)
        except WeightsCorrupted:
            continue
        return path
    return None


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads one checkpoint.

    Raises:
        WeightsCorrupted: The file is not what was written.
    """
    content = _verified(path)
    try:
        header_size = int.from_bytes(content[:8], "little")
        state = json.loads(json.loads(content[8 : 8 + header_size])["__metadata__"]["state"])
        return Checkpoint(safetensors.load(content), state)
    except (SafetensorError, ValueError, KeyError) as exc:
        raise WeightsCorrupted(f"{path} cannot be read ({exc}): remove it to go on from the one before") from exc


def flatten_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimiser's state as named tensors and JSON."""
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, Any] = {}
    state = optimizer.state_dict()
    for number, entries in state["state"].items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{number}.{name}"] = value
            else:
                scalars[f"{number}.{name}"] = value
    return tensors, scalars


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], scalars: Mapping[str, Any]
) -> None:
    """Puts back what ``flatten_optimizer`` took, into an optimiser of the same parameters."""
    state = optimizer.state_dict()
    entries: dict[int, dict[str, Any]] = {}
    for key, value in [*tensors.items(), *scalars.items()]:
        number, name = key.split(".", 1)
        entries.setdefault(int(number), {})[name] = value
    state["state"] = entries
    optimizer.load_state_dict(state)


def _newest_first(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return []
    return sorted((path for path in directory.iterdir() if _NAME.match(path.name)), reverse=True)


def _verified(path: Path) -> bytes:
    content = path.read_bytes()
    if hashlib.sha256(content[32:]).digest() != content[:32]:
        raise WeightsCorrupted(f"{path} is damaged: remove it to go on from the one before")
    return content[32:]
