"""In which numbers matrices are multiplied: bfloat16 where the hardware does that, else float32.

Where it does not, PyTorch multiplies bfloat16 all the same, number by number: 20 to 60 times as slowly as float32.
"""

import torch

from adavae.model.training.config import Precision


def uses_bfloat16(precision: Precision, device: torch.device) -> bool:
    """Whether matrices are multiplied in bfloat16: if requested, or if the hardware does that."""
    return multiplies_bfloat16(device) if precision is Precision.AUTO else precision is Precision.BFLOAT16


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the hardware has instructions for it; a GPU that emulates it has none."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
