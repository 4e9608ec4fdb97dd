"""The choice of kernels for a device."""

import logging
from importlib.util import find_spec

import torch
from torch import nn

from adavae.model.gpu.kernels import Kernels, PlainKernels

_log = logging.getLogger(__name__)


def kernels_for(device: torch.device) -> Kernels:
    """Triton's on a GPU with Triton installed, if it can compile them here, otherwise PyTorch's."""
    if device.type != "cuda" or find_spec("triton") is None:
        return PlainKernels()
    from adavae.model.gpu.triton_kernels import TritonKernels

    kernels = TritonKernels()
    try:
        _launch(kernels, device)
    except torch.OutOfMemoryError:
        raise
    except Exception as exc:  # Triton's own, the compiler's, or that of the directory where programs are kept
        _log.warning(
            "the GPU's kernels cannot be compiled here, so PyTorch's are used, which are slower (%s: %s): Triton needs "
            "a C compiler, and a directory that it may write (TRITON_CACHE_DIR)",
            type(exc).__name__,
            exc,
        )
        return PlainKernels()
    return kernels


def _launch(kernels: Kernels, device: torch.device) -> None:
    kernels.add_norm(torch.zeros(1, 8, device=device), None, nn.LayerNorm(8, device=device))
