"""Cross-entropy of bfloat16 logits, compiled: in PyTorch it passes six times over float32 copies of them."""

import ctypes

import torch
from torch import Tensor

from adavae.model.kernel.library import CrossEntropyFields, Library, check, library


def compiled_loss_for(hidden: Tensor) -> Library | None:
    """What computes the loss of logits of such hidden states, or None if PyTorch does."""
    return library() if hidden.dtype == torch.bfloat16 and hidden.device.type == "cpu" else None


def cross_entropy(compiled: Library, logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """-log softmax(logits)[target] of each row, (N,), float32.

    Args:
        compiled: The library.
        logits: (N, V), bfloat16, contiguous; with ``weights`` the gradient of the weighted sum is put in their place.
        targets: (N,), int64, each from 0 to V - 1.
        weights: Of each row in the sum, (N,), float32; None for no gradient.

    Raises:
        IndexError: A target outside the vocabulary; nothing has changed then.
    """
    N, V = logits.shape
    nll, targets = torch.empty(N), targets.contiguous()
    weights = None if weights is None else weights.contiguous()
    task = CrossEntropyFields(
        num_rows=N,
        num_threads=torch.get_num_threads(),
        vocab_size=V,
        logits=logits.data_ptr(),
        targets=targets.data_ptr(),
        weights=None if weights is None else weights.data_ptr(),
        nll=nll.data_ptr(),
    )
    check(compiled.cross_entropy(ctypes.byref(task)))
    return nll
