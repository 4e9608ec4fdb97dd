"""Large tensors in pages of their own: they take memory when they are written to, and give it back when they go.

What the C library hands out may have been used before: zeros in it are written at once, all of them, and what is freed
stays with the process. A bank of adapter sets is mostly empty, and now and then replaced by another.
"""

import ctypes
import gc
import math
import mmap
import sys
from collections.abc import Sequence

import torch
from torch import Tensor

_SMALLEST_BYTES = 64 * 1024  # below, pages of its own are not worth it


def fresh_zeros(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros; on a CPU in pages of their own."""
    num_bytes = math.prod(shape) * dtype.itemsize
    if device.type != "cpu" or num_bytes < _SMALLEST_BYTES:
        return torch.zeros(*shape, dtype=dtype, device=device)
    pages = mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(pages, dtype=dtype).view(*shape)  # which keeps the pages as long as it lives


def give_back_memory() -> None:
    """Collects garbage and asks the C library for what it keeps for later; does nothing where that cannot be asked."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
        if trim is not None:
            trim(0)
