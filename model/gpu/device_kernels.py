"""The choice of kernels for a device."""

from importlib.util import find_spec

import torch

from adavae.model.gpu.kernels import Kernels, PlainKernels


def kernels_for(device: torch.device) -> Kernels:
    """Triton's on a GPU with Triton installed, otherwise PyTorch's."""
    if device.type != "cuda" or find_spec("triton") is None:
        return PlainKernels()
    from adavae.model.gpu.triton_kernels import TritonKernels

    return TritonKernels()
