"""Muon: momentum with an orthogonalised update, for matrices; the optimiser that trains adapter sets.

Unlike ``torch.optim.Muon`` it takes stacked matrices, (..., rows, columns), and orthogonalises each by itself. The
iteration is Newton-Schulz with the quintic coefficients of Jordan et al. (2024); the update is scaled to AdamW's size
(Liu et al. 2025), so one learning rate serves both.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """p <- (1 - lr * decay) p - lr * 0.2 * sqrt(max(rows, columns)) * orthogonal(nesterov momentum of the gradient)."""

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Updates every parameter that has a gradient, (..., rows, columns)."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group["lr"], group["momentum"], group["weight_decay"])

    def _update(self, parameter: nn.Parameter, lr: float, momentum: float, weight_decay: float) -> None:
        assert parameter.grad is not None  # step() selected it for having a gradient
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        average = state["momentum_buffer"].lerp_(parameter.grad, 1 - momentum)
        direction = orthogonalise(parameter.grad.lerp(average, momentum))
        if weight_decay:
            parameter.mul_(1 - lr * weight_decay)
        parameter.add_(direction, alpha=-lr * 0.2 * max(parameter.shape[-2:]) ** 0.5)


def orthogonalise(matrix: Tensor, iterations: int = 5) -> Tensor:
    """A matrix with the same singular vectors and all singular values near 1.

    Args:
        matrix: (..., rows, columns).
        iterations: Newton-Schulz iterations.

    Returns:
        As ``matrix``, in its dtype.
    """
    a, b, c = _COEFFICIENTS
    x = matrix.bfloat16()
    is_tall = x.shape[-2] > x.shape[-1]
    x = x.mT if is_tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    direction: Tensor = (x.mT if is_tall else x).to(matrix.dtype)
    return direction


def is_matrix(parameter: Tensor) -> bool:
    """Whether Muon is the right optimiser: for a (stacked) matrix with both sides longer than 1."""
    return parameter.ndim >= 2 and min(parameter.shape[-2:]) > 1 and parameter.ndim <= 3
