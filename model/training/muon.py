"""Muon: momentum with an orthogonalised update, for matrices; the optimiser that trains adapter sets.

Unlike ``torch.optim.Muon`` it takes stacked matrices, (..., rows, columns), and orthogonalises each by itself, those of
one shape in one batched product: most matrices of an adapter set are too small to fill a processor alone. The
iteration is Newton-Schulz with the quintic coefficients of Jordan et al. (2024); the update is scaled to AdamW's size
(Liu et al. 2025), so one learning rate serves both.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from adavae.model.training.precision import multiplies_bfloat16

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_TOGETHER = 1 << 24  # numbers orthogonalised at once, so that a large backbone does not need as much memory again


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
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            for together in _alike(parameters):
                self._update(together, group["lr"], group["momentum"], group["weight_decay"])

    def _update(self, parameters: list[nn.Parameter], lr: float, momentum: float, weight_decay: float) -> None:
        """Updates parameters whose matrices have one shape once they lie on their longer side."""
        momenta = [_stack(_lying(self._momentum(parameter, momentum))) for parameter in parameters]
        directions = orthogonalise(torch.cat(momenta))
        for parameter, stacked in zip(parameters, momenta, strict=True):
            direction, directions = directions[: len(stacked)], directions[len(stacked) :]
            if weight_decay:
                parameter.mul_(1 - lr * weight_decay)
            update = (direction.mT if _is_tall(parameter) else direction).reshape(parameter.shape)
            parameter.add_(update, alpha=-lr * 0.2 * max(parameter.shape[-2:]) ** 0.5)

    def _momentum(self, parameter: nn.Parameter, momentum: float) -> Tensor:
        """Nesterov's, (..., rows, columns), in the numbers that it is orthogonalised in."""
        assert parameter.grad is not None  # step() selected it for having a gradient
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        average = state["momentum_buffer"].lerp_(parameter.grad, 1 - momentum)
        return _fast(parameter.grad.lerp(average, momentum))


def orthogonalise(matrix: Tensor, iterations: int = 5) -> Tensor:
    """A matrix with the same singular vectors and all singular values near 1.

    Args:
        matrix: (..., rows, columns).
        iterations: Newton-Schulz iterations.

    Returns:
        As ``matrix``, in its dtype.
    """
    a, b, c = _COEFFICIENTS
    x = _stack(_lying(_fast(matrix)))
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal(dim1=-2, dim2=-1).add_(a)
        x = factor @ x  # a x + (b gram + c gram^2) x
    direction: Tensor = x.mT if _is_tall(matrix) else x
    return direction.reshape(matrix.shape).to(matrix.dtype)


def is_matrix(parameter: Tensor) -> bool:
    """Whether Muon is the right optimiser: for a (stacked) matrix with both sides longer than 1."""
    return parameter.ndim >= 2 and min(parameter.shape[-2:]) > 1 and parameter.ndim <= 3


def _alike(parameters: Iterable[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Parameters whose matrices have the same sides, some million numbers at a time."""
    of_sides: dict[tuple[int, ...], list[nn.Parameter]] = defaultdict(list)
    for parameter in parameters:
        sides = tuple(sorted(parameter.shape[-2:]))
        of_sides[sides].append(parameter)
        if sum(each.numel() for each in of_sides[sides]) > _TOGETHER:
            yield of_sides.pop(sides)
    yield from of_sides.values()


def _fast(matrix: Tensor) -> Tensor:
    """In bfloat16, whose error the iteration takes, where the hardware multiplies it; else in float32."""
    return matrix.to(torch.bfloat16 if multiplies_bfloat16(matrix.device) else torch.float32)


def _is_tall(matrix: Tensor) -> bool:
    return matrix.shape[-2] > matrix.shape[-1]


def _lying(matrix: Tensor) -> Tensor:
    """With no more rows than columns, (..., rows, columns)."""
    return matrix.mT if _is_tall(matrix) else matrix


def _stack(matrix: Tensor) -> Tensor:
    """(..., rows, columns) as (S, rows, columns)."""
    return matrix.reshape(-1, *matrix.shape[-2:])
