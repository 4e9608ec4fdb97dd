"""Training checkpoints: one safetensors file each, with its JSON state inside; written whole, verified on load."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from adavae.model.errors import CheckpointMismatch, WeightsCorrupted
from adavae.model.storage.atomic import remove_leftovers, write_atomically
from adavae.model.training.checkpoint_name import checkpoint_name, step_of


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything a run needs in order to continue.

    Attributes:
        tensors: By name.
        state: JSON types only.
    """

    tensors: dict[str, Tensor]
    state: dict[str, Any]


def save_checkpoint(directory: Path, step: int, checkpoint: Checkpoint, *, keep: int = 2) -> Path:
    """Writes ``step-N.safetensors`` (32 bytes of sha256 before the content), then removes all but the newest ``keep``.

    Checkpoints of later steps are removed too: they are from before this run started afresh or went back to an
    earlier one, and a resumed run would otherwise continue from them.

    Raises:
        StorageFull: The disk took no more; the previous checkpoints are as they were.
    """
    directory.mkdir(parents=True, exist_ok=True)
    remove_leftovers(directory)
    content = safetensors.save(_separate(checkpoint.tensors), metadata={"state": json.dumps(checkpoint.state)})
    path = directory / checkpoint_name(step)
    write_atomically(path, hashlib.sha256(content).digest() + content)
    paths = _newest_first(directory)
    position = paths.index(path)
    for other in (*paths[:position], *paths[position + keep :]):
        other.unlink()
    return path


def latest_checkpoint(directory: Path) -> Path | None:
    """The newest undamaged checkpoint; damaged ones are skipped."""
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
    """An optimiser's state and options; parameters that were never updated have no state.

    Returns:
        Tensors ``state.<parameter>.<name>`` (not copies) and ``groups.<group>.<option>``, and JSON
        with everything that is not a tensor.
    """
    flat = optimizer.state_dict()
    owners = {f"state.{number}": entries for number, entries in flat["state"].items()}
    owners |= {f"groups.{number}": _options(group) for number, group in enumerate(flat["param_groups"])}
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, dict[str, Any]] = {}
    for owner, entries in owners.items():
        tensors |= {f"{owner}.{name}": value.detach() for name, value in entries.items() if isinstance(value, Tensor)}
        scalars[owner] = {name: value for name, value in entries.items() if not isinstance(value, Tensor)}
    return tensors, {"kind": type(optimizer).__name__, "shapes": _shapes(optimizer), "scalars": scalars}


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], saved: Mapping[str, Any]
) -> None:
    """The inverse of ``flatten_optimizer``, into an optimiser of the same parameters.

    Raises:
        CheckpointMismatch: The state is that of another kind of optimiser, or of other parameters.
    """
    present = {"kind": type(optimizer).__name__, "shapes": _shapes(optimizer)}
    if different := [name for name, value in present.items() if saved[name] != value]:
        raise CheckpointMismatch(
            f"the checkpoint's optimiser ({saved['kind']}) differs from this run's ({present['kind']}) in its "
            f"{' and '.join(different)}: resume with the settings the run began with"
        )
    owners: dict[str, dict[str, Any]] = {owner: dict(entries) for owner, entries in saved["scalars"].items()}
    for key, tensor in tensors.items():
        owner, name = key.rsplit(".", 1)
        owners[owner][name] = tensor.clone()
    flat = optimizer.state_dict()
    for number, group in enumerate(flat["param_groups"]):
        entries = owners.pop(f"groups.{number}")
        group |= {name: tuple(value) if isinstance(group[name], tuple) else value for name, value in entries.items()}
    flat["state"] = {int(owner.removeprefix("state.")): entries for owner, entries in owners.items()}
    optimizer.load_state_dict(flat)


def _options(group: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name != "params"}


def _shapes(optimizer: torch.optim.Optimizer) -> list[list[list[int]]]:
    """The shape of each parameter of each group."""
    return [[list(parameter.shape) for parameter in group["params"]] for group in optimizer.param_groups]


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same values, contiguous on the CPU, no two sharing memory, as safetensors requires."""
    separate: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        memory = tensor.untyped_storage().data_ptr()
        separate[name] = tensor.clone() if memory in seen else tensor
        seen.add(memory)
    return separate


def _newest_first(directory: Path) -> list[Path]:
    """Regular files alone: a pipe of that name would never be read to its end."""
    if not directory.is_dir():
        return []
    named = (path for path in directory.iterdir() if step_of(path.name) is not None)
    return sorted((path for path in named if path.is_file() and not path.is_symlink()), reverse=True)


def _verified(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise WeightsCorrupted(f"{path} cannot be read ({exc.strerror}): go on from the one before") from exc
    if hashlib.sha256(content[32:]).digest() != content[:32]:
        raise WeightsCorrupted(f"{path} is damaged: remove it to go on from the one before")
    return content[32:]
