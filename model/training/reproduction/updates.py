"""One update of a system: Adam at rates by where weights begin, the rate's fall over the run, clipped gradients."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

RANDOM_RATE, PRETRAINED_RATE = 1e-3, 1e-4
_CLIP = 5.0


def adam(
    model: nn.Module, learning_rate: float = RANDOM_RATE, pretrained: Iterable[nn.Module] = ()
) -> torch.optim.Optimizer:
    """Adam over the parameters that train, in two groups at most.

    Args:
        model: The system, or a part of it.
        learning_rate: Of what begins as random weights.
        pretrained: Its parts that begin as pretrained weights, which learn at ``PRETRAINED_RATE``.
    """
    known = {id(each) for part in pretrained for each in part.parameters()}
    training = [each for each in model.parameters() if each.requires_grad]
    random = [each for each in training if id(each) not in known]
    groups = (random, learning_rate), ([each for each in training if id(each) in known], PRETRAINED_RATE)
    return torch.optim.Adam(
        [{"params": params, "lr": rate, "initial_lr": rate} for params, rate in groups if params], fused=True
    )


def decay(optimizer: torch.optim.Optimizer, done: float) -> None:
    """Every rate falls to 0 over the run, of which the share ``done`` is behind."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * (1.0 - done)


def update(loss: Tensor, *optimizers: torch.optim.Optimizer) -> float:
    """One step of the optimizers on a loss, gradients clipped; returns the loss."""
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    for optimizer in optimizers:
        parameters = [each for group in optimizer.param_groups for each in group["params"]]
        nn.utils.clip_grad_norm_(parameters, _CLIP)
        optimizer.step()
    return float(loss.detach())
