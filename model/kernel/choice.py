"""Compiled or PyTorch: the one place where that is decided.

The compiled code is used if there is a library for this processor, the weights are float32 on a CPU, every row's
adapter set is packed for it, and no gradients are needed. In all other cases PyTorch is used.
"""

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

from adavae.model.kernel.library import Library, library
from adavae.model.kernel.packing import PackedAdapterSet

_Kernel = TypeVar("_Kernel")


def library_for(weight: Tensor) -> Library | None:
    """The compiled code for a model with weights of this dtype and device, or None."""
    return library() if weight.dtype == torch.float32 and weight.device.type == "cpu" else None


def compiled(
    kernel: _Kernel | None, sets: Sequence[PackedAdapterSet | None]
) -> tuple[_Kernel, Sequence[PackedAdapterSet]] | None:
    """The kernel and packed sets that compute a batch, or None if PyTorch does.

    Args:
        kernel: The model's kernel; None if ``library_for`` its weights is None.
        sets: The packed set of each row, (B,); None for one that is not packed.
    """
    packed = [adapter_set for adapter_set in sets if adapter_set is not None]
    if kernel is None or torch.is_grad_enabled() or len(packed) < len(sets):
        return None
    return kernel, packed
