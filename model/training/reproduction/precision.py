"""In which numbers every system of a table is trained and measured: bfloat16 where the processor multiplies it."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from adavae.model.training.config import Precision
from adavae.model.training.precision import uses_bfloat16


def fast_matrices(device: torch.device) -> AbstractContextManager[Any]:
    """Within it matrices are multiplied as the product's own training multiplies them; weights stay float32."""
    if matrix_dtype(device) is torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def matrix_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 or float32."""
    return torch.bfloat16 if uses_bfloat16(Precision.AUTO, device) else torch.float32
