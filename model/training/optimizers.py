"""The two optimizers of a run as one: Muon for matrices, AdamW for everything else, with one learning rate."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from adavae.model.errors import TrainingDiverged
from adavae.model.training.checkpoint import Checkpoint, flatten_optimizer, latest_checkpoint, restore_optimizer
from adavae.model.training.muon import Muon

_BETAS = (0.9, 0.98)
_SHARE, _TUNED = "share_of_rate", 1 / 60  # 1e-4 for weights that have been trained before, where new ones have 6e-3


class Optimizers:
    """What updates a run's parameters.

    Attributes:
        parameters: All of them.
        by_kind: ``adamw``, and ``muon`` if there are matrices for it; checkpoints use these names.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        matrices: Collection[nn.Parameter],
        *,
        learning_rate: float,
        weight_decay: float = 0.0,
        muon_decay: float = 0.0,
        is_fused: bool = False,
        pretrained: Collection[nn.Parameter] = (),
    ) -> None:
        """``matrices`` are the ``parameters``, (..., rows, columns), that Muon updates; AdamW updates the rest.

        ``weight_decay`` is AdamW's, for matrices and not for vectors, alone or stacked; ``muon_decay`` is Muon's.
        ``is_fused`` makes AdamW several times as fast where there are many parameters. ``pretrained`` are those of the
        rest that have been trained before, and get a small share of the learning rate.
        """
        tuned = {id(parameter) for parameter in pretrained}
        chosen = {id(parameter) for parameter in matrices} | tuned
        rest = [parameter for parameter in parameters if id(parameter) not in chosen]
        self.parameters = list(parameters)
        self.by_kind: dict[str, torch.optim.Optimizer] = {}
        if matrices:
            self.by_kind["muon"] = Muon(matrices, lr=learning_rate, weight_decay=muon_decay)
        groups: list[dict[str, Any]] = [
            {"params": [parameter for parameter in rest if _is_decayed(parameter)], "weight_decay": weight_decay},
            {"params": [parameter for parameter in rest if not _is_decayed(parameter)], "weight_decay": 0.0},
            {"params": [each for each in pretrained if each.ndim >= 2], "weight_decay": weight_decay, _SHARE: _TUNED},
            {"params": [each for each in pretrained if each.ndim < 2], "weight_decay": 0.0, _SHARE: _TUNED},
        ]
        self.by_kind["adamw"] = torch.optim.AdamW(
            [group for group in groups if group["params"]], lr=learning_rate, betas=_BETAS, fused=is_fused
        )

    def set_learning_rate(self, learning_rate: float) -> None:
        for optimizer in self.by_kind.values():
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * group.get(_SHARE, 1.0)

    def step(self) -> None:
        """Updates every parameter that has a gradient."""
        for optimizer in self.by_kind.values():
            optimizer.step()

    def save(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Their state: tensors, not copied, and JSON; see ``flatten_optimizer``."""
        tensors: dict[str, Tensor] = {}
        states: dict[str, Any] = {}
        for kind, optimizer in self.by_kind.items():
            of_kind, states[kind] = flatten_optimizer(optimizer)
            tensors |= {f"{kind}.{name}": tensor for name, tensor in of_kind.items()}
        return tensors, states

    def restore(self, checkpoint: Checkpoint) -> None:
        """The inverse of ``save``; the JSON is under ``optimizers``.

        Raises:
            CheckpointMismatch: The state is of other kinds of optimizers, or of other parameters.
        """
        for kind, optimizer in self.by_kind.items():
            restore_optimizer(optimizer, under(checkpoint.tensors, f"{kind}."), checkpoint.state["optimizers"][kind])


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, which is removed."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def diverged(step: int, total_steps: int, learning_rate: float, checkpoints: Path) -> TrainingDiverged:
    """The error for a loss or gradient that is not finite: at which step, what was kept, what helps."""
    path = latest_checkpoint(checkpoints)
    kept = f"the last good checkpoint is {path}" if path else "there was no checkpoint yet"
    return TrainingDiverged(
        f"training diverged at step {step} of {total_steps}: the loss or its gradient is not finite; {kept}. Lower the "
        f"learning rate (it was {learning_rate:g}) and start again"
    )


def _is_decayed(parameter: nn.Parameter) -> bool:
    """Matrices; no vectors, nor a stack of one."""
    return parameter.ndim >= 2 and min(parameter.shape[-2:]) > 1
