"""Compiled or PyTorch: the one place where that is decided.

The compiled code computes where there is a library for this processor, the weights are float32 on a CPU, every row's
adapter set is packed for it, and nobody asks for gradients. Everywhere else PyTorch does.
"""

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

from adavae.model.kernel.library import Library, library
from adavae.model.kernel.packing import PackedAdapterSet

_Kernel = TypeVar("_Kernel")


def library_for(weight: Tensor) -> Library | None:
    """The compiled code for a model whose weights are like this one, or None."""
    return library() if weight.dtype == torch.float32 and weight.device.type == "cpu" else None


def compiled(
    kernel: _Kernel | None, sets: Sequence[PackedAdapterSet | None]
) -> tuple[_Kernel, Sequence[PackedAdapterSet]] | None:
    """What computes a batch, and with what, or None where PyTorch does.

    Args:
        kernel: Of the model; None where ``library_for`` its weights there is none.
        sets: Of each row, (B,); None for one that is not packed.
    """
    packed = [adapter_set for adapter_set in sets if adapter_set is not None]
    if kernel is None or torch.is_grad_enabled() or len(packed) < len(sets):
        return None
    return kernel, packed
