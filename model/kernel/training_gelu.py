"""GELU (tanh) in bfloat16 with gradients, compiled: PyTorch's takes as long there as a block's products.

The slope is computed along with the value, from the same exponential, and kept in bfloat16 in the input's place.
"""

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from adavae.model.kernel.library import GeluFields, Library, check, library


class _CompiledGelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, compiled: Library) -> Tensor:
        output, slope = torch.empty_like(x), torch.empty_like(x)
        task = GeluFields(x.numel(), torch.get_num_threads(), x.data_ptr(), output.data_ptr(), slope.data_ptr())
        check(compiled.gelu(ctypes.byref(task)))
        ctx.save_for_backward(slope)
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return grads[0] * slope, None


def gelu_tanh(x: Tensor) -> Tensor:
    """GELU by tanh, of any shape; compiled where ``x`` is bfloat16 on a CPU and there is a library for it."""
    is_fit = x.dtype == torch.bfloat16 and x.device.type == "cpu" and x.is_contiguous()
    compiled = library() if is_fit else None
    if compiled is None:
        return F.gelu(x, approximate="tanh")
    output: Tensor = _CompiledGelu.apply(x, compiled)  # type: ignore[no-untyped-call]
    return output
