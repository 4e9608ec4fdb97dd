"""Cross-entropy over a large vocabulary without ever holding all logits: computed in slices of tokens.

Forward computes loss and gradient together, so backward is one scaling. The obvious twin is
``F.cross_entropy(hidden @ weight.T, targets)``; tests/parity compares the two.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from adavae.model.kernel.training_loss import compiled_loss_for, cross_entropy

_GRAIN = 128  # numbers of tokens are rounded up to a multiple of this


class _SlicedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, token_weights: Tensor, slice_size: int
    ) -> tuple[Tensor, Tensor]:
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]
        matrix = weight.to(hidden.dtype)
        num_tokens = hidden.shape[0]
        hidden, targets, token_weights = _rounded_up(slice_size, hidden, targets, token_weights)
        nll = torch.empty(hidden.shape[0], dtype=torch.float32, device=hidden.device)
        grad_hidden = torch.empty_like(hidden) if needs_hidden else None
        grad_weight = torch.zeros_like(weight) if needs_weight else None
        for start in range(0, hidden.shape[0], slice_size):
            rows = slice(start, start + slice_size)
            weights = token_weights[rows] if needs_hidden or needs_weight else None
            nll[rows], grad = _of_slice(hidden[rows] @ matrix.T, targets[rows], weights)
            if grad is None:
                continue
            if grad_hidden is not None:
                grad_hidden[rows] = grad @ matrix
            if grad_weight is not None:
                grad_weight += (grad.T @ hidden[rows]).to(weight.dtype)
        ctx.save_for_backward(None if grad_hidden is None else grad_hidden[:num_tokens], grad_weight)
        total, nll = (nll * token_weights).sum(), nll[:num_tokens]
        ctx.mark_non_differentiable(nll)
        return total, nll

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden, grad_weight = ctx.saved_tensors
        grad_hidden = None if grad_hidden is None else grad_hidden * grads[0]
        grad_weight = None if grad_weight is None else grad_weight * grads[0]
        return grad_hidden, grad_weight, None, None, None


def _of_slice(logits: Tensor, targets: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Each token's nll, (slice,), and with weights the gradient of the weighted sum, (slice, V), as ``logits``."""
    compiled = compiled_loss_for(logits)
    if compiled is not None:
        nll = cross_entropy(compiled, logits, targets, weights)
        return nll, None if weights is None else logits
    target, dtype, logits = targets.unsqueeze(-1), logits.dtype, logits.float()
    shares = logits.softmax(-1)  # many times faster on a CPU than exp and logsumexp
    log_total = logits.amax(-1, keepdim=True) - shares.amax(-1, keepdim=True).log()
    nll = (log_total - logits.gather(-1, target)).squeeze(-1)
    if weights is None:
        return nll, None
    shares.scatter_add_(-1, target, torch.full_like(target, -1, dtype=shares.dtype))
    return nll, shares.mul_(weights.unsqueeze(-1)).to(dtype)


def _rounded_up(
    slice_size: int, hidden: Tensor, targets: Tensor, token_weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The same with a few tokens more that count nothing, so that products of few shapes are compiled and kept."""
    more = -hidden.shape[0] % min(_GRAIN, slice_size)
    if more == 0:
        return hidden, targets, token_weights
    return F.pad(hidden, (0, 0, 0, more)), F.pad(targets, (0, more)), F.pad(token_weights, (0, more))


def sliced_cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, token_weights: Tensor, slice_size: int = 512
) -> tuple[Tensor, Tensor]:
    """Weighted sum of next-token negative log-likelihoods, in nats.

    Args:
        hidden: Final hidden states, (N, C), float32 or bfloat16.
        weight: Output embedding, (V, C).
        targets: The token each position is to predict, (N,), int64.
        token_weights: Weight of each token in the sum (0 leaves it out), (N,), float32.
        slice_size: Tokens whose logits are in memory at once.

    Returns:
        The differentiable sum, a scalar, and the unweighted nll of each token, (N,), float32, not differentiable.
    """
    total, nll = _SlicedCrossEntropy.apply(hidden, weight, targets, token_weights, slice_size)  # type: ignore[no-untyped-call]
    return total, nll
