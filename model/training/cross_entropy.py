"""Cross-entropy over a large vocabulary without ever holding all logits: computed in slices of tokens.

Forward computes loss and gradient together, so backward is one scaling. The obvious twin is
``F.cross_entropy(hidden @ weight.T, targets)``; tests/parity compares the two.
"""

from typing import Any

import torch
from torch import Tensor


class _SlicedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, token_weights: Tensor, slice_size: int
    ) -> tuple[Tensor, Tensor]:
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]
        matrix = weight.to(hidden.dtype)
        nll = torch.empty(hidden.shape[0], dtype=torch.float32, device=hidden.device)
        grad_hidden = torch.empty_like(hidden) if needs_hidden else None
        grad_weight = torch.zeros_like(weight) if needs_weight else None
        for start in range(0, hidden.shape[0], slice_size):
            rows = slice(start, start + slice_size)
            logits = (hidden[rows] @ matrix.T).float()  # (slice, V)
            target = targets[rows].unsqueeze(-1)
            largest, likeliest = logits.max(-1, keepdim=True)
            grad_logits = logits.softmax(-1)  # many times faster on a CPU than exp and logsumexp
            log_total = largest - grad_logits.gather(-1, likeliest).log()
            nll[rows] = (log_total - logits.gather(-1, target)).squeeze(-1)
            if not (needs_hidden or needs_weight):
                continue
            grad_logits.scatter_add_(-1, target, torch.full_like(target, -1, dtype=grad_logits.dtype))
            grad = grad_logits.mul_(token_weights[rows].unsqueeze(-1)).to(hidden.dtype)
            if grad_hidden is not None:
                grad_hidden[rows] = grad @ matrix
            if grad_weight is not None:
                grad_weight += (grad.T @ hidden[rows]).to(weight.dtype)
        ctx.save_for_backward(grad_hidden, grad_weight)
        ctx.mark_non_differentiable(nll)
        return (nll * token_weights).sum(), nll

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden, grad_weight = ctx.saved_tensors
        grad_hidden = None if grad_hidden is None else grad_hidden * grads[0]
        grad_weight = None if grad_weight is None else grad_weight * grads[0]
        return grad_hidden, grad_weight, None, None, None


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
